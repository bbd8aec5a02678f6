//! A client that sends exactly the bytes it is given and reads exactly one answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{DEADLINE, End};

/// One connection, kept alive between requests: in clear, or of another kind.
#[derive(Debug)]
pub(crate) struct Client<S = TcpStream> {
    stream: BufReader<S>,
}

/// One whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Names in lower case, in the order received.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The first value of a header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let of_name = self.headers.iter().filter(|(known, _)| known == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).expect("the proxy accepts connections"))
    }

    pub(crate) fn on(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream)
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// The other end of the connection, as the kernel knows it.
    pub(crate) fn far_end(&self) -> End {
        let stream = self.stream();
        let peer = stream.local_addr().expect("an address");
        End::new(stream.peer_addr().expect("an address"), peer)
    }

    /// The connection alone; what was read ahead must have been asked for.
    pub(crate) fn into_stream(self) -> TcpStream {
        assert_eq!(self.stream.buffer(), b"", "bytes that nobody looked at");
        self.stream.into_inner()
    }
}

impl<S: Read + Write> Client<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream.into_inner()
    }

    pub(crate) fn inner(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("the request is taken");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// GET on this connection; `host` and `path` go out as they are.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> Response {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        self.response()
    }

    pub(crate) fn response(&mut self) -> Response {
        self.try_response(false).expect("a whole answer")
    }

    /// The answer to a HEAD request.
    pub(crate) fn head_response(&mut self) -> Response {
        self.try_response(true).expect("a whole head")
    }

    /// An answer with its body, or what was wrong with either.
    pub(crate) fn try_response(&mut self, bodiless: bool) -> std::io::Result<Response> {
        let mut response = self.try_head()?;
        if !bodiless && !matches!(response.status, 100..=199 | 204 | 304) {
            response.body = self.body(&response)?;
        }
        Ok(response)
    }

    /// Status line and headers only.
    pub(crate) fn try_head(&mut self) -> std::io::Result<Response> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(Response {
                    status,
                    headers,
                    body: Vec::new(),
                });
            }
            let (name, value) = line
                .split_once(':')
                .ok_or(std::io::ErrorKind::InvalidData)?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// One line without its end; an error if the connection ended first.
    pub(crate) fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        line.pop_if(|byte| *byte == b'\r');
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn body(&mut self, response: &Response) -> std::io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if response.header("transfer-encoding").contains("chunked") {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    break;
                }
                body.extend(chunk);
            }
        } else if let Ok(length) = response.header("content-length").parse() {
            self.take(length, &mut body)?;
        } else {
            self.stream.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    /// One chunk of a body; empty for the last, whose trailers are skipped.
    pub(crate) fn chunk(&mut self) -> std::io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        let size = self.chunk_size()?;
        if size == 0 {
            while !self.line()?.is_empty() {}
        } else {
            self.take(size, &mut chunk)?;
            self.line()?;
        }
        Ok(chunk)
    }

    fn chunk_size(&mut self) -> std::io::Result<usize> {
        let line = self.line()?;
        usize::from_str_radix(&line, 16).map_err(|_| std::io::ErrorKind::InvalidData.into())
    }

    /// The next bytes, as many as that.
    pub(crate) fn bytes(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(length, &mut bytes).map(|()| bytes)
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> std::io::Result<()> {
        let before = body.len();
        body.resize(before + length, 0);
        self.stream.read_exact(&mut body[before..])
    }

    /// Reads until the other side closes; an error if it does not, or resets.
    pub(crate) fn until_closed(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).map(|_| rest)
    }
}

/// GET on a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> Response {
    request(address, "GET", path, &[], "")
}

/// A request on a connection of its own.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        bytes.push_str("Host: test\r\n");
    }
    for (name, value) in headers {
        bytes.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    bytes.push_str("Connection: close\r\n\r\n");
    bytes.push_str(body);
    let mut client = Client::connect(address);
    client.send(bytes);
    client
        .try_response(method == "HEAD")
        .expect("a whole answer")
}
