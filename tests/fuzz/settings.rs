//! The text of a configuration: a Config, or Problems that each stand at a place in that text.

use pointsman::config::{Source, parse};

use crate::Subject;

pub(crate) const SUBJECT: Subject = Subject {
    name: "toml",
    executions: 200_000,
    corpus: &[
        "listen = \"127.0.0.1:8080\"\n[[route]]\nname = \"a\"\nupstream = \"http://127.0.0.1:1\"\n",
        "admin.listen = \"127.0.0.1:0\"\nserver.workers = 2\nlog.format = \"json\"\n",
        "[upstream.app]\nserver = [\"http://a:1\", \"http://b:2\"]\ntimeout.connect = \"2s\"\n",
        "[[route]]\nname = \"b\"\nhost = [\"a.example\", \"*.b.example\"]\npath = \"/x/{id}/*\"\n\
         method = \"GET\"\nrespond = { status = 200, body = \"\u{e9}\" }\n",
        "[[listener]]\naddress = \"[::]:80\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n",
        "[reload]\nmode = \"watch\"\nsettle = \"150ms\"\nunknown = 1 # comment\n",
        "listen = \"${ADDRESS}\"\n[[route]]\nname = \"c\"\nupstraem = 'x'\ntimeout = { total = 5 }\n",
    ],
    run,
};

fn run(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let variable = |name: &str| (name == "ADDRESS").then(|| "127.0.0.1:0".to_owned());
    let Err(problems) = parse(&text, &variable) else {
        return true;
    };
    assert!(!problems.is_empty(), "refused without a Problem");
    let lines: Vec<&str> = text.split('\n').collect();
    for report in Source::new("f", &*text).reports(&problems) {
        let line = lines
            .get(report.line.wrapping_sub(1))
            .expect("a line of the text");
        let columns = line.chars().count() + 1;
        assert!(
            (1..=columns).contains(&report.column),
            "{report:?} in {line:?}"
        );
        assert!(!report.message.is_empty() && !report.to_string().is_empty());
    }
    false
}
