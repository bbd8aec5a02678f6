//! `pointsman check`, and the same checks before the first start: all problems at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::{Said, Written, pointsman};

/// Text, the key as it is told, the nearest known one if any is near.
const MISSPELT: [(&str, &str, &str); 22] = [
    ("lisen = \"127.0.0.1:1\"", "lisen", "listen"),
    ("[[rout]]", "rout", "route"),
    (
        "[server]\nshutdown_grase = \"1s\"",
        "server.shutdown_grase",
        "shutdown_grace",
    ),
    (
        "[admin]\nlistne = \"127.0.0.1:1\"",
        "admin.listne",
        "listen",
    ),
    ("[log]\naces = true", "log.aces", "access"),
    ("[metrics]\nbucket = [1.0]", "metrics.bucket", "buckets"),
    ("[reload]\nsetle = \"1s\"", "reload.setle", "settle"),
    (
        "[[listener]]\nadress = \"127.0.0.1:1\"",
        "listener[0].adress",
        "address",
    ),
    (
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntimeout = { headr = \"1s\" }",
        "listener[0].timeout.headr",
        "header",
    ),
    ("[[route]]\nmethods = \"GET\"", "route[0].methods", "method"),
    (
        "[[route]]\nrewrite = { strip = \"/a\" }",
        "route[0].rewrite.strip",
        "",
    ),
    (
        "[[route]]\nrewrite = { replace_prefix = { form = \"/\", to = \"/\" } }",
        "route[0].rewrite.replace_prefix.form",
        "from",
    ),
    (
        "[[route]]\nrequest_header.sett = { A = \"b\" }",
        "route[0].request_header.sett",
        "set",
    ),
    (
        "[[route]]\nresponse_header.ad = { A = \"b\" }",
        "route[0].response_header.ad",
        "add",
    ),
    (
        "[[route]]\ntimeout = { reponse = \"1s\" }",
        "route[0].timeout.reponse",
        "response",
    ),
    (
        "[[route]]\ntimeout = { tunel = \"1s\" }",
        "route[0].timeout.tunel",
        "tunnel",
    ),
    ("[[route]]\nupgrades = []", "route[0].upgrades", "upgrade"),
    (
        "[[route]]\nredirect = { to = \"/\", staus = 301 }",
        "route[0].redirect.staus",
        "status",
    ),
    (
        "[[route]]\nrespond = { bdy = \"\" }",
        "route[0].respond.bdy",
        "body",
    ),
    (
        "[upstream.app]\nservers = \"http://a\"",
        "upstream.app.servers",
        "server",
    ),
    (
        "[upstream.app]\nserver = \"http://a\"\npool = { max_idel = 1 }",
        "upstream.app.pool.max_idel",
        "max_idle",
    ),
    (
        "[upstream.app]\nserver = \"http://a\"\ntimeout = { conect = \"1s\" }",
        "upstream.app.timeout.conect",
        "connect",
    ),
];

#[test]
fn a_broken_file_at_the_first_start_ends_the_process_with_what_check_says() {
    let cases = [
        ("unknown = 1\n", "unknown key `unknown`"),
        ("listen = \"127.0.0.1:0\n", ":1:"),
        ("", "there is no address to listen on"),
        (
            "listen = \"127.0.0.1:0\"\nroute = [{ upstream = \"app\" }]",
            "there is no upstream `app`",
        ),
    ];
    for (text, expected) in cases {
        let file = Written::new(text);
        let start = Instant::now();
        let (run, check) = (file.run(), file.check());
        assert!(start.elapsed() < Duration::from_secs(5), "{text}");
        assert_eq!((run.code, check.code), (Some(1), Some(1)), "{text}");
        assert!(run.err.contains(expected), "{text}: {run:?}");
        assert_eq!(reports(&run), reports(&check), "{text}");
        assert_eq!(run.out, "", "nothing serves, and no log says so");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_told_apart_from_a_wrong_one() {
    let binary = Written::new(b"listen = \"\xff\"");
    assert!(binary.check().err.contains("is not UTF-8 text"));
    let missing = Written::new("");
    fs::remove_file(&missing.path).unwrap();
    for said in [missing.check(), missing.run()] {
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("there is no such file"), "{said:?}");
    }
}

#[test]
fn check_tells_all_problems_at_once_in_the_order_of_the_file() {
    let file = Written::new(
        "listen = \"127.0.0.1:0\"\n\
         [server]\n\
         worker = 4\n\
         [[route]]\n\
         name = \"ä\"\n\
         upstraem = \"http://127.0.0.1:3000\"\n\
         [[route]]\n\
         host = 5\n",
    );
    let said = file.check();
    let name = file.path.display();
    let expected = format!(
        "error: unknown key `worker`\n --> {name}:3:1 (server.worker)\n  |\n\
         3 | worker = 4\n  | ^^^^^^\n  = help: did you mean `workers`?\n\n\
         error: unknown key `upstraem`\n --> {name}:6:1 (route[0].upstraem)\n  |\n\
         6 | upstraem = \"http://127.0.0.1:3000\"\n  | ^^^^^^^^\n  = help: did you mean `upstream`?\n\n\
         error: invalid type: integer `5`, expected a string or a list of strings\n \
         --> {name}:8:8 (route[1].host)\n  |\n\
         8 | host = 5\n  |        ^\n\n\
         pointsman: {name} is refused: 3 error(s)\n"
    );
    assert_eq!((said.err, said.code), (expected, Some(1)));
}

#[test]
fn a_misspelt_key_is_refused_in_every_table_and_the_nearest_one_named() {
    for (text, key, nearest) in MISSPELT {
        let text = format!("{text}\n");
        let said = Written::new(&text).check().err;
        let word = key.rsplit('.').next().unwrap();
        let complaint = format!("error: unknown key `{word}`");
        assert_eq!(said.matches(&complaint).count(), 1, "{text}{said}");
        assert!(said.contains(&format!("({key})")), "{text}{said}");
        let help = match nearest {
            "" => "known keys are ".to_owned(),
            word => format!("did you mean `{word}`?"),
        };
        assert!(said.contains(&help), "{text}{said}");
    }
}

#[test]
fn a_value_that_makes_no_sense_is_refused_with_what_to_write() {
    let cases = [
        ("reload.settle = 150", "a duration with its unit"),
        ("reload.settle = \"150\"", "write a number and a unit"),
        (
            "reload.mode = \"polling\"",
            "write one of \"auto\", \"watch\", \"poll\", \"off\"",
        ),
        ("reload.poll_interval = \"0s\"", "it cannot be zero"),
        ("listen = \"localhost\"", "write IP:PORT"),
        (
            "route = [{ upstream = \"http://a:x\" }]",
            "write a URL such as",
        ),
        (
            "route = [{ upstream = \"${NO_SUCH_NAME}\" }]",
            "`NO_SUCH_NAME` is not set",
        ),
        (
            "route = [{ respond = {}, method = \"get\" }]",
            "write \"GET\"",
        ),
        ("route = [{}]", "route[0]"),
        (
            "route = [{ upstream = \"http://a\", upgrade = [\"websocket\", \"h2c\"] }]",
            "`h2c` cannot be allowed: the requests in such a connection would pass by every route",
        ),
        (
            "route = [{ upstream = \"http://a\", timeout.tunnel = \"0s\" }]",
            "write `upgrade = []` to allow no tunnels",
        ),
    ];
    for (text, expected) in cases {
        let said = Written::new(text).check();
        assert_eq!(said.code, Some(1), "{text}");
        assert!(said.err.contains(expected), "{text}: {said:?}");
        assert!(said.err.contains('^'), "{text}: {said:?}");
    }
}

#[test]
fn every_configuration_that_comes_with_pointsman_is_without_fault() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        let said = pointsman(&[&"check", &file]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(said.out, format!("{} is good\n", file.display()));
        assert_eq!(said.err, "");
    }
}

/// What was said of the file, without the verdict on the last line.
fn reports(said: &Said) -> &str {
    let verdict = said.err.rfind("pointsman: ").unwrap();
    &said.err[..verdict]
}
