//! Edits of error pages while they serve: live like an edit of the configuration, and about nothing
//! else.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Backend, Client, Site, Socket, down, eventually, within};
use crate::watching;

type Save = fn(&Path, &str);

#[test]
fn every_way_to_save_a_page_alone_is_live_and_touches_nothing_else() {
    let saves: [(&str, Save); 6] = [
        ("written in place", watching::write_in_place),
        ("truncated and written", watching::truncate_and_write),
        ("renamed over", watching::rename_over),
        ("moved away and created", watching::move_away_and_create),
        ("removed and created", watching::remove_and_create),
        ("saved by vim", watching::save_as_vim_does),
    ];
    for mode in ["watch", "poll"] {
        let site = Site::new(&[("own.txt", "first"), ("all.txt", "first")]);
        let backend = Backend::new("one");
        let proxy = site.serve(&format!(
            "error_page.404 = \"pages/all.txt\"\n\
             reload = {{ mode = \"{mode}\", poll_interval = \"100ms\", drain_timeout = \"0s\" }}\n\
             [[route]]\nname = \"app\"\npath = \"/app/*\"\nupstream = \"{}\"\n\
             error_page.default = \"pages/own.txt\"\n{}",
            backend.url(),
            down("down", "default = \"pages/own.txt\""),
        ));
        let mut socket = Socket::open(proxy.address(), "/app/socket");
        let mut client = Client::connect(proxy.address());
        client.get("test", "/app/");
        let (mut edits, connections) = (0, backend.connections());
        for (how, save) in saves {
            for (page, path) in [("own.txt", "/down"), ("all.txt", "/nowhere")] {
                save(&site.page(page), how);
                let what = format!("{page} {how}, by {mode}");
                within(Duration::from_secs(2), &what, || {
                    client.get("test", path).text() == how
                });
                edits += 1;
            }
            socket.echo();
            assert_eq!(client.get("test", "/app/").status, 200);
        }
        assert!(
            proxy.reloads("applied") >= f64::from(edits),
            "each is counted"
        );
        assert_eq!(backend.connections(), connections, "no pool was touched");
        assert_eq!(backend.goodbyes(), []);
    }
}

#[test]
fn other_pages_for_a_route_drain_nothing() {
    let site = Site::new(&[("a.txt", "a"), ("b.txt", "b")]);
    let backend = Backend::new("one");
    let config = |pages: &str| {
        format!(
            "reload = {{ mode = \"off\", drain_timeout = \"0s\" }}\n\
             [[route]]\nname = \"app\"\npath = \"/app/*\"\nupstream = \"{}\"\n{pages}\n",
            backend.url()
        )
    };
    let proxy = site.serve(&config(""));
    let mut socket = Socket::open(proxy.address(), "/app/socket");
    let tables = [
        "error_page.5xx = \"pages/a.txt\"",
        "error_page.5xx = \"pages/b.txt\"",
        "",
    ];
    for table in tables {
        proxy.apply(&config(table));
        socket.echo();
    }
    assert_eq!(backend.goodbyes(), []);
}

#[test]
fn a_page_that_is_gone_is_refused_and_the_old_one_is_sent_until_it_is_back() {
    let site = Site::new(&[("a.txt", "first")]);
    let config = "error_page.404 = \"pages/a.txt\"\nreload.settle = \"20ms\"\n";
    let proxy = site.serve(config);
    fs::remove_file(site.page("a.txt")).unwrap();
    eventually("the refusal", || !proxy.status()["refused"].is_null());
    let status = proxy.status();
    let problem = &status["refused"]["problems"][0];
    assert_eq!(problem["message"], "the page `pages/a.txt` is not there");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&3.into(), &18.into())
    );
    assert_eq!(problem["key"], "error_page.404");
    let (code, outcome) = proxy.ask_reload();
    assert_eq!((code, &outcome["result"]), (422, &"refused".into()));
    assert_eq!(proxy.get("/nowhere").text(), "first");

    fs::write(site.page("a.txt"), "first").unwrap();
    eventually("nothing is refused", || proxy.status()["refused"].is_null());
    assert_eq!(proxy.generation(), 1, "what is back is what serves");
    fs::write(site.page("a.txt"), "second").unwrap();
    eventually("the new page", || proxy.get("/nowhere").text() == "second");
    assert_eq!(proxy.ask_reload().1["result"], "unchanged");
}

#[test]
fn a_page_that_is_still_being_written_is_not_sent_half() {
    let site = Site::new(&[("a.txt", "first")]);
    let proxy = site.serve("error_page.404 = \"pages/a.txt\"\nreload.settle = \"20ms\"\n");
    let mut file = fs::File::create(site.page("a.txt")).unwrap();
    file.write_all(b"half").unwrap();
    // Many times what settling takes, and less than a writer is waited for.
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        assert_eq!(proxy.get("/nowhere").text(), "first");
    }
    file.write_all(b" and half").unwrap();
    drop(file);
    eventually("the whole page", || {
        proxy.get("/nowhere").text() == "half and half"
    });
    assert_eq!(proxy.reloads("refused"), 0.0);
}

#[test]
fn pages_that_change_by_the_link_of_a_config_map_are_noticed() {
    let site = Site::new(&[]);
    let at = |name: &str| site.page(name);
    for version in ["one", "two"] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.txt"), version).unwrap();
    }
    symlink("one", at("..data")).unwrap();
    symlink("..data/a.txt", at("a.txt")).unwrap();
    let proxy = site.serve("error_page.404 = \"pages/a.txt\"\nreload.mode = \"watch\"\n");
    assert_eq!(proxy.get("/nowhere").text(), "one");
    symlink("two", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    eventually("the other version", || {
        proxy.get("/nowhere").text() == "two"
    });
}
