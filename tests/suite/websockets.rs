//! WebSockets frame by frame, as the Autobahn suite tries them: whatever the ends may say to each
//! other passes as it is, while other routes come and go.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::{
    Backend, Client, DEADLINE, Frames, Lasting, Origin, Proxy, Reply, Socket, is_close,
};

const LARGE: usize = 16 * 1024 * 1024;
/// Of RFC 6455 section 7.4 and its registry, and the first and last that applications may use.
const CODES: [u16; 17] = [
    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999, 4000,
    4999,
];

fn text(payload: impl Into<Vec<u8>>, last: bool) -> Frame {
    Frame::message(payload.into(), OpCode::Data(Data::Text), last)
}

fn binary(payload: impl Into<Vec<u8>>, last: bool) -> Frame {
    Frame::message(payload.into(), OpCode::Data(Data::Binary), last)
}

fn more(payload: impl Into<Vec<u8>>, last: bool) -> Frame {
    Frame::message(payload.into(), OpCode::Data(Data::Continue), last)
}

fn ping(payload: &'static [u8]) -> Frame {
    Frame::ping(payload)
}

/// A message in fragments of that size.
fn cut(whole: &[u8], size: usize, first: impl Fn(Vec<u8>, bool) -> Frame) -> Vec<Frame> {
    let last = whole.len().div_ceil(size) - 1;
    let pieces = whole.chunks(size).enumerate();
    let frame = |(at, piece): (usize, &[u8])| match at {
        0 => first(piece.to_vec(), at == last),
        _ => more(piece, at == last),
    };
    pieces.map(frame).collect()
}

/// Messages, each as the frames that it is sent in. What they hold goes together to one message.
fn messages() -> Vec<Vec<Frame>> {
    let mut messages: Vec<Vec<Frame>> = [0, 1, 125, 126, 127, 128, 65535, 65536]
        .into_iter()
        .flat_map(|length| {
            [
                vec![text("*".repeat(length), true)],
                vec![binary(vec![0xfe; length], true)],
            ]
        })
        .collect();
    let words = "Hello-µ@ßöäüàá-κόσμε-😀-UTF-8!!".repeat(3);
    for size in [1, 2, 3, 7, 50] {
        messages.push(cut(words.as_bytes(), size, text));
    }
    messages.push(cut(&[0xff; 5000], 5, binary));
    messages.extend([
        vec![text("", false), more("", false), more("", true)],
        vec![text("", false), more("middle", false), more("", true)],
        vec![
            text("one", false),
            ping(b""),
            more("two", false),
            ping(&[7; 125]),
            more("", true),
        ],
        vec![ping(b"alone"), ping(b"and again"), binary("x", true)],
        vec![Frame::pong(&b"unasked"[..]), text("y", true)],
    ]);
    messages
}

fn payload(frames: &[Frame]) -> Vec<u8> {
    let data = frames.iter().filter(|frame| is_data(frame));
    data.flat_map(|frame| frame.payload().to_vec()).collect()
}

fn is_data(frame: &Frame) -> bool {
    matches!(frame.header().opcode, OpCode::Data(_))
}

#[test]
fn frames_pass_as_they_are_however_a_message_is_cut() {
    let mirror = Frames::mirror();
    let (lasting, proxy) = Lasting::to(&[("mirror", &mirror.url())]);
    let mut client = Frames::open(proxy.address(), "/mirror/socket");
    let mut sizes = [1, 2, 5, 1000, usize::MAX].into_iter().cycle();
    lasting.through_reloads(&proxy, || {
        for mut frame in messages().into_iter().flatten() {
            // A bit that only an extension gives a meaning to.
            frame.header_mut().rsv1 = is_data(&frame) && frame.payload().len() == 7;
            let size = sizes.next().unwrap().max(frame.payload().len() / 100);
            client.send_in_pieces(frame.clone(), size);
            assert_eq!(client.read(), Some(frame));
        }
    });
}

#[test]
fn a_library_on_the_other_side_puts_the_fragments_together_and_answers_pings_between_them() {
    let backend = Backend::new("one");
    let (lasting, proxy) = Lasting::to(&[("library", &backend.url())]);
    let mut client = Frames::open(proxy.address(), "/library/socket");
    lasting.through_reloads(&proxy, || {
        for frames in messages() {
            let (mut pings, payload) = (Vec::new(), payload(&frames));
            for frame in frames {
                if frame.header().opcode == ping(b"").header().opcode {
                    pings.push(frame.payload().to_vec());
                }
                client.send(frame);
            }
            let mut pongs = Vec::new();
            let whole = loop {
                let frame = client.read().unwrap();
                if is_data(&frame) {
                    break frame;
                }
                pongs.push(frame.payload().to_vec());
            };
            assert!(whole.header().is_final && whole.payload() == payload);
            // One answer to the last of several pings is enough (section 5.5.3).
            assert_eq!(pongs.last(), pings.last());
        }
    });
}

#[test]
fn messages_of_sixteen_mebibytes_pass_in_one_frame_and_in_many() {
    let (mirror, backend) = (Frames::mirror(), Backend::new("one"));
    let (lasting, proxy) = Lasting::to(&[("mirror", &mirror.url()), ("library", &backend.url())]);
    let mut library = Socket::open(proxy.address(), "/library/socket");
    let mut client = Frames::open(proxy.address(), "/mirror/socket");
    let mut reader = client.reader();
    let large: Vec<u8> = (0..LARGE as u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let whole = Message::binary(large.clone());
    lasting.through_reloads(&proxy, || {
        assert!(
            library.exchange(whole.clone()) == whole,
            "another message came back"
        );
        for size in [LARGE, 64 * 1024, 1000] {
            let frames = cut(&large, size, binary);
            thread::scope(|scope| {
                scope.spawn(|| frames.iter().for_each(|frame| client.send(frame.clone())));
                for frame in &frames {
                    assert!(
                        reader.read().as_ref() == Some(frame),
                        "another frame came back"
                    );
                }
            });
        }
    });
}

/// The payload of a close: nothing, or a code and perhaps a reason.
fn closes() -> Vec<Vec<u8>> {
    let reason = |code: u16, reason: &str| [&code.to_be_bytes(), reason.as_bytes()].concat();
    let mut closes = vec![
        Vec::new(),
        reason(1000, &"é".repeat(61)),
        reason(4321, "see you"),
    ];
    closes.extend(CODES.map(|code| reason(code, "")));
    closes
}

fn close(payload: &[u8]) -> Frame {
    let header = Frame::close(None).header().clone();
    Frame::from_payload(header, payload.to_vec().into())
}

#[test]
fn every_close_code_arrives_whoever_says_it_first() {
    let mirror = Frames::mirror();
    // Says the close that it is given as a message, and ends with the answer to it.
    let first = Frames::origin(|mut frames, _| {
        let payload = frames.read().unwrap().into_payload();
        frames.send(close(&payload));
        let answer = frames.read().unwrap();
        if answer != close(&payload) {
            frames.send(text("another answer arrived", true));
        }
    });
    let (lasting, proxy) = Lasting::to(&[("mirror", &mirror.url()), ("first", &first.url())]);
    let mut closes = closes().into_iter().cycle();
    lasting.through_reloads(&proxy, || {
        let payload = closes.next().unwrap();
        let mut client = Frames::open(proxy.address(), "/mirror/socket");
        client.send(close(&payload));
        assert_eq!(client.read(), Some(close(&payload)));
        assert_eq!(client.read(), None);
        let mut client = Frames::open(proxy.address(), "/first/socket");
        client.send(binary(payload.clone(), true));
        assert_eq!(client.read(), Some(close(&payload)));
        client.send(close(&payload));
        assert_eq!(client.read(), None);
    });
    proxy.counts("pointsman_tunnels", &[], 0.0);
}

#[test]
fn a_drain_lets_ends_that_part_already_do_so_with_their_own_code() {
    let (heard, hears) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let late = Frames::origin(move |mut frames, _| {
        let goodbye = frames.read().unwrap();
        heard.send(is_close(&goodbye)).unwrap();
        released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        frames.send(goodbye);
    });
    let (_, proxy) = Lasting::to(&[("late", &late.url())]);
    let mut client = Frames::open(proxy.address(), "/late/socket");
    let goodbye = close(&4001_u16.to_be_bytes());
    client.send(goodbye.clone());
    assert!(hears.recv_timeout(DEADLINE).unwrap());
    Lasting::remove_all(&proxy);
    release.send(()).unwrap();
    assert_eq!(client.read(), Some(goodbye));
    assert_eq!(client.read(), None);
}

#[test]
fn a_drain_lets_a_large_frame_arrive_whole_before_the_goodbye() {
    let (begun, begins) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let large = vec![b'*'; LARGE];
    let origin = Frames::origin(move |mut frames, _| {
        frames.send_in_halves(binary(vec![b'*'; LARGE], true), || {
            begun.send(()).unwrap();
            released.lock().unwrap().recv_timeout(DEADLINE).unwrap();
        });
        // The goodbye to the upstream.
        frames.read();
    });
    let (_, proxy) = Lasting::to(&[("all", &origin.url())]);
    let mut client = Frames::open(proxy.address(), "/all/socket");
    let reader = thread::spawn(move || [client.read(), client.read()]);
    begins.recv_timeout(DEADLINE).unwrap();
    Lasting::remove_all(&proxy);
    release.send(()).unwrap();
    let [whole, goodbye] = reader.join().unwrap();
    assert!(
        whole == Some(binary(large, true)),
        "a part of the frame came"
    );
    assert_eq!(goodbye, Some(close(&1001_u16.to_be_bytes())));
}

#[test]
fn subprotocols_and_extensions_pass_untouched_both_ways() {
    const OFFERED: [(&str, &str); 6] = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "chat, superchat"),
        ("sec-websocket-protocol", "v2.Chat"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits, x-own;a=\"b\"",
        ),
        ("origin", "http://example.com"),
    ];
    const CHOSEN: [(&str, &str); 3] = [
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "v2.Chat"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; server_no_context_takeover",
        ),
    ];
    let lines = |fields: &[(&str, &str)]| {
        let lines = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        lines.collect::<String>()
    };
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let agreed = format!("HTTP/1.1 101 Yes\r\n{upgrade}{}\r\n", lines(&CHOSEN));
    let origin = Origin::new(move |_| Reply::RawClose(agreed.clone().into_bytes()));
    let proxy = Proxy::to(&origin.url());
    let mut client = Client::connect(proxy.address());
    client.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{upgrade}{}\r\n",
        lines(&OFFERED)
    ));
    let answer = client.try_head().unwrap();
    // Fields of the same name keep their order; of others it means nothing.
    let sorted = |mut fields: Vec<(String, String)>| {
        fields.sort_by(|one, two| one.0.cmp(&two.0));
        fields
    };
    let of = |fields: &[(String, String)]| -> Vec<(String, String)> {
        let ours = |name: &str| name.starts_with("sec-websocket-") || name == "origin";
        fields
            .iter()
            .filter(|(name, _)| ours(name))
            .cloned()
            .collect()
    };
    let plain = |fields: &[(&str, &str)]| -> Vec<(String, String)> {
        fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    for (fields, expected) in [
        (of(&answer.headers), plain(&CHOSEN)),
        (of(&origin.last().headers), plain(&OFFERED)),
    ] {
        assert_eq!(sorted(fields), sorted(expected));
    }
}
