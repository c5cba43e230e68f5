"""HTTP by hand, for tests that look at bytes: what a library would forgive, or would not send."""
import json
import socket


def request(path, body=None, method=None, fields=(), version="1.1"):
    """The bytes of a request."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"{method or ('GET' if body is None else 'POST')} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


class Answers:
    """The answers of one connection, one by one, each byte accounted for."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        """Are there more bytes? They are in self.bytes."""
        part = self.socket.recv(1 << 16)
        self.bytes += part
        return bool(part)

    def until(self, mark):
        while mark not in self.bytes:
            if not self.more():
                raise EOFError(f"the connection ended before {mark!r}; there was {self.bytes[:300]!r}")
        part, self.bytes = self.bytes.split(mark, 1)
        return part

    def exactly(self, size):
        while len(self.bytes) < size:
            if not self.more():
                raise EOFError(f"the connection ended {size - len(self.bytes)} bytes early")
        part, self.bytes = self.bytes[:size], self.bytes[size:]
        return part

    def rest(self):
        """What comes until the other side closes."""
        while self.more():
            pass
        part, self.bytes = self.bytes, b""
        return part

    def head(self):
        """(status, fields by small names); a name that comes twice is a mistake"""
        line, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = line.split(" ", 2)
        if version not in ("HTTP/1.1", "HTTP/1.0") or len(status) != 3 or not reason:
            raise ValueError(f"not a status line: {line!r}")
        fields = {}
        for name, value in (f.split(": ", 1) for f in lines):
            if name.lower() in fields:
                raise ValueError(f"{name} comes twice")
            fields[name.lower()] = value
        return int(status), fields

    def pieces(self):
        """The chunks of a chunked body."""
        while True:
            size = int(self.until(b"\r\n"), 16)
            piece = self.exactly(size)
            if self.exactly(2) != b"\r\n":
                raise ValueError("a chunk does not end where it says")
            if size == 0:
                return
            yield piece

    def answer(self):
        """(status, fields, body)"""
        status, fields = self.head()
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, b"".join(self.pieces())
        if "content-length" in fields:
            return status, fields, self.exactly(int(fields["content-length"]))
        return status, fields, b"" if status == 100 else self.rest()


def ask(port, data, timeout=60):
    """One request's bytes, one answer."""
    with Answers(port, timeout) as connection:
        connection.send(data)
        return connection.answer()


def events(body):
    """The values of a body of server-sent events; exactly "data: VALUE", an empty line, and [DONE] at the end."""
    parts = body.decode("utf-8").split("\n\n")
    if parts.pop() != "":
        raise ValueError(f"the last event has no end: {body[-80:]!r}")
    for part in parts:
        if not part.startswith("data: ") or "\n" in part or "\r" in part:
            raise ValueError(f"not one line of data: {part!r}")
    if parts[-1] != "data: [DONE]":
        raise ValueError(f"the last event is {parts[-1]!r}")
    return [json.loads(part[len("data: "):]) for part in parts[:-1]]
