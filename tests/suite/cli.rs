//! The command line: what each command does, says and returns.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Client, Origin, Proxy, Said, Told, eventually, get, pointsman_in, request};

/// Did it succeed, what did it say, and of what did it complain?
fn run_in(directory: &Path, arguments: &[&str]) -> (bool, String, String) {
    let arguments: Vec<&dyn AsRef<OsStr>> = arguments.iter().map(|word| word as _).collect();
    let Said { code, out, err } = pointsman_in(directory, &arguments);
    (code == Some(0), out, err)
}

/// Runs a command in an empty directory.
fn run(arguments: &[&str]) -> (bool, String, String) {
    let directory = TempDir::new().unwrap();
    run_in(directory.path(), arguments)
}

/// Does what the line "try" says, without curl.
fn as_told(proxy: &Told) -> crate::harness::Response {
    let url = proxy.url("try");
    let (address, path) = url["http://".len()..].split_once('/').unwrap();
    get(address.parse().unwrap(), &format!("/{path}"))
}

#[test]
fn in_an_empty_directory_it_serves_a_demo_and_tells_how_to_try_it() {
    let directory = TempDir::new().unwrap();
    let proxy = Told::start(directory.path(), &[]);
    let told = proxy.lines();
    assert!(
        told[0].contains("Pointsman") && told[0].contains("built-in demo"),
        "{told:#?}"
    );
    assert!(
        told.iter().any(|line| line.contains("curl -i http://")),
        "{told:#?}"
    );
    let response = as_told(&proxy);
    assert_eq!(response.status, 200);
    let seen: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(
        (&seen["method"], &seen["uri"]),
        (&"GET".into(), &"/hello".into())
    );
    assert_eq!(seen["headers"]["x-forwarded-for"], "127.0.0.1");
    assert_eq!(get(proxy.admin(), "/healthz").status, 200);
    eventually("it is counted", || {
        let requests = [("route", "demo")];
        proxy.metrics().sum("pointsman_requests_total", &requests) == 1.0
    });
}

#[test]
fn the_demo_shows_each_kind_of_answer() {
    let directory = TempDir::new().unwrap();
    let proxy = Told::start(directory.path(), &[]);
    let get = |path: &str| get(proxy.address(), path);
    let asked = Instant::now();
    assert_eq!(get("/slow?ms=150").text(), "{\"waited_ms\":150}");
    assert!(asked.elapsed() >= Duration::from_millis(150));
    assert_eq!(get("/status/418").status, 418);
    assert_eq!(get("/status/99").status, 400);
    assert_eq!(get("/error").status, 500);
    let events = get("/stream?events=3&ms=10");
    assert_eq!(events.header("content-type"), "text/event-stream");
    assert_eq!(
        events.text(),
        "data: event 0\n\ndata: event 1\n\ndata: event 2\n\n"
    );
    let echo = request(
        proxy.address(),
        "PUT",
        "/any?q=1",
        &[("X-Own", "1")],
        "body",
    );
    let seen: Value = serde_json::from_slice(&echo.body).unwrap();
    let seen = ["method", "uri", "body"].map(|field| seen[field].as_str().unwrap().to_owned());
    assert_eq!(seen, ["PUT", "/any?q=1", "body"]);
}

#[test]
fn with_to_it_stands_in_front_of_one_app() {
    let origin = Origin::named("app");
    let directory = TempDir::new().unwrap();
    let url = format!("{}/base/", origin.url());
    let arguments = [
        "--to",
        &url,
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ];
    let proxy = Told::start(directory.path(), &arguments);
    assert_eq!(as_told(&proxy).text(), "app");
    assert_eq!(origin.last().target, "/base/hello");
    eventually("it is counted", || {
        let requests = [("route", "app")];
        proxy.metrics().sum("pointsman_requests_total", &requests) == 1.0
    });
}

#[test]
fn an_app_that_cannot_be_is_refused_with_what_to_write() {
    for url in ["127.0.0.1:3000", "ftp://a", "http://a\"b", "http://a/?q"] {
        let (good, _, error) = run(&["--to", url, "--listen", "127.0.0.1:0"]);
        assert!(
            !good && error.contains("http://127.0.0.1:3000"),
            "{url}: {error}"
        );
    }
}

#[test]
fn the_file_in_the_directory_is_served_without_naming_it() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("config")).unwrap();
    let write = |name: &str| {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n\
             [[route]]\nrespond.body = \"{name}\"\n"
        );
        fs::write(directory.path().join(name), text).unwrap();
    };
    for name in ["pointsman.toml", "config/pointsman.toml"] {
        write(name);
        assert_eq!(as_told(&Told::start(directory.path(), &[])).text(), name);
    }
}

/// Runs a command that asks the running proxy.
fn ask(proxy: &Proxy, arguments: &[&str]) -> (bool, String, String) {
    let admin = proxy.admin().to_string();
    run(&[arguments, &["--admin", &admin]].concat())
}

#[test]
fn status_tells_what_serves_and_what_is_wrong_with_the_last_edit() {
    let route = "[[route]]\nname = \"r\"\nrespond = {}\n";
    let proxy = Proxy::start(route);
    let (good, said, _) = ask(&proxy, &["status"]);
    assert!(good, "{said}");
    let listener = proxy.address().to_string();
    let config = proxy.config().display().to_string();
    for part in ["generation     1", "routes         1", &listener, &config] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert_eq!(
        ask(&proxy, &["status", "--ready"]),
        (true, String::new(), String::new())
    );
    let (good, said, _) = ask(&proxy, &["status", "--json"]);
    assert!(good);
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&status["generation"], &status["routes"]),
        (&1.into(), &1.into())
    );

    assert_eq!(proxy.reload(&format!("{route}colour = 1\n")).0, 422);
    let (good, said, _) = ask(&proxy, &["status"]);
    assert!(
        good && said.contains("REFUSED") && said.contains("colour"),
        "{said}"
    );
}

#[test]
fn commands_that_ask_fail_where_nothing_runs() {
    let nobody = format!("127.0.0.1:{}", crate::harness::free_port());
    for command in [&["status"][..], &["status", "--ready"], &["reload"]] {
        let (good, said, error) = run(&[command, &["--admin", &nobody]].concat());
        assert!(
            !good && said.is_empty() && error.contains(&nobody),
            "{command:?}: {error}"
        );
    }
}

#[test]
fn the_admin_side_is_found_through_the_file() {
    let port = crate::harness::free_port();
    let proxy = Proxy::with_config(&format!(
        "listen = \"127.0.0.1:0\"\nadmin.listen = \"0.0.0.0:{port}\"\n[[route]]\nrespond = {{}}\n"
    ));
    let config = proxy.config().display().to_string();
    assert!(run(&["status", "--ready", "--config", &config]).0);
}

#[test]
fn reload_answers_when_the_file_is_applied_or_refused() {
    let route =
        |body: &str| format!("reload.mode = \"off\"\n[[route]]\nrespond.body = \"{body}\"\n");
    let proxy = Proxy::start(&route("1"));
    let (good, said, _) = ask(&proxy, &["reload"]);
    assert!(
        good && said.starts_with("unchanged; generation 1"),
        "{said}"
    );
    proxy.write(&route("2"));
    let (good, said, _) = ask(&proxy, &["reload"]);
    assert!(good && said.starts_with("applied; generation 2"), "{said}");
    assert_eq!(proxy.get("/").text(), "2");
    proxy.write(&(route("3") + "colour = 1\n"));
    let (good, said, error) = ask(&proxy, &["reload"]);
    assert!(!good && said.starts_with("refused; generation 2"), "{said}");
    assert!(error.contains("colour"), "{error}");
    assert_eq!(proxy.get("/").text(), "2");
}

#[test]
fn check_shows_everything_wrong_and_where() {
    let directory = TempDir::new().unwrap();
    let check = |text: &str| {
        fs::write(directory.path().join("a.toml"), text).unwrap();
        run_in(directory.path(), &["check", "a.toml"])
    };
    let (good, said, error) = check("listen = \"127.0.0.1:0\"\n[[route]]\nrespond = {}\n");
    assert!(
        good && said.contains("a.toml is good") && error.is_empty(),
        "{said}{error}"
    );
    let (good, said, error) = check(
        "listen = \"127.0.0.1:0\"\n[[route]]\nupstraem = \"http://a\"\n\
         [[route]]\npath = \"api\"\nrespond = {}\n",
    );
    assert!(!good && said.is_empty(), "{said}");
    for part in ["a.toml:3:1", "`upstraem`", "upstream"] {
        assert!(error.contains(part), "no {part} in {error}");
    }
    let (good, _, error) = run(&["check"]);
    assert!(!good && error.contains("pointsman init"), "{error}");
}

#[test]
fn init_writes_a_file_that_is_good_and_never_over_another() {
    let directory = TempDir::new().unwrap();
    let run = |arguments: &[&str]| run_in(directory.path(), arguments);
    for name in ["pointsman.toml", "other.toml"] {
        let arguments = if name == "pointsman.toml" {
            vec!["init"]
        } else {
            vec!["init", name]
        };
        let (good, said, error) = run(&arguments);
        assert!(good && said.contains(name), "{said}{error}");
        let (good, said, error) = run(&["check", name]);
        assert!(
            good && said.trim_end().ends_with("is good"),
            "{said}{error}"
        );
    }
    let file = directory.path().join("pointsman.toml");
    fs::write(&file, "# mine\n").unwrap();
    let (good, _, error) = run(&["init"]);
    assert!(!good && error.contains("exists"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
}

#[test]
fn what_ships_passes_its_own_check() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["config/pointsman.toml", "config/starter.toml"] {
        let (good, said, error) = run_in(root, &["check", name]);
        assert!(good && error.is_empty(), "{said}{error}");
    }
}

#[test]
fn the_demo_origin_runs_alone_too() {
    let directory = TempDir::new().unwrap();
    let port = crate::harness::free_port();
    let address = format!("127.0.0.1:{port}");
    let mut demo = std::process::Command::new(crate::harness::BINARY)
        .args(["demo", "--listen", &address])
        .current_dir(directory.path())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let address = address.parse().unwrap();
    crate::harness::eventually("it listens", || {
        std::net::TcpStream::connect(address).is_ok()
    });
    assert_eq!(Client::connect(address).get("a", "/status/204").status, 204);
    demo.kill().unwrap();
    demo.wait().unwrap();
}

#[test]
fn version_and_help_say_what_it_is_and_does() {
    let (good, said, _) = run(&["--version"]);
    assert!(
        good && said == format!("pointsman {}\n", env!("CARGO_PKG_VERSION")),
        "{said}"
    );
    let (good, said, _) = run(&["--help"]);
    assert!(good);
    for part in [
        "run",
        "check",
        "reload",
        "status",
        "init",
        "demo",
        "--to",
        "Examples:",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let (good, said, error) = run(&["chekc"]);
    assert!(
        !good && said.is_empty() && error.contains("check"),
        "{error}"
    );
}
