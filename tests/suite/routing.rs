//! Which route takes a request, and what the route makes of its path and headers.

use crate::harness::{Client, Origin, Proxy, Response, eventually, request};

/// Routes of which each answers with its name.
const ROUTES: [(&str, &str); 17] = [
    ("default", ""),
    ("get", "method = \"GET\"\npath = \"/methods\""),
    ("write", "method = [\"POST\", \"PUT\"]\npath = \"/methods\""),
    ("any-method", "path = \"/methods\""),
    ("api", "path = \"/api/*\""),
    ("api-exact", "path = \"/api/status\""),
    ("user", "path = \"/users/{id}\""),
    ("me", "path = \"/users/me\""),
    ("user-below", "path = \"/users/{id}/*\""),
    ("slash", "path = \"/a%2Fb\""),
    ("nested", "path = \"/a/b\""),
    ("host", "host = \"www.example.com\""),
    (
        "host-path",
        "host = [\"www.example.com\", \"alias.example\"]\npath = \"/deep/er\"",
    ),
    ("below", "host = \"*.example.com\""),
    ("far-below", "host = \"*.eu.example.com\""),
    (
        "canary",
        "path = \"/api/*\"\nheader = { X-Canary = \"yes\" }",
    ),
    (
        "debug",
        "path = \"/api/*\"\nheader = { X-Canary = \"yes\" }\nquery = { debug = \"*\", v = \"2\" }",
    ),
];

/// method, host, target, one more line, the route that takes it
const REQUESTS: [(&str, &str, &str, &str, &str); 38] = [
    ("GET", "a", "/", "", "default"),
    ("GET", "a", "/methods", "", "get"),
    ("POST", "a", "/methods", "", "write"),
    ("PUT", "a", "/methods", "", "write"),
    ("DELETE", "a", "/methods", "", "any-method"),
    ("get", "a", "/methods", "", "any-method"),
    ("GET", "a", "/api", "", "api"),
    ("GET", "a", "/api/", "", "api"),
    ("GET", "a", "/api?x", "", "api"),
    ("GET", "a", "/api/x/y", "", "api"),
    ("GET", "a", "/apix", "", "default"),
    ("GET", "a", "//api", "", "default"),
    ("GET", "a", "/API", "", "default"),
    ("GET", "a", "/%61pi/x", "", "api"),
    ("GET", "a", "/api/status", "", "api-exact"),
    ("GET", "a", "/api/st%61tus", "", "api-exact"),
    ("GET", "a", "/api/status/", "", "api"),
    ("GET", "a", "/users/7", "", "user"),
    ("GET", "a", "/users/me", "", "me"),
    ("GET", "a", "/users/7/posts", "", "user-below"),
    ("GET", "a", "/users/me/posts", "", "user-below"),
    ("GET", "a", "/users", "", "default"),
    ("GET", "a", "/a/b", "", "nested"),
    ("GET", "a", "/a%2Fb", "", "slash"),
    ("GET", "a", "/a%2fb", "", "slash"),
    ("GET", "www.example.com", "/x", "", "host"),
    ("GET", "WWW.Example.COM", "/x", "", "host"),
    ("GET", "www.example.com.", "/x", "", "host"),
    ("GET", "www.example.com:8443", "/x", "", "host"),
    ("GET", "www.example.com", "/deep/er", "", "host-path"),
    ("GET", "alias.example", "/deep/er", "", "host-path"),
    ("GET", "b.example.com", "/api", "", "below"),
    ("GET", "c.eu.example.com", "/", "", "far-below"),
    ("GET", "eu.example.com", "/", "", "below"),
    ("GET", "example.com", "/", "", "default"),
    ("GET", "a", "/api/x", "x-canary: yes", "canary"),
    ("GET", "a", "/api/x", "X-Canary: no", "api"),
    ("GET", "a", "/api/x?v=2&debug", "X-Canary: yes", "debug"),
];

fn ask(proxy: &Proxy, request: (&str, &str, &str, &str)) -> Response {
    let (method, host, target, line) = request;
    let mut client = Client::connect(proxy.address());
    let line = if line.is_empty() {
        String::new()
    } else {
        format!("{line}\r\n")
    };
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n{line}\r\n"
    ));
    client.response()
}

#[test]
fn the_most_specific_route_takes_the_request_whatever_the_order_in_the_file() {
    let tables = ROUTES.map(|(name, matches)| {
        format!("[[route]]\nname = \"{name}\"\n{matches}\nrespond = {{ body = \"{name}\" }}\n")
    });
    let mut backwards = tables.clone();
    backwards.reverse();
    let mut rotated = tables.clone();
    rotated.rotate_left(7);
    let proxy = Proxy::start(&tables.concat());
    for order in [tables, backwards, rotated] {
        proxy.write(&order.concat());
        proxy.ask_reload();
        for (method, host, target, line, route) in REQUESTS {
            let response = ask(&proxy, (method, host, target, line));
            let seen = (response.status, response.text());
            assert_eq!(
                seen,
                (200, route.to_owned()),
                "{method} {host} {target} {line}"
            );
        }
    }
}

#[test]
fn where_no_route_takes_the_request_the_answer_and_the_log_say_so() {
    let proxy = Proxy::start(
        "[[route]]\nhost = \"a.example\"\npath = \"/x\"\nmethod = \"GET\"\nrespond = {}\n",
    );
    for (method, host, target) in [
        ("GET", "b.example", "/x"),
        ("GET", "a.example", "/y"),
        ("POST", "a.example", "/x"),
    ] {
        let response = ask(&proxy, (method, host, target, ""));
        let seen = (response.status, response.header("x-pointsman-error"));
        assert_eq!(seen, (404, "no_route"));
        assert!(response.text().contains("no_route"));
        eventually("the log tells of it", || {
            let log = proxy.log();
            log.iter().any(|line| {
                line["route"] == "_unmatched"
                    && (&line["method"], &line["host"], &line["path"])
                        == (&method.into(), &host.into(), &target.into())
            })
        });
    }
}

/// One route for each base path of the upstream, told apart by the host.
fn with_bases(origin: &Origin, rewrite: &str) -> Proxy {
    let routes = BASES.iter().enumerate().map(|(at, base)| {
        let url = origin.url() + base;
        format!("[[route]]\nhost = \"h{at}\"\npath = \"/api/*\"\nupstream = \"{url}\"\n{rewrite}\n")
    });
    Proxy::start(&routes.collect::<String>())
}

const BASES: [&str; 4] = ["", "/", "/v2", "/v2/"];

#[test]
fn a_prefix_taken_away_and_a_base_path_meet_in_one_slash() {
    let origin = Origin::named("o");
    let proxy = with_bases(&origin, "rewrite.strip_prefix = \"/api\"");
    let table = [
        ("/api", ["/", "/", "/v2/", "/v2/"]),
        ("/api/", ["/", "/", "/v2/", "/v2/"]),
        ("/api/x", ["/x", "/x", "/v2/x", "/v2/x"]),
        // What the client wrote stays as it is.
        ("/api//x", ["//x", "//x", "/v2//x", "/v2//x"]),
        ("/api?q", ["/?q", "/?q", "/v2/?q", "/v2/?q"]),
        (
            "/%61pi/a%2Fb?",
            ["/a%2Fb?", "/a%2Fb?", "/v2/a%2Fb?", "/v2/a%2Fb?"],
        ),
    ];
    for (target, expected) in table {
        for (at, expected) in expected.into_iter().enumerate() {
            assert_eq!(
                ask(&proxy, ("GET", &format!("h{at}"), target, "")).status,
                200
            );
            assert_eq!(origin.last().target, expected, "{target} to {}", BASES[at]);
        }
    }
}

#[test]
fn a_base_path_goes_before_a_path_that_is_left_alone() {
    let origin = Origin::named("o");
    let proxy = with_bases(&origin, "");
    for target in ["/api", "/api/", "/api/x", "/api//x", "/api?q"] {
        for (at, base) in ["", "", "/v2", "/v2"].into_iter().enumerate() {
            assert_eq!(
                ask(&proxy, ("GET", &format!("h{at}"), target, "")).status,
                200
            );
            assert_eq!(origin.last().target, format!("{base}{target}"));
        }
    }
}

#[test]
fn a_prefix_is_added_or_replaced_at_a_segments_end() {
    let origin = Origin::named("o");
    let url = origin.url();
    let proxy = Proxy::start(&format!(
        "[[route]]\nhost = \"add\"\nupstream = \"{url}\"\nrewrite.add_prefix = \"/v1/\"\n\
         [[route]]\nhost = \"replace\"\nupstream = \"{url}\"\n\
         rewrite.replace_prefix = {{ from = \"/old\", to = \"/new/er\" }}\n"
    ));
    let table = [
        ("add", "/x?q", "/v1/x?q"),
        ("add", "/", "/v1/"),
        ("replace", "/old", "/new/er"),
        ("replace", "/old/x?q", "/new/er/x?q"),
        ("replace", "/older", "/older"),
        ("replace", "/x/old", "/x/old"),
    ];
    for (host, target, expected) in table {
        assert_eq!(ask(&proxy, ("GET", host, target, "")).status, 200);
        assert_eq!(origin.last().target, expected, "{host} {target}");
    }
}

#[test]
fn a_redirect_says_where_and_keeps_what_was_asked_for() {
    let statuses = [301, 302, 303, 307, 308];
    let routes = statuses.map(|status| {
        format!(
            "[[route]]\nhost = \"h{status}\"\n\
             redirect = {{ to = \"https://new.example{{uri}}\", status = {status} }}\n"
        )
    });
    let default = "[[route]]\npath = \"/u/{id}\"\n\
                   redirect.to = \"https://{host}/users/{path.id}?{query}\"\n";
    let proxy = Proxy::start(&(routes.concat() + default));
    for status in statuses {
        let response = ask(
            &proxy,
            ("GET", &format!("h{status}"), "/%61%2Fb?x=1;y&z", ""),
        );
        let seen = (response.status, response.header("location"));
        assert_eq!(seen, (status, "https://new.example/%61%2Fb?x=1;y&z"));
    }
    let response = ask(&proxy, ("POST", "Old.example:81", "/u/a%20b?q=1", ""));
    let seen = (response.status, response.header("location"));
    assert_eq!(seen, (308, "https://old.example/users/a%20b?q=1"));
}

#[test]
fn a_fixed_response_is_what_the_file_says() {
    let proxy = Proxy::start(
        "[[route]]\npath = \"/plain\"\nrespond.body = \"hello\"\n\
         [[route]]\npath = \"/json\"\n\
         respond = { status = 418, body = '{\"short\":1}', content_type = \"application/json\" }\n",
    );
    let table = [
        ("/plain", 200, "text/plain; charset=utf-8", "hello"),
        ("/json", 418, "application/json", "{\"short\":1}"),
    ];
    for (target, status, kind, body) in table {
        let response = proxy.get(target);
        assert_eq!((response.status, response.text().as_str()), (status, body));
        assert_eq!(response.all("content-type"), [kind]);
        assert_eq!(response.all("content-length"), [body.len().to_string()]);
        let head = request(proxy.address(), "HEAD", target, &[], "");
        assert_eq!((head.status, head.header("content-type")), (status, kind));
    }
}

#[test]
fn header_rules_remove_then_set_then_add_in_both_directions() {
    let origin = Origin::new(|_| {
        let headers = [
            ("server", "o"),
            ("x-set", "old"),
            ("x-add", "old"),
            ("x-keep", "1"),
        ];
        let headers = headers.map(|(name, value)| (name, value.to_owned()));
        crate::harness::Reply::Whole(200, headers.into(), Vec::new())
    });
    let rules = "{ remove = [\"Server\", \"Cookie\", \"X-Forwarded-For\"], \
                 set = { X-Set = \"new\" }, add = { X-Add = \"more\" } }";
    let proxy = Proxy::start(&format!(
        "[[route]]\nupstream = \"{}\"\nrequest_header = {rules}\nresponse_header = {rules}\n",
        origin.url()
    ));
    let mut client = Client::connect(proxy.address());
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: a\r\nX-Set: old\r\nX-Set: older\r\nX-Add: old\r\n\r\n",
    );
    let (response, received) = (client.response(), origin.last());
    let seen: [&dyn Fn(&'static str) -> Vec<String>; 2] = [
        &|name| response.all(name).iter().map(ToString::to_string).collect(),
        &|name| received.all(name).iter().map(ToString::to_string).collect(),
    ];
    for all in seen {
        assert_eq!(all("x-set"), ["new"]);
        assert_eq!(all("x-add"), ["old", "more"]);
        for gone in ["server", "cookie", "x-forwarded-for"] {
            assert_eq!(all(gone), [""; 0], "{gone}");
        }
    }
    assert_eq!(response.all("x-keep"), ["1"]);
}

#[test]
fn each_variable_stands_for_what_the_request_says() {
    let origin = Origin::named("o");
    let names = [
        "client_ip",
        "host",
        "method",
        "path",
        "path.id",
        "query",
        "request_id",
        "route",
        "scheme",
        "uri",
    ];
    let set = names.map(|name| format!("\"X-{}\" = \"<{{{name}}}>\"", name.replace('.', "-")));
    let rules = format!("{{ set = {{ {} }} }}", set.join(", "));
    let proxy = Proxy::start(&format!(
        "[[route]]\nname = \"users\"\npath = \"/users/{{id}}/*\"\nupstream = \"{}\"\n\
         request_header = {rules}\nresponse_header = {rules}\n",
        origin.url()
    ));
    let response = ask(
        &proxy,
        (
            "PUT",
            "A.Example:81",
            "/users/%61%2Fb/x?q=1;r",
            "Content-Length: 0",
        ),
    );
    let received = origin.last();
    let logged = proxy.wait_for_log("the request", |line| line["route"] == "users");
    let id = logged["request_id"].as_str().unwrap();
    assert_eq!(id.len(), 32);
    let values = [
        "127.0.0.1",
        "a.example",
        "PUT",
        "/users/%61%2Fb/x",
        "%61%2Fb",
        "q=1;r",
        id,
        "users",
        "http",
        "/users/%61%2Fb/x?q=1;r",
    ];
    for (name, value) in names.iter().zip(values) {
        let header = format!("x-{}", name.replace('.', "-"));
        let value = format!("<{value}>");
        assert_eq!(received.all(&header), [value.as_str()], "{name}");
        assert_eq!(response.all(&header), [value.as_str()], "{name}");
    }
}
