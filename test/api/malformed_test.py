"""Nothing that a client sends brings anything but a 4xx in OpenAI's form, or an answer where it was still good; the server goes on.

    malformed_test.py PROGRAM [--seed N] [CASE…]

Every case ends with a good request that is answered, books at zero, and no word of a client in the log.
"""
import asyncio
import json
import random
import re
import socket
import struct
import sys
import time

from malformed_requests import BODY, CHUNKED, GOOD, HEADS, LENGTH, TWO_READINGS, WRONG_CHAT, WRONG_COMPLETION, chunks, post
from mutations import BYTES, HOSTILE, MARK, PARTS, Mutator
from raw_http import Answers, ask, request
from serving import CHAT, COMPLETIONS, WEATHER, at_once, at_rest, call, check, choice, equal, main, scripted, user

def alive(server, script):
    equal(choice(server.answer(CHAT, {"messages": user("[hello]")}))["message"]["content"], script.says("hello")[0])
    at_rest(server)
    log = "".join(server.log)
    check(MARK not in log, f"a client's words are in the log: {log[max(0, log.find(MARK) - 200):][:400]!r}")


def error_of(status, body, sent):
    """Checks that an answer is a 4xx with an error's body."""
    check(400 <= status < 500, f"{status} to {sent[:300]!r}: {body[:300]!r}")
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        raise AssertionError(f"{status} to {sent[:300]!r} has no error in it: {body[:300]!r}") from None
    equal(set(error), {"message", "type", "param", "code"}, sent[:300])
    return error


def wrong_fields_are_named(server, script):
    """each wrong value of each field is a 400 that names the field"""
    silent = []
    with Answers(server.port) as connection:
        for path, base, table in ((CHAT, {"messages": user("[hello]"), "max_tokens": 3}, WRONG_CHAT),
                                  (COMPLETIONS, {"prompt": "[hello]", "max_tokens": 3}, WRONG_COMPLETION)):
            for field, values in table.items():
                for value in values:
                    others = {"logprobs": True} if field == "top_logprobs" else {"tools": [WEATHER]} if field == "tool_choice" else {}
                    body = json.dumps({**base, **others, field: "@"}).replace('"@"', value).encode()
                    connection.send(request(path, body))
                    status, _, text = connection.answer()
                    if status == 200:
                        silent.append(f"{path.rsplit('/', 1)[1]} {field}: {value}")
                        continue
                    error = error_of(status, text, body)
                    equal(status, 400, body)
                    check((error["param"] or "").startswith(field) or field in error["message"], f"{body!r}: {error} does not name {field}")
    check(not silent, f"{len(silent)} wrong values were taken: " + "; ".join(silent))
    alive(server, script)


def bodies_are_read_with_care(server, script):
    """bodies that are no JSON, no UTF-8, no object, too deep, cut short, or said to be something else"""
    good = json.dumps({"messages": user("[hello]")}).encode()
    bodies = [b"", b" ", b"null", b"5", b'"a"', b"[]", b"[" * 100000, b'{"a":' * 100000, good[:-1], good + b"x", good + good,
              b"\xef\xbb\xbf" + good[:-2], b"\x00" * 100,
              *(good.replace(b"[hello]", b"[hel" + part + b"lo]") for part in BYTES if part not in (b"\x00", b"\xef\xbb\xbf", b"\x1b")),
              b'{"messages": [{"role": "user", "content": "\xed\xa0\x80"}]}', b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
              *(h.encode() for h in HOSTILE if h not in ("{}",))]
    for path in GOOD:
        for body in bodies:
            status, _, text = ask(server.port, request(path, body))
            error_of(status, text, body)
    for kind in (None, "text/plain", "application/x-www-form-urlencoded",
                 "application/json; charset=utf-16"):  # the type is not asked for: a good body is good
        fields = [] if kind is None else [("Content-Type", kind)]
        data = request(CHAT, good, fields=fields)
        status, _, text = ask(server.port, data)
        check(status == 200 or 400 <= status < 500 and error_of(status, text, data), (kind, status))
    alive(server, script)


def mutated_json(server, script):
    """thousands of good bodies with a few places gone wrong: 200 where they are still good, else 4xx; on kept connections"""
    mutator, seen = Mutator(random.Random(SEED)), {}
    jobs = [[(path, mutator.json(GOOD[path])) for _ in range(400) for path in (CHAT, CHAT, COMPLETIONS, "/tokenize", "/detokenize")] for _ in range(4)]

    def work(job):
        connection = Answers(server.port)
        for path, body in job:
            connection.send(request(path, body))
            status, fields, text = connection.answer()
            seen[status] = seen.get(status, 0) + 1
            if status != 200:
                error_of(status, text, body)
            if fields.get("connection") == "close":
                connection.socket.close()
                connection = Answers(server.port)
        connection.socket.close()
    for outcome in at_once([lambda job=job: work(job) for job in jobs]):
        if isinstance(outcome, Exception):
            raise outcome
    print(f"  {sum(seen.values())} bodies: {dict(sorted(seen.items()))}")
    check(seen.get(400, 0) > 1000 and seen.get(200, 0) > 50, f"mutations that prove little: {seen}")
    alive(server, script)


def heads_are_read_with_care(server, script):
    """heads and chunks of every broken shape, and those that two servers would read in two ways: one answer, 4xx, and no second one"""
    for data in TWO_READINGS + CHUNKED + HEADS:
        with Answers(server.port, timeout=15) as connection:
            try:
                connection.send(data)
                status, fields, body = connection.answer()
            except (EOFError, OSError) as e:
                raise AssertionError(f"no answer to {data[:200]!r}: {e!r}") from None
            error_of(status, body, data)
            if data in TWO_READINGS or data in CHUNKED[:-1]:
                equal(fields.get("connection"), "close", data[:200])
                try:
                    rest = connection.rest()
                except OSError:
                    rest = b""
                equal(rest, b"", f"a second answer to {data[:200]!r}")
    alive(server, script)


async def exchange(port, data, filler=b"\r\n\r\n" + b"x" * 40000):
    """The first answer to these bytes, (status, body), or None; where none comes, more bytes are sent, so that a request that was not whole ends in some way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    back = b""
    try:
        writer.write(data)
        for patience in (0.3, 10):
            try:
                part = await asyncio.wait_for(reader.read(1 << 16), patience)
            except asyncio.TimeoutError:
                writer.write(filler)
                continue
            back += part
            while part and first_of(back) is None:
                part = await asyncio.wait_for(reader.read(1 << 16), 10)
                back += part
            return first_of(back)
        return None
    except (ConnectionError, asyncio.TimeoutError):
        return first_of(back)
    finally:
        writer.transport.abort()


def first_of(back):
    """(status, body) of the first answer in these bytes, once it is whole; "100 Continue" is none."""
    head, mark, body = back.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return first_of(body)
    length = [int(line.split()[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
    if not mark or length and len(body) < length[0]:
        return None
    return int(head.split(b" ", 2)[1]), body[:length[0]] if length else body


def mutated_heads(server, script):
    """thousands of good requests with bytes changed, cut, doubled and put in: each gets an answer, 4xx or that of a request that was still good"""
    mutator, seen = Mutator(random.Random(SEED + 1)), {}
    good = [request("/v1/models"), request(CHAT, {"messages": user("[hello]"), "max_tokens": 1}), request("/tokenize", {"prompt": "x"}, fields=[("X-A", MARK)]),
            post(LENGTH + b"Connection: keep-alive\r\nAccept: */*\r\n"), chunks(BODY[:10], BODY[10:]), request("/health") + request("/v1/models")]
    sent = [mutator.bytes(mutator.draw.choice(good), PARTS) for _ in range(5000)]

    async def all_of_them():
        gate = asyncio.Semaphore(100)

        async def one(data):
            async with gate:
                return await exchange(server.port, data)
        return await asyncio.gather(*(one(data) for data in sent))
    for data, back in zip(sent, asyncio.run(all_of_them())):
        if back is None:
            seen["none"] = seen.get("none", 0) + 1
            lengths = re.findall(rb"content-length: *(\d+)", data.lower())
            check(any(int(n) > 30000 for n in lengths) or not data.strip(b"\r\n"), f"no answer to {data!r}")
            continue
        status, body = back
        seen[status] = seen.get(status, 0) + 1
        check(status == 200 or 400 <= status < 500, f"{status} to {data!r}")
        if status != 200 and body:
            error_of(status, body, data)
    print(f"  {len(sent)} requests: {seen}")
    check(seen.get(400, 0) > 500 and seen.get(200, 0) > 100, f"mutations that prove little: {seen}")
    alive(server, script)


def abandoned_requests_hold_nothing(server, script):
    """clients that leave in mid-head, mid-body, mid-answer, with and without a reset"""
    long = request(CHAT, {"messages": user("[words]"), "max_tokens": 3000, "stream": True})
    for i in range(60):
        c = socket.create_connection(("127.0.0.1", server.port))
        c.sendall((long[:20], long[:-10], long, long)[i % 4])
        if i % 4 == 3:
            c.recv(100)
        if i % 8 < 4:
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    alive(server, script)


def slow_clients_are_let_go(server, script):
    """a head that comes byte by byte, and one that stops, end with 408 in their time"""
    def drip(every):
        with Answers(server.port, timeout=30) as connection:
            begun = time.monotonic()
            connection.send(b"POST /v1/chat/")
            connection.socket.settimeout(every)
            for _ in range(int(30 / every)):
                try:
                    if not connection.more():
                        break
                except TimeoutError:
                    if b"\r\n\r\n" in connection.bytes:
                        break
                    try:
                        connection.send(b"x")
                    except OSError:
                        break
            check(connection.bytes, "no answer")
            status, _, body = connection.answer()
            equal(status, 408)
            error_of(status, body, b"slow head")
            return time.monotonic() - begun
    for outcome in at_once([lambda: drip(0.5), lambda: drip(40 / 3)]):
        if isinstance(outcome, Exception):
            raise outcome
        check(outcome < 20, outcome)
    alive(server, script)


def patience(program):
    """The flag that makes the server less patient with heads, if it has one."""
    said = call(program, "serve", "--help")[1]
    return ["--header-timeout", "3"] if "--header-timeout" in said else []


CASES = [wrong_fields_are_named, bodies_are_read_with_care, mutated_json, heads_are_read_with_care, mutated_heads, abandoned_requests_hold_nothing, slow_clients_are_let_go]

if __name__ == "__main__":
    names = sys.argv[2:]
    SEED = int(names.pop(names.index("--seed") + 1)) if "--seed" in names else 1
    names = [n for n in names if n != "--seed"]
    print(f"seed {SEED}")
    with scripted(sys.argv[1], "hermes", *patience(sys.argv[1])) as (served, model):
        main(CASES, served, model, only=names)
