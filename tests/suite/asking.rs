//! Asking for a reload: SIGHUP, POST /api/reload, `pointsman reload`.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{Proxy, Said, eventually, page, page_with, pointsman};

/// Nothing happens unless it is asked for.
const OFF: &str = "mode = \"off\"";

#[test]
fn an_order_by_post_answers_with_what_became_of_it() {
    let proxy = Proxy::with_config(&page_with(OFF, "first"));
    let started = proxy.status()["hash"].clone();

    let (status, outcome) = proxy.ask_reload();
    assert_eq!((status, &outcome["result"]), (200, &"unchanged".into()));
    assert_eq!(
        (&outcome["generation"], &outcome["hash"]),
        (&1.into(), &started)
    );

    proxy.write_all(&page_with(OFF, "second"));
    let (status, outcome) = proxy.ask_reload();
    assert_eq!(proxy.page(), "second", "live when the answer comes");
    assert_eq!((status, &outcome["result"]), (200, &"applied".into()));
    assert_eq!(outcome["generation"], 2);
    assert_ne!(outcome["hash"], started);
    let serving = outcome["hash"].clone();

    proxy.write_all(&page_with(OFF, "third\"\nnonsense = \""));
    let (status, outcome) = proxy.ask_reload();
    assert_eq!((status, &outcome["result"]), (422, &"refused".into()));
    assert_eq!(
        (&outcome["generation"], &outcome["hash"]),
        (&2.into(), &serving)
    );
    let problem = &outcome["problems"][0];
    assert_eq!(problem["severity"], "error");
    assert_eq!(problem["file"], proxy.config().to_str().unwrap());
    assert!(
        problem["line"].as_u64() > Some(1) && problem["column"].is_u64(),
        "{problem}"
    );
    assert_eq!(proxy.page(), "second");
    for result in ["applied", "unchanged", "refused"] {
        assert_eq!(proxy.reloads(result), 1.0, "{result}");
    }
}

#[test]
fn an_order_while_the_file_is_missing_is_refused_promptly_and_the_rest_goes_on() {
    for settings in [OFF, "mode = \"watch\"\nsettle = \"20ms\""] {
        let proxy = Proxy::with_config(&page_with(settings, "first"));
        fs::remove_file(proxy.config()).unwrap();
        let start = Instant::now();
        let (status, outcome) = proxy.ask_reload();
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_eq!((status, &outcome["result"]), (422, &"refused".into()));
        assert_eq!(outcome["problems"][0]["message"], "there is no such file");
        assert!(proxy.status()["refused"]["hash"].is_null());
        assert_eq!(proxy.page(), "first");

        proxy.write_all(&page_with(settings, "first"));
        if settings == OFF {
            assert_eq!(proxy.ask_reload().1["result"], "unchanged");
        }
        eventually("the failure is over", || {
            proxy.status()["refused"].is_null()
        });
        assert_eq!(proxy.generation(), 1);
    }
}

#[test]
fn orders_that_come_together_are_all_answered_and_applied_one_at_a_time() {
    let proxy = Proxy::with_config(&page_with(OFF, "first"));
    proxy.write_all(&page_with(OFF, "second"));
    let outcomes = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| proxy.ask_reload()))
            .collect();
        let answers = asking.into_iter().map(|asking| asking.join().unwrap());
        answers.collect::<Vec<_>>()
    });
    assert!(
        outcomes.iter().all(|(status, _)| *status == 200),
        "{outcomes:#?}"
    );
    assert_eq!(
        (proxy.reloads("applied"), proxy.reloads("unchanged")),
        (1.0, 19.0)
    );
}

#[test]
fn a_hangup_makes_the_process_read_its_file() {
    let proxy = Proxy::with_config(&page_with(OFF, "first"));
    proxy.write_all(&page_with(OFF, "second"));
    proxy.signal("HUP");
    proxy.soon_serves("second");
    proxy.write_all("nonsense");
    proxy.signal("HUP");
    eventually("it is told", || proxy.logged("error").len() == 1);
    proxy.signal("HUP");
    eventually("who asks again is told again", || {
        proxy.logged("error").len() == 2
    });
    assert_eq!(proxy.reloads("refused"), 2.0);
    assert_eq!(proxy.page(), "second");
}

#[test]
fn a_hangup_that_comes_as_soon_as_it_serves_ends_nothing() {
    for _ in 0..10 {
        let proxy = Proxy::with_config(&page_with(OFF, "first"));
        proxy.signal("HUP");
        eventually("the reload", || proxy.reloads("unchanged") == 1.0);
    }
}

#[test]
fn the_reload_command_succeeds_if_the_file_serves_and_fails_with_the_problems_if_not() {
    let proxy = Proxy::with_config(&page_with(OFF, "first"));
    let cases = [
        (page_with(OFF, "first"), 0, "unchanged; generation 1", ""),
        (page_with(OFF, "second"), 0, "applied; generation 2", ""),
        (
            format!("rout = 1\n{}", page("third")),
            1,
            "refused; generation 2",
            "did you mean `route`?",
        ),
    ];
    for (text, code, said, complained) in cases {
        proxy.write_all(&text);
        let Said {
            code: ended,
            out,
            err,
        } = pointsman(&[&"reload", &"--admin", &proxy.admin().to_string()]);
        assert_eq!(ended, Some(code), "{out}{err}");
        assert!(out.starts_with(said), "{out}");
        assert!(err.contains(complained), "{err}");
    }
}

#[test]
fn a_file_that_stays_away_is_warned_of_and_changes_nothing() {
    let proxy = Proxy::with_config(&page("first"));
    fs::remove_file(proxy.config()).unwrap();
    let warning = proxy.wait_for_log("the warning", |line| line["level"] == "warn");
    assert!(
        warning["message"]
            .as_str()
            .unwrap()
            .contains("missing or empty")
    );
    assert_eq!(proxy.page(), "first");
    assert_eq!(proxy.logged("error"), [""; 0]);
    proxy.write_all(&page("second"));
    proxy.soon_serves("second");
}
