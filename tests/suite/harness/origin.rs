//! An origin that answers as a closure says and remembers what it was asked.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// The request-target, byte for byte.
    pub(crate) target: String,
    /// Names in lower case, in the order received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Received {
    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.headers.iter().filter(|(known, _)| known == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The first value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.all(name).first().copied().unwrap_or_default()
    }
}

/// What to do with a request.
pub(crate) enum Reply {
    /// Status, headers and body, framed by Content-Length.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// These bytes, then keep the connection.
    Raw(Vec<u8>),
    /// These bytes, then close.
    RawClose(Vec<u8>),
    /// The closure takes the connection over.
    Take(Box<dyn FnOnce(TcpStream) + Send>),
}

impl Reply {
    pub(crate) fn text(body: impl Into<String>) -> Self {
        Self::Whole(200, Vec::new(), body.into().into_bytes())
    }
}

/// Serves until the test process ends.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    pub(crate) fn new(answer: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        // The error is the proxy's closing of the connection.
        Self::listen(move |origin, stream| drop(origin.serve(stream, &answer)))
    }

    /// Hands each connection to the closure as it was accepted, nothing read.
    pub(crate) fn raw(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::listen(move |_, stream| serve(stream))
    }

    fn listen(serve: impl Fn(&Self, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port for an origin");
        let address = listener.local_addr().expect("the origin's address");
        let origin = Self {
            address,
            received: Arc::default(),
            connections: Arc::default(),
        };
        let (accepted, serve) = (origin.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                accepted.connections.fetch_add(1, Ordering::Relaxed);
                let (origin, serve) = (accepted.clone(), Arc::clone(&serve));
                thread::spawn(move || serve(&origin, stream));
            }
        });
        origin
    }

    /// Answers everything with its name, in the body and in `x-origin`.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |_| {
            Reply::Whole(
                200,
                vec![("x-origin", name.to_owned())],
                name.as_bytes().to_vec(),
            )
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("the origin's memory").clone()
    }

    /// The request before.
    pub(crate) fn last(&self) -> Received {
        self.received().pop().expect("the origin was asked")
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn serve(&self, stream: TcpStream, answer: &dyn Fn(&Received) -> Reply) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        while let Some(received) = read_request(&mut stream)? {
            self.received
                .lock()
                .expect("the origin's memory")
                .push(received.clone());
            match answer(&received) {
                Reply::Whole(status, headers, body) => {
                    let mut head = format!("HTTP/1.1 {status} Answer\r\n");
                    for (name, value) in headers {
                        head.push_str(&format!("{name}: {value}\r\n"));
                    }
                    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
                    let body = if received.method == "HEAD" {
                        Vec::new()
                    } else {
                        body
                    };
                    stream
                        .get_mut()
                        .write_all(&[head.into_bytes(), body].concat())?;
                }
                Reply::Raw(bytes) => stream.get_mut().write_all(&bytes)?,
                Reply::RawClose(bytes) => return stream.get_mut().write_all(&bytes),
                Reply::Take(take) => {
                    take(stream.into_inner());
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Received>> {
    let Some(line) = read_line(stream)? else {
        return Ok(None);
    };
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut headers = Vec::new();
    while let Some(line) = read_line(stream)?.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut received = Received {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    if received.header("transfer-encoding") == "chunked" {
        read_chunks(stream, &mut received.body)?;
    } else if let Ok(length) = received.header("content-length").parse::<usize>() {
        received.body.resize(length, 0);
        stream.read_exact(&mut received.body)?;
    }
    Ok(Some(received))
}

fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = usize::from_str_radix(&line, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let before = body.len();
        body.resize(before + size, 0);
        stream.read_exact(&mut body[before..])?;
        if size == 0 {
            while read_line(stream)?.is_some_and(|line| !line.is_empty()) {}
            return Ok(());
        }
        read_line(stream)?;
    }
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.read_line(&mut line)?;
    Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}
