//! Files of certificates and keys: what is wrong with them is told with its place and what to do, and
//! nothing of a key is told at all.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rcgen::KeyPair;

use crate::harness::{Authority, Origin, Pair, TlsSite, eventually, pointsman, request, route};

const REST: &str = "[[route]]\nrespond = {}\n";

fn check(site: &TlsSite, text: &str) -> (Option<i32>, String) {
    site.write(text);
    let said = pointsman(&[&"check", &site.config()]);
    (said.code, said.err)
}

fn one(names: &[&str]) -> (Authority, Pair) {
    let authority = Authority::new();
    let pair = authority.issue(names);
    (authority, pair)
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    let (_, pair) = one(&["a.example"]);
    let site = TlsSite::new(&[("a", &pair)]);
    let key = site.path("tls/a.key");
    let text = TlsSite::text(&["a"], "", REST);
    for mode in [0o600, 0o640, 0o400, 0o440] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let (code, said) = check(&site, &text);
        assert_eq!((code, said.as_str()), (Some(0), ""), "{mode:o}");
    }
    for mode in [0o644, 0o604, 0o660, 0o666, 0o777] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let (code, said) = check(&site, &text);
        assert_eq!(code, Some(1), "{mode:o}");
        for part in [
            "error: `tls/a.key` is a key that others than its owner can use".to_owned(),
            format!("its mode is {mode:04o}"),
            "pointsman.toml:6:48 (listener[0].tls.certificate[0].key)".to_owned(),
            format!("run `chmod 0600 {}`", key.display()),
        ] {
            assert!(said.contains(&part), "{part}\n{said}");
        }
        let (code, said) = check(
            &site,
            &text.replace("key\" }", "key\", allow_loose_key = true }"),
        );
        assert_eq!((code, said.as_str()), (Some(0), ""), "{mode:o}");
    }
}

#[test]
fn what_cannot_be_a_pair_is_refused_at_its_place_and_all_at_once() {
    let (authority, pair) = one(&["a.example"]);
    let site = TlsSite::new(&[]);
    let other = KeyPair::generate().unwrap().serialize_pem();
    let locked = pair.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let half = &pair.cert[..pair.cert.len() / 2];
    let half_key = &pair.key[..pair.key.len() / 2];
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let odd = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let table = [
        (
            &*pair.cert,
            &*other,
            "key",
            "is not the key of the certificate",
        ),
        (&pair.cert, &locked, "key", "is locked with a passphrase"),
        (&pair.cert, &pair.cert, "key", "holds no private key in PEM"),
        (&pair.cert, half_key, "key", "is not sound PEM"),
        (&pair.cert, odd, "key", "holds a key that cannot be used"),
        (&pair.cert, "", "key", "is empty"),
        (&pair.key, &pair.key, "cert", "holds no certificate in PEM"),
        (half, &pair.key, "cert", "is not sound PEM"),
        (nonsense, &pair.key, "cert", "holds a broken certificate"),
        ("", &pair.key, "cert", "is empty"),
    ];
    let names: Vec<String> = (0..table.len())
        .map(|number| format!("n{number}"))
        .collect();
    for (name, (cert, key, ..)) in names.iter().zip(table) {
        site.put_cert(name, cert);
        site.put_key(name, key);
    }
    site.put("good", &authority.issue(&["b.example"]));
    let mut listed: Vec<&str> = names.iter().map(String::as_str).collect();
    listed.extend(["good", "absent"]);
    let (code, said) = check(&site, &TlsSite::text(&listed, "", REST));
    assert_eq!(code, Some(1));
    for (number, (name, (_, _, key, message))) in names.iter().zip(table).enumerate() {
        let file = if key == "cert" { "pem" } else { "key" };
        let place = format!("(listener[0].tls.certificate[{number}].{key})");
        let told = format!("error: `tls/{name}.{file}` {message}");
        assert!(
            said.contains(&told) && said.contains(&place),
            "{told} {place}\n{said}"
        );
    }
    assert!(said.contains("`tls/absent.pem` is not there"), "{said}");
    assert!(!said.contains("certificate[10]"), "{said}");
    told_nothing(&said, &pair.key);
    told_nothing(&said, &other);
}

/// No line of a key is in it.
fn told_nothing(text: &str, key: &str) {
    let lines = key.lines().filter(|line| !line.starts_with("-----"));
    for line in lines {
        assert!(
            !text.contains(line) && !text.contains(&line[..20]),
            "{line} in {text}"
        );
    }
}

#[test]
fn a_certificate_that_does_not_hold_now_serves_with_a_warning() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let over = authority.sign(&["a.example"], &key, |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    let early = authority.sign(&["b.example"], &key, |params| {
        params.not_before = rcgen::date_time_ymd(2090, 1, 2);
    });
    let site = TlsSite::new(&[("a", &over), ("b", &early)]);
    let (code, said) = check(&site, &TlsSite::text(&["a", "b"], "", REST));
    assert_eq!(code, Some(0), "{said}");
    let ended = "warning: the certificate in `tls/a.pem` has ended on 2020-01-02T00:00:00Z";
    assert!(said.contains(ended), "{said}");
    let early = "warning: the certificate in `tls/b.pem` holds only from 2090-01-02T00:00:00Z";
    assert!(said.contains(early), "{said}");
}

#[test]
fn keys_that_do_not_fit_the_listener_are_refused_with_what_to_write() {
    let (_, pair) = one(&["a.example"]);
    let site = TlsSite::new(&[("a", &pair)]);
    let clear = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let table = [
        (
            TlsSite::text(&["a"], "redirect_to_https = true\n", REST),
            "speaks HTTPS itself",
        ),
        (
            TlsSite::text(&["a"], "", &format!("{clear}hsts = \"1d\"\n{REST}")),
            "only over TLS",
        ),
        (
            TlsSite::text(&["a"], "timeout.handshake = \"0s\"\n", REST),
            "cannot be zero",
        ),
        (TlsSite::text(&[], "", REST), "no certificate is named"),
        (
            TlsSite::text(&["a"], "redirect_to_https = 0\n", REST),
            "a port is from 1 to 65535",
        ),
        (
            TlsSite::text(&["a"], "hsts = 365\n", REST),
            "a duration such as \"365d\"",
        ),
        (
            TlsSite::text(&["a"], "tls.certificates = []\n", REST),
            "did you mean `certificate`?",
        ),
    ];
    for (text, message) in table {
        let (code, said) = check(&site, &text);
        assert_eq!(code, Some(1), "{text}");
        assert!(said.contains(message), "{message}\n{said}");
    }
}

#[test]
fn no_key_is_in_the_log_or_on_the_admin_side() {
    let (authority, pair) = one(&["a.example"]);
    let site = TlsSite::new(&[("a", &pair)]);
    let rest = route("all", "/*", &Origin::named("one").url());
    let text = TlsSite::text(&["a"], "", &rest);
    let proxy = site.serve(&text.replace("log.access = false", "log.level = \"trace\""));
    let renewed = authority.issue(&["a.example"]);
    site.put_key("a", &renewed.key);
    eventually("the new key is held back", || {
        !proxy.logged("warn").is_empty()
    });
    site.put_key("a", &renewed.key[..renewed.key.len() / 2]);
    proxy.ask_reload();
    let mut told = format!("{:?}", proxy.log());
    for path in ["/metrics", "/api/status"] {
        told += &request(proxy.admin(), "GET", path, &[], "").text();
    }
    told_nothing(&told, &pair.key);
    told_nothing(&told, &renewed.key);
}
