"""Good requests gone wrong, by a seed: bytes of heads and bodies, values of JSON.

MARK stands in every text that is made up here, so that a test can see where a client's words go.
"""
import copy
import json

MARK = "zqxmark"

# Texts of values, not values: Python would not write some of them.
HOSTILE = ["null", "true", "false", "0", "1", "-1", "2", "1.5", "-0.0", "1e5", "1e308", "1e400", "-1e400", "9223372036854775808", "18446744073709551616",
           "123456789012345678901234567890123456789", "0.00000000000000000000000000000000001", "NaN", "Infinity", "-Infinity", "01", "+1", "1.", ".5", "0x10",
           '""', f'"{MARK}"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83c\\udfbb"', '"\\x"', '"\n"', f'"{"a" * 3000}"', "'a'", "[]", "[[]]", "{}",
           f'{{"{MARK}": 1}}', '{"": {}}', "[null]", "[1, 2, 3]", '["a", "b", "c", "d", "e"]', "[" * 60 + "]" * 60, "[" * 5000, '{"a":' * 3000, "]", "}",
           ",", "",
           "[1,]", '{"a":1,}', '{"a" 1}', "// x", "/* x */ 1"]
# Bytes where text should be.
BYTES = [b"\xff", b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x00", b"\x1b", b"\xef\xbb\xbf", b"\xfe\xff",
         b"\\u", b"\\ud83c", b'"', b"\\"]
# What heads are broken with.
PARTS = [b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b":", b"\x00", b"\x7f", b"\xff", b"HTTP/1.1", b"HTTP/9.9", b"Transfer-Encoding: chunked\r\n",
         b"Content-Length: 0\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"Expect: 100-continue\r\n", b"Expect: 200-ok\r\n",
         b"Connection: close\r\n", b"Upgrade: h2c\r\n", b"Host: \r\n", b" folded\r\n", b"X: " + MARK.encode() + b"\r\n", b"%00", b"%", b"?", b"#",
         b"//", b"*",
         b"A" * 500]


class Mutator:
    def __init__(self, draw):
        self.draw = draw

    def bytes(self, data, parts):
        """A few cuts, doublings, swaps, flips and insertions."""
        data = bytearray(data)
        for _ in range(self.draw.choice((1, 1, 1, 2, 3, 6))):
            at, end = sorted(self.draw.randrange(len(data) + 1) for _ in range(2))
            end = min(end, at + self.draw.choice((1, 2, 8, 40)))
            kind = self.draw.randrange(6)
            if kind == 0:
                del data[at:end]
            elif kind == 1:
                data[at:at] = data[at:end]
            elif kind == 2 and at < len(data):
                data[at] ^= 1 << self.draw.randrange(8)
            elif kind == 3 and at < len(data):
                data[at] = self.draw.randrange(256)
            elif kind == 4:
                data[at:end] = self.draw.choice(parts)
            else:
                data[at:at] = self.draw.choice(parts)
        return bytes(data)

    def places(self, value, path=()):
        """The paths of all values within."""
        yield path
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            yield from self.places(inner, (*path, key))

    def json(self, value):
        """The text of a body like `value`, with one place or a few of it hostile, missing, doubled or exchanged."""
        value, hole = copy.deepcopy(value), {}
        for _ in range(self.draw.choice((1, 1, 2, 3))):
            paths = [p for p in self.places(value) if p]
            if not paths:
                break
            *way, last = self.draw.choice(paths)
            holder = value
            for key in way:
                holder = holder[key]
            kind = self.draw.randrange(8)
            if kind == 0:
                del holder[last]
            elif kind == 1:
                holder[last] = copy.deepcopy(value)
            elif kind == 2 and isinstance(holder, dict):
                holder[self.draw.choice((MARK, "", "\u0000", "a" * 300))] = holder.pop(last)
            else:
                name = f"@{len(hole)}@"
                hole[name], holder[last] = self.draw.choice(HOSTILE), name
        text = json.dumps(value)
        for name, hostile in hole.items():
            text = text.replace(f'"{name}"', hostile)
        if self.draw.random() < 0.1:  # a key twice
            text = text.replace("{", '{"model": "hermes", "n": 1, ', 1)
        data = text.encode()
        if self.draw.random() < 0.15:
            data = self.bytes(data, BYTES)
        if self.draw.random() < 0.05:
            data = data[:self.draw.randrange(len(data) + 1)]
        return data
