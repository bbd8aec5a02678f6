"""A client and an origin that send and keep exact bytes, and a plain reading of them."""

import contextlib
import socket
import threading
import time

# Nothing more is expected when nothing came for so long.
IDLE = 0.4


class Origin:
    """Keeps what each connection brought; answers each request by the script of the case."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.script(b"")
        threading.Thread(target=self.accept, daemon=True).start()

    def script(self, answer):
        self.answer = answer or b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.connections = []

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        seen, kept, answered = bytearray(), None, 0
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                if kept is not self.connections:  # another case: what came before is not its own
                    kept, seen, answered = self.connections, bytearray(), 0
                    kept.append(seen)
                seen += data
                while answered < len(messages(seen)[0]):
                    answered += 1
                    connection.sendall(self.answer)
                    if b"chunked" not in self.answer and b"ength:" not in self.answer:
                        return

    def received(self):
        """Every request of the case, and bytes that are no whole one."""
        read = [messages(seen) for seen in self.connections]
        return [one for whole, _ in read for one in whole], [left for _, left in read if left]


def exchange(port, parts):
    """What came back, and whether the proxy closed: `closed`, `kept`.

    Gives what is still under way to the origin the time to get there.
    """
    try:
        return talk(port, parts)
    finally:
        time.sleep(IDLE)


def talk(port, parts):
    back = bytearray()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(IDLE)
        for part in parts:
            try:
                client.sendall(part)
            except OSError:
                pass  # refused and closed before it had all
            try:
                while data := client.recv(65536):
                    back += data
                return bytes(back), "closed"
            except TimeoutError:
                continue
            except ConnectionError:
                return bytes(back), "closed"
    return bytes(back), "kept"


def messages(data, bodiless=False, to_the_end=False):
    """Split into (first line, [(name, value)], body); and what is left over."""
    read, data = [], bytes(data)
    while b"\r\n\r\n" in data:
        head, rest = data.split(b"\r\n\r\n", 1)
        line, *fields = head.split(b"\r\n")
        fields = [(name.lower().decode("latin-1"), value.strip(b" \t").decode("latin-1"))
                  for name, _, value in (field.partition(b":") for field in fields)]
        body = take_body(line, dict(fields), rest, bodiless, to_the_end)
        if body is None:
            break
        size, content = body
        read.append((line.decode("latin-1"), fields, content.decode("latin-1")))
        data = rest[size:]
    return read, data


def take_body(line, fields, rest, bodiless, to_the_end):
    status = line.split(b" ")[1] if line.startswith(b"HTTP/") else b""
    if bodiless or status[:1] == b"1" or status in (b"204", b"304"):
        return 0, b""
    if "transfer-encoding" in fields:
        return take_chunks(rest)
    if "content-length" in fields:
        length = fields["content-length"]
        size = int(length) if length.isdigit() else 0
        return (size, rest[:size]) if len(rest) >= size else None
    return (len(rest), rest) if status and to_the_end else (0, b"")


def take_chunks(rest):
    at, content = 0, b""
    while (end := rest.find(b"\r\n", at)) >= 0:
        try:
            size = int(rest[at:end].split(b";")[0], 16)
        except ValueError:
            return None
        if size == 0:
            if rest.startswith(b"\r\n", end + 2):
                return end + 4, content
            trailers = rest.find(b"\r\n\r\n", end)
            return None if trailers < 0 else (trailers + 4, content + rest[end:trailers])
        content += rest[end + 2:end + 2 + size]
        at = end + 2 + size + 2
    return None
