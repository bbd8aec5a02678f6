//! What is wrong with an edit: told with its place, and not to be missed.

use crate::harness::{Proxy, Written, page, page_with};

#[test]
fn a_broken_edit_is_one_error_line_a_metric_and_a_status_until_it_is_mended() {
    let settings = "settle = \"20ms\"";
    let good = page_with(settings, "good");
    let proxy = Proxy::with_config(&good);
    let (before, serving) = (figures(&proxy), proxy.status()["hash"].clone());
    let broken = good.replace("respond =", "respont =");
    let line = broken.lines().position(|line| line.starts_with("respont"));
    let line = line.unwrap() + 1;
    proxy.write_all(&broken);
    proxy.wait_for_log("the refusal", |line| line["level"] == "error");

    let errors = proxy.logged("error");
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let file = proxy.config().display();
    let expected = format!(
        "configuration refused, still serving {}: {file}:{line}:1: route[0].respont: \
         unknown key `respont` (did you mean `respond`?)",
        serving.as_str().unwrap(),
    );
    assert_eq!(errors[0], expected);

    let after = figures(&proxy);
    assert_eq!((before.successful, after.successful), (1.0, 0.0));
    assert_eq!(after.refused, before.refused + 1.0);
    assert_eq!(after.success_at, before.success_at);

    let status = proxy.status();
    let refused = &status["refused"];
    assert_eq!(status["hash"], serving);
    assert!(refused["hash"].is_string() && refused["hash"] != serving);
    let problem = &refused["problems"][0];
    assert_eq!(problem["file"], file.to_string());
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&line.into(), &1.into())
    );
    assert_eq!(problem["key"], "route[0].respont");
    assert_eq!(problem["help"], "did you mean `respond`?");
    assert_eq!(proxy.page(), "good");

    proxy.write_all(&page_with(settings, "mended"));
    proxy.soon_serves("mended");
    let mended = figures(&proxy);
    assert_eq!((mended.successful, mended.refused), (1.0, after.refused));
    assert!(mended.success_at > before.success_at);
    assert!(proxy.status()["refused"].is_null());
}

#[test]
fn two_routes_that_nothing_tells_apart_are_refused_and_both_are_named() {
    let routes = "[[route]]\nname = \"one\"\npath = \"/a/{id}\"\nrespond = {}\n\
                  [[route]]\nname = \"two\"\npath = \"/a/{name}\"\nrespond = {}\n";
    let proxy = Proxy::start("");
    let (status, outcome) = proxy.reload(routes);
    assert_eq!((status, &outcome["result"]), (422, &"refused".into()));
    let problem = &outcome["problems"][0];
    assert_eq!(problem["key"], "route[1]");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("`two` and `one` (route[0])"), "{message}");
    assert_eq!(proxy.generation(), 1);
}

#[test]
fn what_is_odd_and_not_wrong_is_applied_with_a_warning() {
    let unused = "[upstream.spare]\nserver = \"http://127.0.0.1:1\"\n";
    let shadowed = ["GET", "POST", "GET\", \"POST"].map(|methods| {
        format!("[[route]]\npath = \"/x\"\nmethod = [\"{methods}\"]\nrespond = {{}}\n")
    });
    let cases = [
        (String::new(), "route", "there are no routes"),
        (
            format!("{unused}[[route]]\nrespond = {{}}\n"),
            "upstream.spare",
            "no route uses",
        ),
        (shadowed.concat(), "route[2]", "can never be reached"),
    ];
    for (config, key, message) in cases {
        let whole = format!("listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n{config}");
        let check = Written::new(&whole).check();
        assert_eq!(check.code, Some(0), "{whole}");
        assert!(check.err.starts_with("warning: "), "{check:?}");
        assert!(
            check.out.contains("is good, with 1 warning(s)"),
            "{check:?}"
        );

        let proxy = Proxy::with_config(&page("without fault"));
        assert_eq!(proxy.logged("warn"), [""; 0]);
        proxy.write_all(&whole);
        let (status, outcome) = proxy.ask_reload();
        assert_eq!(
            (status, &outcome["result"]),
            (200, &"applied".into()),
            "{outcome:#}"
        );
        for warnings in [&outcome["warnings"], &proxy.status()["warnings"]] {
            assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings:#}");
            assert_eq!(warnings[0]["key"], key);
            assert!(
                warnings[0]["message"].as_str().unwrap().contains(message),
                "{warnings:#}"
            );
        }
        let logged = proxy.wait_for_log("the warning", |line| line["level"] == "warn");
        assert!(
            logged["message"].as_str().unwrap().contains(message),
            "{logged:#}"
        );
    }
}

struct Figures {
    refused: f64,
    successful: f64,
    success_at: f64,
}

fn figures(proxy: &Proxy) -> Figures {
    let metrics = proxy.metrics();
    let get = |name: &str, labels: &[_]| {
        let value = metrics.get(&format!("pointsman_config_{name}"), labels);
        value.unwrap()
    };
    Figures {
        refused: get("reloads_total", &[("result", "refused")]),
        successful: get("last_reload_successful", &[]),
        success_at: get("last_reload_success_timestamp_seconds", &[]),
    }
}
