"""`quadrant loadgen` against `quadrant serve`, and against a server of another make that does as it is told.

    loadgen_test.py PROGRAM
"""
import asyncio
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from fake_openai import END, FakeServer, piece, usage
from quadrant import Server, call, check, free_port, main


def loadgen(program, url, *flags, folder=None, status=0, **env):
    """The JSON of a run; with a folder also the lines of its requests and the root of its picture."""
    files = ["--requests", Path(folder) / "requests", "--svg", Path(folder) / "svg"] if folder else []
    code, out, err = call(program, "loadgen", "--url", url, "--json", *flags, *files, **env)
    check(code == status, f"loadgen {flags}: exit {code}, {out} {err}")
    report = json.loads(out)
    if not folder:
        return report
    lines = [json.loads(line) for line in open(files[1])]
    picture = ElementTree.parse(files[3]).getroot()
    check(picture.tag == "{http://www.w3.org/2000/svg}svg", picture.tag)
    check(os.path.getsize(files[3]) < 60_000, os.path.getsize(files[3]))
    agree(report, lines)
    return report, lines, picture


def nearest_rank(values, percent):
    return sorted(values)[max(1, math.ceil(percent * len(values) / 100)) - 1]


def close(a, b):
    return abs(a - b) <= 1e-6 * max(1, abs(a), abs(b))


def agree(report, lines):
    """The report says what its requests say."""
    counts, latency = report["requests"], report["latency_ms"]
    sent = [r for r in lines if r["result"] != "not sent"]
    completed = [r for r in lines if r["result"] == "completed"]
    cancelled = [r for r in lines if r["result"] == "cancelled"]
    check(counts["planned"] == len(lines) and counts["sent"] == len(sent) and counts["completed"] == len(completed), counts)
    check(counts["failed"] == len(sent) - len(completed) - len(cancelled) == sum(f["count"] for f in report["failures"].values()), report)
    values = {"ttft": [r["ttft_ms"] for r in completed], "e2e": [r["e2e_ms"] for r in completed],
              "tpot": [r["tpot_ms"] for r in completed if r["tpot_ms"] is not None],
              "itl": [gap for r in completed for gap in r["itl_ms"]]}
    for name, list_ in values.items():
        of = latency[name]
        check(of["count"] == len(list_), (name, of))
        if list_:
            check(close(of["mean"], sum(list_) / len(list_)) and close(of["max"], max(list_)), (name, of))
            for p in (50, 90, 99):
                check(close(of[f"p{p}"], nearest_rank(list_, p)), (name, p, of))
    tokens = [r["chunks"] if r["completion_tokens"] is None else r["completion_tokens"] for r in completed]
    for r, n in zip(completed, tokens):
        check(0 <= r["ttft_ms"] <= r["e2e_ms"] and r["sent_ms"] >= r["scheduled_ms"], r)
        check(len(r["itl_ms"]) == max(0, r["chunks"] - 1) and sum(r["itl_ms"]) <= r["e2e_ms"] - r["ttft_ms"] + 0.1, r)
        check(r["tpot_ms"] is None if n < 2 else close(r["tpot_ms"], (r["e2e_ms"] - r["ttft_ms"]) / (n - 1)), r)
    check(report["tokens"]["output"] == sum(tokens), report["tokens"])
    check(close(report["throughput"]["requests_per_s"] * report["duration_s"], len(completed)), report["throughput"])
    check(close(report["throughput"]["output_tokens_per_s"] * report["duration_s"], sum(tokens)), report["throughput"])
    if report["goodput"]:
        limits = report["goodput"]["objectives"]
        good = [r for r in completed if all(r[name] is None or r[name] <= limit for name, limit in limits.items())]
        check(report["goodput"]["requests"] == len(good) == sum(r.get("good", False) for r in lines), report["goodput"])


def one_line(program, *flags, status, words):
    code, out, err = call(program, "loadgen", *flags)
    check(code == status and out == "" and len(err.splitlines()) == 1, (flags, code, out, err))
    for word in words:
        check(word in err, f"{flags}: no {word!r} in {err}")


def steady(first_s=0.0, gap_s=0.0, with_usage=True):
    """Answers of exactly max_tokens pieces."""
    async def answer(ask):
        n = ask.body["max_tokens"]
        await asyncio.sleep(first_s)
        await ask.begin()
        await ask.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for i in range(n):
            if i > 0:
                await asyncio.sleep(gap_s)
            await ask.event(piece(f"{i} "))
        await ask.event(END)
        if with_usage and ask.body["stream_options"]["include_usage"]:
            await ask.event(usage(FakeServer.count(ask), n))
        await ask.event("[DONE]")
        await ask.finish()
    return answer


# ---- quadrant serve ----------------------------------------------------------------------------------------------

def our_own_server(program):
    """against quadrant serve, poisson arrivals and both kinds of trace are measured, and the server's books balance afterwards"""
    with Server(program) as server, tempfile.TemporaryDirectory() as folder:
        url = f"http://127.0.0.1:{server.port}/v1"
        flags = ["--rate", 20, "--limit", 20, "--input-tokens", "20:60", "--output-tokens", "2:12", "--seed", 3,
                 "--slo", "ttft=1h", "--slo", "tpot=1h", "--slo", "e2e=1us"]
        report, lines, _ = loadgen(program, url, *flags, folder=folder)
        check(report["requests"]["completed"] == 20 and report["tokens"]["requests_with_usage"] == 20, report)
        check(report["goodput"]["requests"] == 0, report["goodput"])  # nobody answers in a microsecond
        check(report["settings"]["model"] == "default" and report["settings"]["seed"] == 3, report["settings"])
        check(all(r["completion_tokens"] == r["output_asked"] for r in lines), lines)  # ignore_eos
        check(all(abs(r["prompt_tokens"] - r["input_asked"]) <= 8 for r in lines), [(r["prompt_tokens"], r["input_asked"]) for r in lines])
        again = loadgen(program, url, *flags, folder=folder)[1]
        check([(r["scheduled_ms"], r["prompt_tokens"]) for r in again] == [(r["scheduled_ms"], r["prompt_tokens"]) for r in lines], "a seed is a load")

        mooncake = Path(folder) / "mooncake.jsonl"
        with open(mooncake, "w") as out:
            for i in range(12):
                out.write(json.dumps({"timestamp": 100 * i, "input_length": 1100 + i, "output_length": 4, "hash_ids": [0, 1 + i % 2, 10 + i]}) + "\n")
        report, lines, _ = loadgen(program, url, "--trace", mooncake, "--scale", 0.1, "--speed", 2, folder=folder)
        check(report["requests"]["completed"] == 12 and report["settings"]["arrivals"] == "trace", report)
        check([r["scheduled_ms"] for r in lines] == [50 * i for i in range(12)], lines)

        azure = Path(folder) / "azure.csv"
        azure.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,31,3000\n")
        report, lines, _ = loadgen(program, url, "--trace", azure, "--max-output", 5, folder=folder)
        check(report["requests"]["completed"] == 2 and report["settings"]["requests_clipped"] == 2, report)  # 2,048 positions
        check(lines[0]["prompt_tokens"] > 1500 and lines[1]["scheduled_ms"] == 52, lines)

        prompts = Path(folder) / "prompts"
        prompts.write_text('"What is a river?"\n"What is a violin?"\n')
        report = loadgen(program, url, "--prompts", prompts, "--arrivals", "at-once", "--limit", 4, "--no-ignore-eos")
        check(report["requests"]["completed"] == 4, report)
        books = server.settled()["books"]
        check(books["requests_live"] == books["blocks_used"] == 0, books)


# ---- a server of another make ------------------------------------------------------------------------------------

def what_the_server_does_is_measured(program):
    """delays of the server are in the numbers, and tokens are those of its usage, or else its pieces"""
    flags = ["--arrivals", "at-once", "--limit", 6, "--output-tokens", 5, "--input-tokens", 100]
    for tokenize, how in ((True, "tokenize"), (False, "usage"), (None, "assumed")):
        with FakeServer(steady(0.1, 0.03, with_usage=tokenize is not None), tokenize=tokenize) as fake, tempfile.TemporaryDirectory() as folder:
            report, lines, picture = loadgen(program, fake.url, *flags, folder=folder)
            check(report["settings"]["prompts"]["counted_by"] == how, report["settings"])
            check(report["tokens"]["requests_with_usage"] == (0 if tokenize is None else 6) and report["tokens"]["output"] == 30, report)
            for r in lines:  # a delay is at least what was asked for, but for the clocks' grain
                check(r["ttft_ms"] > 99 and r["e2e_ms"] > 215 and r["chunks"] == 5 and min(r["itl_ms"]) >= 0, r)
            if how != "assumed":
                check(all(abs(fake.count(a) - 100) <= 2 for a in fake.asked), [fake.count(a) for a in fake.asked])
            check(any("fake at http" in (t.text or "") for t in picture.iter("{http://www.w3.org/2000/svg}text")), "the picture names the model")
            check(fake.connections <= 7, fake.connections)  # the probe's is used again


def shared_prefixes(program):
    """prompts begin alike as far as the hash ids of a trace do, and no further"""
    ids = [[0, 1, 2], [0, 1, 3], [0, 4], [5, 1, 2], [0, 1, 2]]
    with FakeServer(steady(), tokenize=True) as fake, tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        trace.write_text("".join(json.dumps({"timestamp": 50 * i, "input_length": 512 * len(list_), "output_length": 1, "hash_ids": list_}) + "\n"
                                 for i, list_ in enumerate(ids)))
        loadgen(program, fake.url, "--trace", trace, "--endpoint", "completions", "--seed", 1)
        check(all(a.path == "/v1/completions" for a in fake.asked), [a.path for a in fake.asked])
        prompts = [a.prompt.split() for a in fake.asked]
        check([len(p) for p in prompts] == [256 * len(list_) for list_ in ids], [len(p) for p in prompts])  # two tokens a word
        for i, a in enumerate(prompts):
            for k, b in enumerate(prompts):
                blocks = len(os.path.commonprefix([ids[i], ids[k]]))
                words = len(os.path.commonprefix([a, b]))
                check(words == len(a) if i == k else 256 * blocks <= words < 256 * blocks + 20 or ids[i] == ids[k], (i, k, words))
        loadgen(program, fake.url, "--trace", trace, "--endpoint", "completions", "--seed", 1, "--max-input", 100, "--limit", 1)
        check(fake.asked[-1].prompt.split() == prompts[0][:50], "a clipped prompt is the beginning of it")


def quirks(program):
    """other line ends, comments, bytes one at a time, streams without usage, [DONE] or an end of their own: all are answers"""
    async def odd_lines(ask):
        await ask.begin()
        await ask.raw(b": hello\r\n\r\nevent: message\r\nid: 7\r\n")
        await ask.event(piece("a"), end="\r\n")
        await ask.raw(b":\n\n")
        await ask.event(json.dumps(piece("é"), ensure_ascii=False, indent=1).replace("\n", "\ndata: "), end="\r")
        await ask.event(END, end="\r\n")
        await ask.event("[DONE]", end="\r\n")
        await ask.finish()

    async def no_done(ask):
        await ask.begin(chunked=False)
        await ask.event(piece("a"))
        await ask.event(piece("b"))
        await ask.raw(b"data: " + json.dumps(END).encode())
        await ask.finish()

    async def interim(ask):
        await ask.send(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        await ask.begin()
        await ask.event({"choices": [{"text": "a", "finish_reason": None}]})
        await ask.event({"choices": [{"text": "b", "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 9}})
        await ask.finish()

    async def all_in_one(ask):
        data = b"".join(b"data: %s\n\n" % json.dumps(e).encode() for e in (piece("a"), piece("b"), END))
        await ask.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))

    for answer in (odd_lines, no_done, interim, all_in_one):
        for cut in (0, 1, 7):
            with FakeServer(answer, cut=cut, tokenize=True) as fake, tempfile.TemporaryDirectory() as folder:
                report, lines, _ = loadgen(program, fake.url, "--arrivals", "constant", "--rate", 100, "--limit", 4, folder=folder)
                check(report["requests"]["completed"] == 4, (answer.__name__, cut, report))
                check(all(r["chunks"] == 2 for r in lines), lines)
                check(report["tokens"]["output"] == (36 if answer is interim else 8), report["tokens"])


def failures(program):
    """failures are counted by kind with the server's words, an idle connection that was closed is none, and if all fail so does the program"""
    async def refuse(ask):
        await ask.reply(429, {"error": {"message": "the queue is full"}}, "Retry-After: 2\r\n")

    async def fault(ask):
        await ask.reply(500, b"<html>no</html>", kind="text/html")

    async def error_event(ask):
        await ask.begin()
        await ask.event(piece("a"))
        await ask.event({"error": {"message": "a worker is lost"}})
        await ask.finish()

    async def cut_off(ask):
        await ask.begin()
        await ask.event(piece("a"))
        ask.hang_up()

    async def silent(ask):
        await ask.begin()
        await asyncio.sleep(60)

    async def no_stream(ask):
        await ask.reply(200, {"choices": []})

    async def no_http(ask):
        await ask.send(b"SSH-2.0-OpenSSH\r\n")
        ask.hang_up()

    async def nonsense(ask):
        await ask.begin()
        await ask.event("{")
        await ask.finish()

    cases = [(refuse, "rejected (http 429)", "the queue is full (retry after 2)"), (fault, "http 500", "<html>no</html>"),
             (error_event, "error in the stream", "a worker is lost"), (cut_off, "broken stream", "closed in the middle"),
             (silent, "timeout", "in time"), (no_stream, "broken stream", "no stream of events"), (no_http, "broken stream", "no HTTP/1.1"),
             (nonsense, "broken stream", "no part of an answer: {")]
    flags = ["--arrivals", "at-once", "--limit", 3, "--timeout", "1s"]
    for answer, kind, words in cases:
        with FakeServer(answer, tokenize=True) as fake, tempfile.TemporaryDirectory() as folder:
            report, lines, _ = loadgen(program, fake.url, *flags, status=1, folder=folder)
            check(list(report["failures"]) == [kind] and report["failures"][kind]["count"] == 3, (kind, report["failures"]))
            check(all(words in r["message"] for r in lines), (words, lines))
            check(len(fake.asked) == 3, "nothing is asked twice")
            check(report["requests"]["rejected"] == (3 if answer is refuse else 0), report["requests"])

    async def some(ask):
        await (fault if len(fake.asked) % 2 else steady())(ask)

    async def closes_after(ask):
        await steady()(ask)
        ask.hang_up()  # without having said so

    with FakeServer(some, tokenize=True) as fake:
        report = loadgen(program, fake.url, "--arrivals", "at-once", "--limit", 10)  # some came through: no failure of the program
        check(report["requests"]["completed"] == report["requests"]["failed"] == 5, report["requests"])
    with FakeServer(closes_after, tokenize=True) as fake:
        report = loadgen(program, fake.url, "--arrivals", "constant", "--rate", 20, "--limit", 6)
        check(report["requests"]["completed"] == 6, report)


def many_at_once(program):
    """1,200 streams are open at a time in one thread, for no arrival waits for an answer; or as many as allowed"""
    count, threads = 1200, []

    async def all_together(ask):
        await ask.begin()
        await ask.event(piece("a"))
        while len(fake.asked) < count:
            await asyncio.sleep(0.01)
        if not threads:
            status = Path(f"/proc/{client.pid}/status").read_text()
            threads.append(int(status.split("Threads:")[1].split()[0]))
        await ask.event(piece("b"))
        await ask.event(END)
        await ask.finish()

    with FakeServer(all_together, tokenize=True) as fake:
        client = subprocess.Popen([program, "loadgen", "--url", fake.url, "--json", "--rate", "2000", "--limit", str(count)],
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        report = json.loads(client.communicate(timeout=200)[0])
        check(client.returncode == 0 and report["requests"]["completed"] == count, report)
        check(report["generator"]["max_in_flight"] == fake.most_under_way == count, (report["generator"], fake.most_under_way))
        check(threads == [1], threads)

    with FakeServer(steady(0.01), tokenize=True) as fake, tempfile.TemporaryDirectory() as folder:
        report, lines, _ = loadgen(program, fake.url, "--arrivals", "at-once", "--limit", 20, "--max-concurrency", 3, folder=folder)
        check(report["requests"]["completed"] == 20 and fake.most_under_way == 3 == report["generator"]["max_in_flight"], report)
        check(report["latency_ms"]["wait"]["max"] > 50, "the last waited for six rounds of 10 ms")


def interrupted(program):
    """SIGINT ends a run early, cuts off what is under way, and what was measured is reported"""
    begun = []

    async def some_hang(ask):
        if len(fake.asked) % 2:
            await steady()(ask)
            return
        await ask.begin()
        begun.append(1)
        await asyncio.sleep(60)

    with FakeServer(some_hang, tokenize=True) as fake:
        client = subprocess.Popen([program, "loadgen", "--url", fake.url, "--json", "--arrivals", "constant", "--rate", "20", "--limit", "10000"],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while len(begun) < 5:
            time.sleep(0.02)
        client.send_signal(signal.SIGINT)
        out, err = client.communicate(timeout=60)
        report = json.loads(out)
        counts = report["requests"]
        check(client.returncode == 0 and report["interrupted"], (client.returncode, err))
        check(counts["completed"] >= 5 and counts["cancelled"] >= 5 and counts["failed"] == 0 and counts["sent"] < 1000, counts)


def what_is_sent(program):
    """the key goes to the server and nowhere else; fields are added and taken away; a model is chosen among several"""
    models = [{"id": "a", "max_model_len": 100}, {"id": "b"}]
    with FakeServer(steady(), tokenize=True, models=models) as fake:
        extra = json.dumps({"temperature": 0, "ignore_eos": None})
        report = loadgen(program, fake.url + "/proxy/v1", "--limit", 2, "--arrivals", "at-once", "--model", "b", "--extra-body", extra, OPENAI_API_KEY="k3y")
        check("k3y" not in json.dumps(report), report)
        for ask in fake.asked:
            check(ask.path == "/proxy/v1/chat/completions" and ask.headers["authorization"] == "Bearer k3y", (ask.path, ask.headers))
            check(ask.body["model"] == "b" and ask.body["temperature"] == 0 and "ignore_eos" not in ask.body, ask.body)
        report = loadgen(program, fake.url, "--limit", 3, "--arrivals", "at-once", "--output-tokens", 70)
        for ask in fake.asked[2:]:  # 100 positions, 8 of them to spare
            check(ask.body["model"] == "a" and ask.body["max_tokens"] == 46 and 40 <= fake.count(ask) <= 48, (ask.body, fake.count(ask)))
        one_line(program, "--url", fake.url, "--model", "c", status=1, words=["serves no model c", "a, b"])


def over_tls(program):
    """https works with a certificate that the system trusts, and not with another"""
    if not shutil.which("openssl"):
        return print("skipped: there is no openssl to make a certificate with")
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder) / "certificate", Path(folder) / "key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=fake", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", key, "-out", certificate], check=True, capture_output=True)
        with FakeServer(steady(), tokenize=True, certificate=(certificate, key)) as fake:
            flags = ["--limit", 5, "--arrivals", "at-once"]
            report = loadgen(program, fake.url, *flags, SSL_CERT_FILE=str(certificate))
            check(report["requests"]["completed"] == 5, report)
            one_line(program, "--url", fake.url, *flags, status=1, words=["cannot connect", "verif"])


def bad_input_is_one_line(program):
    """what cannot be run is one line: a server that is not there, a file with a wrong line, a setting that makes no sense"""
    nobody = f"http://127.0.0.1:{free_port()}"
    one_line(program, "--url", nobody, status=1, words=[nobody + "/v1/models", "cannot connect", "refused"])
    one_line(program, "--url", "http://no such host", status=2, words=["http://127.0.0.1:8080"])
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong"
        wrong.write_bytes(b'{"timestamp": 0, "input_length": 1, "output_length": 1}\n{"timestamp": 0, "input_length": -1}\n')
        one_line(program, "--trace", wrong, status=2, words=[f"{wrong}:2: input_length must be"])
        wrong.write_bytes(b"\x00\xff" * 999)
        one_line(program, "--trace", wrong, status=2, words=[f"{wrong}:1: is neither"])
        one_line(program, "--prompts", wrong, status=2, words=[f"{wrong}:1: must be a JSON string"])
        one_line(program, "--svg", Path(folder) / "no" / "folder", status=2, words=["cannot be written"])
        one_line(program, "--trace", Path(folder) / "none", status=1, words=["none cannot be read"])
    for flags, words in [(["--slo", "itl=5ms"], "ttft=500ms"), (["--timeout", "5"], "500ms"), (["--input-tokens", "9:1"], "64:256"),
                         (["--burstiness", 2, "--arrivals", "poisson"], "gamma"), (["--rate", 2, "--arrivals", "at-once"], "at-once"),
                         (["--speed", 2], "--trace"), (["--rate", 0], "--rate"), (["--limit", 0], "--limit"), (["--arrivals", "x"], "--arrivals"),
                         (["--api-key", "a\nb"], "API key")]:
        one_line(program, *flags, status=2, words=[words])
    with FakeServer(steady(), tokenize=True, models=[]) as fake:
        one_line(program, "--url", fake.url, status=1, words=["lists no models", "--model"])
        one_line(program, "--url", fake.url, "--model", "m", "--extra-body", "[]", status=2, words=["--extra-body"])


if __name__ == "__main__":
    main([our_own_server, what_the_server_does_is_measured, shared_prefixes, quirks, failures, many_at_once, interrupted, what_is_sent, over_tls,
          bad_input_is_one_line], sys.argv[1])
