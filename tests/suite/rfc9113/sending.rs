//! What the proxy itself sends: as much as it is allowed to, in frames that are allowed.

use super::peer::{DATA, END_HEADERS, Frame, Peer, WINDOW_UPDATE, head};
use super::{LARGE, Site};
use crate::harness::http2::{
    ACK, CONTINUATION, END, GOAWAY, HEADERS, PING, PREFACE, SETTINGS, ask, asks, fields, h2, open,
    status,
};
use crate::harness::{Origin, Proxy, Reply};

/// The largest frame that is sent to whoever allows none that is larger.
const LARGEST: usize = 16_384;

/// Bytes of the body of that stream.
fn received(frames: &[Frame], of: u32) -> usize {
    let data = frames
        .iter()
        .filter(|(kind, _, stream, _)| (*kind, *stream) == (DATA, of));
    data.map(|(.., payload)| payload.len()).sum()
}

/// Takes exactly so much more of that stream, and nothing comes after it.
#[track_caller]
fn takes(peer: &mut Peer, stream: u32, more: usize) {
    let mut came = 0;
    while came < more {
        let frames = peer.until(|(kind, _, of, _)| (*kind, *of) == (DATA, stream));
        came += received(&frames, stream);
    }
    // What comes in the meantime would have been sent by now.
    assert_eq!(peer.next_request(&[]), Ok(200));
    came += received(&peer.settles(), stream);
    assert_eq!(came, more);
}

/// A client that gives each stream a window of that size.
fn with_window(site: &Site, size: u32) -> Peer {
    let mut peer = site.knock();
    peer.send(PREFACE);
    peer.settings(&[(4, size)]);
    peer
}

#[test]
fn settings_come_first_and_each_of_the_clients_is_acknowledged_at_once() {
    let site = Site::new();
    let mut peer = site.open();
    let first = peer.until(|_| true).remove(0);
    assert_eq!((first.0, first.1, first.2), (SETTINGS, 0, 0));
    for setting in first.3.chunks(6) {
        let id = u16::from_be_bytes(setting[..2].try_into().unwrap());
        let value = u32::from_be_bytes(setting[2..].try_into().unwrap());
        let sound = match id {
            2 => value == 0,
            4 => value <= i32::MAX as u32,
            5 => (16_384..1 << 24).contains(&value),
            _ => true,
        };
        assert!(sound, "{id}: {value}");
    }
    for _ in 0..3 {
        peer.settings(&[(4, 1000), (0xfafa, 1)]);
    }
    let acknowledged = peer
        .settles()
        .into_iter()
        .filter(|(kind, flags, _, payload)| {
            (*kind, *flags) == (SETTINGS, ACK) && payload.is_empty()
        });
    assert_eq!(acknowledged.count(), 4, "the first of all and three more");
}

#[test]
fn a_ping_comes_back_as_it_was_and_its_answer_does_not() {
    let site = Site::new();
    let mut peer = site.open();
    peer.frame(PING, ACK, 0, b"answered");
    peer.frame(PING, 0, 0, b"an asker");
    let seen = peer.settles();
    let pings: Vec<_> = seen.iter().filter(|(kind, ..)| *kind == PING).collect();
    let expected = [b"an asker", b"settled?"].map(|bytes| (PING, ACK, 0, bytes.to_vec()));
    assert_eq!(pings, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_body_never_exceeds_the_window_of_its_stream() {
    let site = Site::new();
    let mut peer = with_window(&site, 1);
    peer.get(1, "/large");
    takes(&mut peer, 1, 1);
    peer.grant(1, 9);
    takes(&mut peer, 1, 9);
    // Windows of streams that are open change with it.
    peer.settings(&[(4, 5)]);
    takes(&mut peer, 1, 4);
}

#[test]
fn a_window_below_nothing_is_filled_up_first() {
    let site = Site::new();
    let mut peer = with_window(&site, 1000);
    peer.get(1, "/large");
    takes(&mut peer, 1, 1000);
    peer.settings(&[(4, 100)]);
    peer.grant(1, 900);
    takes(&mut peer, 1, 0);
    peer.grant(1, 1);
    takes(&mut peer, 1, 1);
}

#[test]
fn bodies_together_never_exceed_the_window_of_the_connection() {
    let site = Site::new();
    let mut peer = with_window(&site, 1 << 20);
    peer.get(1, "/large");
    let mut came = 0;
    while came < 65_535 {
        came += received(&peer.until(|(kind, ..)| *kind == DATA), 1);
    }
    // Only what has no body is answered now.
    peer.frame(HEADERS, END, 3, &head("HEAD", "/"));
    peer.until(|(kind, _, stream, _)| (*kind, *stream) == (HEADERS, 3));
    came += received(&peer.settles(), 1);
    assert_eq!(came, 65_535);
    peer.grant(0, 100);
    came += received(&peer.until(|(kind, ..)| *kind == DATA), 1);
    assert_eq!(came, 65_635);
}

#[test]
fn no_frame_is_larger_than_the_client_allows() {
    let site = Site::new();
    let mut peer = with_window(&site, 1 << 20);
    peer.grant(0, 1 << 20);
    let frames = peer.asks(1, "/large");
    assert_eq!(received(&frames, 1), LARGE);
    let largest = frames.iter().map(|(.., payload)| payload.len()).max();
    assert_eq!(largest, Some(LARGEST));
}

#[test]
fn a_long_head_is_one_block_of_several_frames() {
    let field = |number: usize| format!("x-{number}: {}\r\n", "y".repeat(1000));
    let lines: String = (0..60).map(field).collect();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n");
    let origin = Origin::new(move |_| Reply::Raw(answer.clone().into_bytes()));
    let proxy = Proxy::to(&origin.url());
    let mut peer = Peer::over(crate::harness::Client::connect(proxy.address()).into_stream());
    peer.begins();
    peer.get(1, "/");
    let frames = peer.until(|(_, flags, stream, _)| *stream == 1 && flags & END_HEADERS != 0);
    let begin = frames.iter().position(|(kind, ..)| *kind == HEADERS);
    let block = &frames[begin.expect("a head")..];
    assert!(block.len() > 2, "{} frames", block.len());
    for (number, (kind, _, stream, payload)) in block.iter().enumerate() {
        let expected = if number == 0 { HEADERS } else { CONTINUATION };
        assert_eq!((*kind, *stream), (expected, 1));
        assert!(payload.len() <= LARGEST);
    }
}

#[test]
fn fields_are_compressed_in_no_larger_table_than_the_client_has() {
    let site = Site::new();
    let blocks = |settings: &[(u16, u32)]| {
        let mut peer = site.knock();
        peer.send(PREFACE);
        peer.settings(settings);
        peer.settles();
        [1, 3].map(|stream| {
            let frames = peer.asks(stream, "/");
            let head = frames.into_iter().find(|(kind, ..)| *kind == HEADERS);
            head.expect("a head").3
        })
    };
    let [first, second] = blocks(&[]);
    assert!(second.len() < first.len(), "what was said once has a place");
    // The new size comes first (section 4.3.1), and nothing has a place.
    let [first, second] = blocks(&[(1, 0)]);
    assert_eq!((first[0], second.len()), (0x20, first.len() - 1));
}

#[test]
fn after_a_reset_nothing_more_is_sent_on_its_stream() {
    let site = Site::new();
    let mut peer = with_window(&site, 1 << 20);
    peer.get(1, "/large");
    peer.until(|(kind, ..)| *kind == DATA);
    peer.reset(1);
    peer.settles();
    peer.grant(0, 1 << 20);
    let mut seen = peer.asks(3, "/");
    seen.extend(peer.settles());
    assert!(
        !seen.iter().any(|(_, _, stream, _)| *stream == 1),
        "{seen:?}"
    );
}

#[test]
fn the_goodbye_after_an_error_names_the_last_request_that_was_taken() {
    let site = Site::new();
    let mut peer = site.open();
    peer.get(1, "/held");
    peer.get(5, "/held");
    peer.settles();
    peer.frame(WINDOW_UPDATE, 0, 0, &[0; 4]);
    let goaway = peer.until(|(kind, ..)| *kind == GOAWAY).pop().unwrap();
    assert_eq!(goaway.3[..8], [0, 0, 0, 5, 0, 0, 0, 1]);
}

#[test]
fn a_block_that_is_thrown_away_is_decoded_all_the_same() {
    // A field that the table remembers, and its place there.
    const KEPT: &[u8] = b"\x40\x06x-kept\x011";
    const PLACE: &[u8] = &[0x80 | 62];
    let whole = |path: &str, rest: &[&[u8]]| [&head("GET", path)[..], &rest.concat()].concat();
    type Throw<'a> = (&'a str, &'a dyn Fn(&mut Peer));
    let thrown: [Throw<'_>; 4] = [
        ("malformed", &|peer| {
            let wrong = fields(&[("te", "gzip")]);
            peer.frame(HEADERS, END, 1, &whole("/never", &[&wrong, KEPT]));
        }),
        ("refused", &|peer| {
            for stream in [1, 3, 5, 7] {
                peer.get(stream, "/held");
            }
            peer.frame(HEADERS, END, 9, &whole("/never", &[KEPT]));
            peer.settles();
            for stream in [1, 3, 5, 7] {
                peer.reset(stream);
            }
        }),
        ("trailers of a stream that was reset", &|peer| {
            peer.post(1, "/never");
            peer.frame(HEADERS, END_HEADERS, 1, &fields(&[("a", "b")]));
            peer.frame(HEADERS, END, 1, KEPT);
        }),
        ("too long", &|peer| {
            // One byte here, and 135 more in the list of fields, each time that it is named.
            let long = [&[0x40, 1, b'x', 102][..], &[b'y'; 102]].concat();
            let list = [&long[..], &PLACE.repeat(1100), KEPT].concat();
            peer.frame(HEADERS, END, 1, &whole("/never", &[&list]));
            let head = peer.until(|(kind, ..)| *kind == HEADERS).pop().unwrap();
            assert_eq!(status(&head.3), b"431");
        }),
    ];
    for (why, throw) in thrown {
        let site = Site::new();
        let mut peer = site.open();
        throw(&mut peer);
        peer.settles();
        peer.frame(HEADERS, END, 11, &whole("/kept", &[PLACE]));
        peer.until(|(kind, _, stream, _)| (*kind, *stream) == (HEADERS, 11));
        let seen = site.origin.received();
        let kept = seen.iter().find(|seen| seen.target == "/kept").expect(why);
        assert_eq!(kept.header("x-kept"), "1", "{why}");
        assert!(!seen.iter().any(|seen| seen.target == "/never"), "{why}");
    }
}

#[test]
fn an_answer_has_no_field_of_the_connection_that_it_came_by() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Connection: close\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\nX-Own: 1\r\n\r\n\
                  2\r\nok\r\n0\r\n\r\n";
    let origin = Origin::new(move |_| Reply::RawClose(answer.as_bytes().to_vec()));
    let proxy = Proxy::to(&origin.url());
    let answer = h2(async {
        let (requests, _connection) = open(proxy.address()).await;
        ask(&requests, asks("GET", "/")).await.unwrap()
    });
    assert_eq!(answer.body, b"ok");
    let names: Vec<&str> = answer
        .headers
        .keys()
        .map(http::HeaderName::as_str)
        .collect();
    assert_eq!(names, ["x-own", "date"]);
}
