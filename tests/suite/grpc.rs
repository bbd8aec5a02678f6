//! gRPC through the proxy, by both ends of a library that is not ours.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use serde_json::{Value, json};

use crate::harness::http2::{ask, asks, begin, h2, open, read, soon};
use crate::harness::{
    Asked, Authority, Http2Origin, Proxy, TlsSite, eventually, free_port, passes, peer, route, tool,
};

/// A server that ends with its input, and so with this.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(pair: &[&str]) -> Self {
        let mut command = peer("rpc.py", &[&["serve"], pair].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut said = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut said).unwrap();
        let port = said.trim().parse().expect("the server says its port");
        Self { process, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn call(target: &str, cases: &[&str]) -> Value {
    let said = passes(&mut peer("rpc.py", &[&["call", target], cases].concat()));
    serde_json::from_str(&said).unwrap()
}

/// What comes of a call whoever is between its ends.
fn expected() -> Value {
    let no = "Method not found!";
    json!({
        "unary": "hello",
        "empty": "",
        "large": true,
        "metadata": ["initial", "00ffab"],
        "client_stream": "74922",
        "server_stream": [31415, 9, 2653, 58979],
        "both": true,
        "empty_stream": [],
        "fail": ["FAILED_PRECONDITION", "\t\nno — ☺\r\n"],
        "fail_late": [["first"], "DATA_LOSS", "late"],
        "no_method": ["UNIMPLEMENTED", no],
        "no_service": ["UNIMPLEMENTED", no],
        "deadline": "DEADLINE_EXCEEDED",
        "remaining": ["none", "some"],
        "health": "0801",
        "cancel": "begun",
    })
}

fn cases(expected: &Value) -> Vec<&str> {
    let cases = expected.as_object().unwrap().keys();
    cases.map(String::as_str).collect()
}

#[test]
#[ignore = "needs the Python grpcio package; make test runs it"]
fn every_kind_of_call_passes_as_if_nobody_were_between() {
    let server = Server::start(&[]);
    let expected = expected();
    // So it is without us.
    assert_eq!(
        call(&format!("127.0.0.1:{}", server.port), &cases(&expected)),
        expected
    );
    let url = format!("h2c://127.0.0.1:{}", server.port);
    let proxy = Proxy::start(&route("calls", "/*", &url));
    assert_eq!(
        call(&proxy.address().to_string(), &cases(&expected)),
        expected
    );
    proxy.counts("pointsman_requests_in_flight", &[], 0.0);
}

#[test]
#[ignore = "needs the Python grpcio package; make test runs it"]
fn so_it_does_under_tls_on_either_side_and_on_both() {
    let authority = Authority::new();
    let site = TlsSite::new(&[("app", &authority.issue(&["app.internal"]))]);
    site.put_cert("ca", &authority.pem);
    let path = |name: &str| site.path(name).display().to_string();
    let (ca, cert, key) = (path("tls/ca.pem"), path("tls/app.pem"), path("tls/app.key"));
    let (clear, secure) = (Server::start(&[]), Server::start(&[&cert, &key]));
    let expected = expected();
    let trusted = "tls = { ca = \"tls/ca.pem\", server_name = \"app.internal\" }\n";
    for (url, tls) in [
        (format!("h2c://127.0.0.1:{}", clear.port), ""),
        (format!("https://127.0.0.1:{}", secure.port), trusted),
    ] {
        let rest = format!(
            "[[listener]]\nname = \"clear\"\naddress = \"127.0.0.1:0\"\n\
             {}[upstream.app]\nserver = \"{url}\"\n{tls}",
            route("calls", "/*", "app")
        );
        let proxy = site.serve(&TlsSite::text(&["app"], "", &rest));
        let by_clear = call(&proxy.listener("clear").to_string(), &cases(&expected));
        assert_eq!(by_clear, expected, "{url}");
        let trust = format!("ca={ca}");
        let words = [&cases(&expected)[..], &[&trust, "name=app.internal"]].concat();
        let by_tls = call(&proxy.listener("tls").to_string(), &words);
        assert_eq!(by_tls, expected, "{url}");
    }
}

#[test]
#[ignore = "needs the Python grpcio package; make test runs it"]
fn a_call_that_the_proxy_fails_has_a_status_of_grpc() {
    let server = Server::start(&[]);
    let url = format!("h2c://127.0.0.1:{}", server.port);
    let down = format!("h2c://127.0.0.1:{}", free_port());
    let proxy = Proxy::start(&format!(
        "{}{}{}limit = {{ body = \"1KiB\" }}\n{}timeout = {{ response = \"300ms\" }}\n\
         rewrite = {{ strip_prefix = \"/slow.Service\", add_prefix = \"/pointsman.test.Echo\" }}\n",
        route("echo", "/pointsman.test.Echo/*", &url),
        route("down", "/down.Service/*", &down),
        route("small", "/small.Service/*", &url),
        route("slow", "/slow.Service/*", &url),
    ));
    let expected = json!({
        "no_route": ["UNIMPLEMENTED", "no route of this proxy matches the request"],
        "down": ["UNAVAILABLE", "the upstream refuses connections"],
        "too_large": [
            "RESOURCE_EXHAUSTED",
            "the body of the request is larger than this route allows",
        ],
        "slow": ["DEADLINE_EXCEEDED", "the upstream did not answer in time"],
    });
    assert_eq!(
        call(&proxy.address().to_string(), &cases(&expected)),
        expected
    );
    for (why, route) in [
        ("no_route", "_unmatched"),
        ("connect_refused", "down"),
        ("body_too_large", "small"),
        ("header_timeout", "slow"),
    ] {
        let labels = [("route", route), ("why", why)];
        proxy.counts("pointsman_errors_total", &labels, 1.0);
    }
}

/// nginx ends each connection after ten requests and looks at none that come after.
#[test]
#[ignore = "needs nginx and the Python grpcio package; make test runs it"]
fn a_server_that_says_goodbye_every_ten_calls_fails_none() {
    let server = Server::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let (port, root) = (free_port(), directory.path().display());
    let config = format!(
        "daemon off; pid {root}/pid; error_log stderr; worker_processes 1;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;\n\
         fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
         server {{ listen 127.0.0.1:{port} http2; keepalive_requests 10;\n\
         location / {{ grpc_pass grpc://127.0.0.1:{}; }} }} }}\n",
        server.port
    );
    let file = directory.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = tool("nginx");
    command.args(["-e", "stderr", "-c"]).arg(&file);
    let _nginx = crate::programs::Server::start(command, port);
    let url = format!("h2c://127.0.0.1:{port}");
    let proxy = Proxy::start(&route("calls", "/*", &url));
    let said = passes(&mut peer(
        "rpc.py",
        &["load", &proxy.address().to_string(), "2000"],
    ));
    assert_eq!(said.trim(), "{\"OK\": 2000}");
    let connects = proxy
        .metrics()
        .sum("pointsman_upstream_connects_total", &[]);
    assert!(connects >= 100.0, "{connects}");
}

#[test]
fn a_callers_deadline_bounds_the_wait() {
    let origin = Http2Origin::new(|asked| async move {
        let _asked = asked;
        std::future::pending::<()>().await;
    });
    let proxy = Proxy::start(&route("all", "/*", &origin.url()));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut request = asks("POST", "/a.Service/Method");
        let headers = request.headers_mut();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        headers.insert("grpc-timeout", "300m".parse().unwrap());
        let (response, mut stream) = begin(&requests, request, false).await;
        stream.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
        let answer = read(response.await.unwrap()).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
        assert_eq!(answer.headers["grpc-status"], "4");
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert_eq!(answer.headers["x-pointsman-error"], "deadline_exceeded");
    });
    eventually("its stream is gone", || {
        proxy.metrics().sum("pointsman_requests_in_flight", &[]) == 0.0
    });
}

/// Ends each call by what its path says.
async fn by_path(mut asked: Asked) {
    let _ = asked.body().await;
    let code = match asked.request.uri().path() {
        "/shop.Cart/Add" => "0",
        "/shop.Cart/Full" => "8",
        "/shop.Cart/Odd" => "77",
        _ => "",
    };
    let response = Response::builder().header("content-type", "application/grpc");
    if code == "8" {
        // Nothing but trailers.
        return asked.answer(response.header("grpc-status", code).body(()).unwrap(), "");
    }
    let sent = asked
        .respond
        .send_response(response.body(()).unwrap(), false);
    let Ok(mut stream) = sent else { return };
    stream
        .send_data(Bytes::from_static(&[0; 5]), code.is_empty())
        .unwrap();
    if !code.is_empty() {
        let trailers = HeaderMap::from_iter([(
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_str(code).unwrap(),
        )]);
        stream.send_trailers(trailers).unwrap();
    }
}

#[test]
fn calls_of_listed_methods_are_counted_by_method_and_code() {
    let origin = Http2Origin::new(by_path);
    let down = format!("h2c://127.0.0.1:{}", free_port());
    let methods = "grpc_methods = [\"shop.Cart/Add\", \"shop.Cart/Full\"]\n";
    let proxy = Proxy::start(&format!(
        "{}{methods}{}grpc_methods = [\"shop.Down/Call\"]\n{}",
        route("cart", "/shop.Cart/*", &origin.url()),
        route("down", "/shop.Down/*", &down),
        route("silent", "/shop.Other/*", &origin.url()),
    ));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        for (path, times) in [
            ("/shop.Cart/Add", 3),
            ("/shop.Cart/Full", 2),
            ("/shop.Cart/Odd", 1),
            ("/shop.Cart/None", 1),
            ("/shop.Down/Call", 1),
            ("/shop.Other/Call", 1),
        ] {
            for _ in 0..times {
                let mut request = asks("POST", path);
                let kind = HeaderValue::from_static("application/grpc");
                request.headers_mut().insert("content-type", kind);
                let answer = ask(&requests, request).await.unwrap();
                assert_eq!(answer.status, 200, "{path}");
            }
        }
        // Its caller does not wait.
        let mut request = asks("POST", "/shop.Cart/Add");
        let kind = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert("content-type", kind);
        let (response, stream) = begin(&requests, request, false).await;
        soon("the call has begun", || origin.streams() == 9).await;
        drop((response, stream));
        let left = [("method", "shop.Cart/Add"), ("code", "CANCELLED")];
        soon("it is counted", || {
            proxy.metrics().sum("pointsman_grpc_calls_total", &left) == 1.0
        })
        .await;
        // Requests like any other: without the type, and by HTTP/1.1.
        ask(&requests, asks("POST", "/shop.Cart/Add"))
            .await
            .unwrap();
        let kind = [("Content-Type", "application/grpc")];
        crate::harness::request(proxy.address(), "POST", "/shop.Cart/Add", &kind, "");
    });
    for (route, method, code, count) in [
        ("cart", "shop.Cart/Add", "OK", 3.0),
        ("cart", "shop.Cart/Full", "OK", 0.0),
        ("cart", "shop.Cart/Full", "RESOURCE_EXHAUSTED", 2.0),
        ("cart", "_other", "UNKNOWN", 2.0),
        ("down", "shop.Down/Call", "UNAVAILABLE", 1.0),
    ] {
        let labels = [("route", route), ("method", method), ("code", code)];
        proxy.counts("pointsman_grpc_calls_total", &labels, count);
    }
    proxy.counts("pointsman_grpc_calls_total", &[], 9.0);
    let durations = "pointsman_grpc_call_duration_seconds_count";
    proxy.counts(durations, &[("method", "shop.Cart/Add")], 4.0);
}

#[test]
fn a_callers_deadline_bounds_the_answer_too() {
    let origin = Http2Origin::new(|mut asked: Asked| async move {
        let response = Response::builder().header("content-type", "application/grpc");
        let response = response.body(()).unwrap();
        let stream = asked.respond.send_response(response, false);
        std::future::pending::<()>().await;
        drop(stream);
    });
    let proxy = Proxy::start(&route("all", "/*", &origin.url()));
    h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        let mut request = asks("POST", "/a.Service/Method");
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-timeout", HeaderValue::from_static("2S"));
        let (response, _) = begin(&requests, request, true).await;
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(read(response).await.is_err(), "the stream is reset");
    });
    let over = [("why", "deadline_exceeded")];
    proxy.counts("pointsman_errors_total", &over, 1.0);
}
