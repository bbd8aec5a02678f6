//! Unix sockets: requests that come by one, and upstreams behind one.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use tempfile::TempDir;

use crate::harness::{BINARY, DEADLINE, Origin, Proxy, Reply, UnixClient, route};

/// An origin on a unix socket: it tells the head of each request, with the number of its connection,
/// and echoes what follows an upgrade.
fn origin(path: &Path) -> Receiver<(usize, String)> {
    let listener = UnixListener::bind(path).unwrap();
    let (told, heads) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let told = told.clone();
            thread::spawn(move || serve(stream, |head| drop(told.send((number, head)))));
        }
    });
    heads
}

fn serve(stream: UnixStream, tell: impl Fn(String)) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let switches = head.to_ascii_lowercase().contains("upgrade: websocket");
        tell(head);
        let answer = match switches {
            true => "HTTP/1.1 101 S\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            false => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nunix",
        };
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
        if switches {
            let mut to = stream.get_ref().try_clone().unwrap();
            let _ = std::io::copy(&mut stream, &mut to);
            return;
        }
    }
}

pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn files(&self) -> usize {
        fs::read_dir(self.0.path()).unwrap().count()
    }
}

pub(crate) fn listener(name: &str, path: &Path, more: &str) -> String {
    let path = path.display();
    format!("[[listener]]\nname = \"{name}\"\naddress = \"unix:{path}\"\n{more}\n")
}

/// Reloads are asked for and not guessed from the file.
pub(crate) const QUIET: &str = "admin.listen = \"127.0.0.1:0\"\nreload.mode = \"off\"\n";

#[track_caller]
pub(crate) fn apply(proxy: &Proxy, text: &str) {
    proxy.write_all(text);
    let (status, outcome) = proxy.ask_reload();
    assert_eq!(
        (status, &outcome["result"]),
        (200, &"applied".into()),
        "{outcome:#}"
    );
}

#[test]
fn requests_and_tunnels_pass_from_unix_socket_to_unix_socket() {
    let place = Place::new();
    let (web, app) = (place.path("web.sock"), place.path("app.sock"));
    let heads = origin(&app);
    let upstream = format!("unix:{}:/base/", app.display());
    let routes = route("all", "/*", &upstream) + "upstream_host = \"upstream\"\n";
    let listen = format!("listen = \"unix:{}\"\nserver.workers = 1\n", web.display());
    let proxy = Proxy::with_config(&(listen + QUIET + &routes));
    let mut client = UnixClient::connect(&web);
    for _ in 0..3 {
        assert_eq!(client.get("/x?y=1").1, "unix");
        let (connection, head) = heads.recv_timeout(DEADLINE).unwrap();
        assert_eq!(connection, 0, "the connection is used again");
        assert!(head.starts_with("GET /base/x?y=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: localhost\r\n"), "{head}");
    }
    client.send(
        "GET /ws HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: x\r\n\r\nearly",
    );
    assert!(client.response().0.starts_with("HTTP/1.1 101 "));
    let mut echo = [0; 5];
    client.0.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"early");
    client
        .0
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    assert_eq!(
        client.0.read(&mut echo).unwrap(),
        0,
        "the end is carried, too"
    );

    let status = &proxy.status()["listeners"][0];
    let address = format!("unix:{}", web.display());
    assert_eq!(
        (&status["address"], &status["name"]),
        (&address.as_str().into(), &address.into())
    );
    let line = proxy.wait_for_log("the request", |line| line["path"] == "/x");
    assert_eq!(line["client_ip"], "unix:");
}

#[test]
fn large_bodies_pass_by_unix_sockets_unchanged() {
    const LARGE: usize = 8 * 1024 * 1024;
    let place = Place::new();
    let web = place.path("web.sock");
    let origin = Origin::new(|received| Reply::Whole(200, Vec::new(), received.body.clone()));
    let routes = route("all", "/*", &origin.url());
    let _proxy = Proxy::with_config(&(QUIET.to_owned() + &listener("web", &web, "") + &routes));
    let mut client = UnixClient::connect(&web);
    let body: String = (0..LARGE)
        .map(|at| char::from(b'a' + (at % 23) as u8))
        .collect();
    let mut writer = client.0.get_ref().try_clone().unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE}\r\n\r\n");
    let text = head + &body;
    let sending = thread::spawn(move || writer.write_all(text.as_bytes()).unwrap());
    assert!(client.response().1 == body, "the body arrives changed");
    sending.join().unwrap();
}

#[test]
fn a_unix_client_is_no_address_in_the_trail_and_believed_only_if_unix_is_trusted() {
    let place = Place::new();
    let web = place.path("web.sock");
    let origin = Origin::named("one");
    let text = |trusted: &str| {
        let routes = route("all", "/*", &origin.url());
        let more = "forwarded = true\nrequest_header = { set = { X-Who = \"{client_ip}\" } }\n";
        let server = format!("server.trusted_proxies = {trusted}\n");
        server + QUIET + &listener("web", &web, "") + &routes + more
    };
    let seen = || {
        let mut client = UnixClient::connect(&web);
        client.send("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n");
        client.response();
        let last = origin.last();
        let all = |name: &str| last.all(name).join(" | ");
        [all("x-forwarded-for"), all("forwarded"), all("x-who")]
    };
    let unknown = "for=unknown;proto=http;host=\"test\"";
    let proxy = Proxy::with_config(&text("[\"127.0.0.0/8\", \"0.0.0.0/0\"]"));
    assert_eq!(seen(), ["", unknown, "unix:"]);
    apply(&proxy, &text("[\"unix:\"]"));
    assert_eq!(seen(), ["192.0.2.9", unknown, "192.0.2.9"]);
}

#[test]
fn an_upstream_whose_socket_is_missing_or_dead_is_told_apart_and_passed_over() {
    let place = Place::new();
    let (dead, missing, app) = (place.path("dead"), place.path("missing"), place.path("app"));
    drop(UnixListener::bind(&dead).unwrap());
    let _heads = origin(&app);
    let url = |path: &Path| format!("unix:{}", path.display());
    let proxy = Proxy::start(&format!(
        "{}{}{}[upstream.two]\nserver = [\"{}\", \"{}\"]\n",
        route("dead", "/dead", &url(&dead)),
        route("missing", "/missing", &url(&missing)),
        route("two", "/two", "two"),
        url(&dead),
        url(&app),
    ));
    let answers = ["/dead", "/missing"].map(|path| {
        let answer = proxy.get(path);
        (answer.status, answer.text().trim().to_owned())
    });
    println!("{answers:?}");
    assert!(
        answers.iter().all(|(status, _)| *status == 502),
        "{answers:?}"
    );
    assert_ne!(answers[0].1, answers[1].1);
    for _ in 0..4 {
        assert_eq!(proxy.get("/two").text(), "unix");
    }
}

#[test]
fn a_proxy_whose_upstream_is_its_own_socket_is_refused() {
    let place = Place::new();
    let path = place.path("web.sock");
    let url = format!("unix:{}", path.display());
    let file = place.path("pointsman.toml");
    let text = QUIET.to_owned() + &listener("web", &path, "") + &route("all", "/*", &url);
    fs::write(&file, text).unwrap();
    let check = Command::new(BINARY)
        .args(["check", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr).into_owned()
        + &String::from_utf8_lossy(&check.stdout);
    assert!(
        !check.status.success() && said.contains("is this proxy itself"),
        "{said}"
    );
}
