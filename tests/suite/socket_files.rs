//! The files of unix sockets that listen: made, replaced, kept and taken away.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use crate::harness::{Proxy, UnixClient, eventually, free_port, get, request};
use crate::sockets::{Place, QUIET, apply, listener};

const OURS: &str = "[[route]]\nname = \"all\"\nrespond = { body = \"ours\" }\n";

fn ask(path: &Path) -> String {
    UnixClient::connect(path).get("/").1
}

#[track_caller]
fn refuse(proxy: &Proxy, text: &str) -> String {
    proxy.write_all(text);
    let (status, outcome) = proxy.ask_reload();
    assert_eq!(status, 422, "{outcome:#}");
    outcome["problems"].to_string()
}

#[test]
fn the_file_of_a_dead_process_is_replaced_and_what_is_alive_or_no_socket_stays() {
    let place = Place::new();
    let (stale, alive, plain) = (
        place.path("stale"),
        place.path("alive"),
        place.path("plain"),
    );
    // The file stays when its listener goes.
    drop(UnixListener::bind(&stale).unwrap());
    let _held = UnixListener::bind(&alive).unwrap();
    fs::write(&plain, "precious").unwrap();
    let with = |name: &str, path: &Path| {
        QUIET.to_owned() + &listener("stale", &stale, "") + &listener(name, path, "") + OURS
    };
    let proxy = Proxy::with_config(&(QUIET.to_owned() + &listener("stale", &stale, "") + OURS));
    assert_eq!(ask(&stale), "ours");
    for (name, path) in [("alive", &alive), ("plain", &plain)] {
        let problems = refuse(&proxy, &with(name, path));
        assert!(
            problems.contains(&format!("unix:{}", path.display())),
            "{problems}"
        );
        assert!(path.exists(), "{name} is gone");
    }
    assert_eq!(fs::read_to_string(&plain).unwrap(), "precious");
    assert_eq!(ask(&stale), "ours");
}

#[test]
fn a_refused_reload_leaves_no_socket_file_behind() {
    let place = Place::new();
    let (old, new) = (place.path("old.sock"), place.path("new.sock"));
    let nowhere = place.path("no/such/directory.sock");
    let before = QUIET.to_owned() + &listener("old", &old, "") + OURS;
    let proxy = Proxy::with_config(&before);
    let rest = listener("new", &new, "") + &listener("nowhere", &nowhere, "");
    for _ in 0..5 {
        refuse(&proxy, &(before.clone() + &rest));
        assert_eq!((place.files(), ask(&old).as_str()), (1, "ours"));
    }
    assert_eq!(proxy.status()["listeners"].as_array().unwrap().len(), 1);
}

#[test]
fn the_file_goes_with_its_listener_and_with_the_process() {
    let place = Place::new();
    let (stays, goes) = (place.path("stays.sock"), place.path("goes.sock"));
    let alone = QUIET.to_owned() + &listener("stays", &stays, "") + OURS;
    let both = alone.clone() + &listener("goes", &goes, "");
    let mut proxy = Proxy::with_config(&both);
    let mut kept = UnixClient::connect(&stays);
    for _ in 0..20 {
        assert_eq!(ask(&goes), "ours");
        apply(&proxy, &alone);
        assert!(!goes.exists());
        // Not waited for: the socket may be about to close when its path is wanted again.
        apply(&proxy, &both);
    }
    assert_eq!(kept.get("/").1, "ours", "nothing of the other was touched");
    proxy.signal("TERM");
    assert!(proxy.wait().success());
    assert_eq!(place.files(), 0);
}

#[test]
fn a_file_that_another_process_put_in_place_of_ours_is_left_to_it() {
    let place = Place::new();
    let path = place.path("web.sock");
    let mut proxy = Proxy::with_config(&(QUIET.to_owned() + &listener("web", &path, "") + OURS));
    fs::rename(&path, place.path("moved")).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    proxy.signal("TERM");
    assert!(proxy.wait().success());
    UnixStream::connect(&path).expect("the other still listens");
}

#[test]
fn the_mode_of_a_socket_is_set_before_anyone_connects_and_changes_live() {
    let place = Place::new();
    let path = place.path("web.sock");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    let with = |more: &str| QUIET.to_owned() + &listener("web", &path, more) + OURS;
    let proxy = Proxy::with_config(&with("mode = \"0600\""));
    assert_eq!(mode(), 0o600);
    apply(&proxy, &with("mode = \"0666\""));
    assert_eq!(mode(), 0o666);
    apply(&proxy, &with(""));
    let usual = place.path("usual");
    let _usual = UnixListener::bind(&usual).unwrap();
    assert_eq!(
        mode(),
        fs::metadata(&usual).unwrap().permissions().mode() & 0o777
    );
    let tcp = format!("{QUIET}[[listener]]\naddress = \"127.0.0.1:0\"\nmode = \"0600\"\n{OURS}");
    assert!(refuse(&proxy, &tcp).contains("listener[0].mode"));
}

#[test]
fn one_listener_moves_from_a_port_to_a_socket_and_back_live() {
    let place = Place::new();
    let path = place.path("web.sock");
    let port = free_port();
    let tcp =
        format!("{QUIET}[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{port}\"\n{OURS}");
    let unix = QUIET.to_owned() + &listener("web", &path, "") + OURS;
    let address = ([127, 0, 0, 1], port).into();
    let proxy = Proxy::with_config(&tcp);
    for _ in 0..3 {
        assert_eq!(request(address, "GET", "/", &[], "").text(), "ours");
        apply(&proxy, &unix);
        assert_eq!(ask(&path), "ours");
        eventually("the port is closed", || {
            std::net::TcpStream::connect(address).is_err()
        });
        apply(&proxy, &tcp);
        assert_eq!(get(address, "/").text(), "ours");
        assert!(!path.exists());
    }
}
