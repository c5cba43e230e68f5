"""Runs the program for the tests of this folder and of test/api: one command at a time, or a server with clients."""
import http.client
import json
import os
import resource
import secrets
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROFILES = ROOT / "config" / "profiles"
MODEL = ROOT / "model" / "default"


_ports = set()  # given out by this process


def free_port():
    """A port that nobody listens on, below those that the kernel gives to clients: a crowd of them would soon have it."""
    while True:
        port = secrets.randbelow(17000) + 15000
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _ports:
            _ports.add(port)
            return port


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def call(program, *arguments, timeout=120, memory=None, stdin=None, **env):
    """(exit status, stdout, stderr); memory: bytes of address space that it may have; stdin: what it reads"""
    done = subprocess.run([program, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=timeout, env={**os.environ, **env},
                          preexec_fn=memory and (lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory))))
    return done.returncode, done.stdout, done.stderr


def run_json(program, *arguments, **env):
    status, out, err = call(program, "run", *arguments, "--json", **env)
    check(status == 0, f"run {arguments}: exit {status}, {err}")
    return json.loads(out.splitlines()[-1])


class Server:
    """`quadrant serve` on free ports; ended with SIGTERM."""

    def __init__(self, program, *arguments):
        self.program, self.port, self.control = program, free_port(), free_port()
        self.process = subprocess.Popen(
            [program, "serve", "--port", str(self.port), "--control-port", str(self.control), *map(str, arguments)],
            stderr=subprocess.PIPE, text=True)
        self.log, self.told = [], False
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr))
        self.reader.start()

    def __enter__(self):
        deadline = time.monotonic() + 60
        while True:
            try:
                if self.get("/health")[0] == 200:
                    return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise AssertionError("the server did not come up: " + "".join(self.log))
            time.sleep(0.05)

    def __exit__(self, *_):
        self.terminate()
        try:
            self.status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end on SIGTERM")
        finally:
            self.reader.join()

    def terminate(self):
        """SIGTERM, once: a second one ends it at once."""
        if self.process.poll() is None and not self.told:
            self.told = True
            self.process.terminate()

    def children(self):
        return [int(pid) for pid in Path(f"/proc/{self.process.pid}").glob("task/*/children") for pid in pid.read_text().split()]

    def child(self, name):
        """The process id of the node with this name."""
        return next(pid for pid in self.children() if f"\0{name}\0" in open(f"/proc/{pid}/cmdline").read())

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request("GET", path)
        r = c.getresponse()
        body = r.read().decode()
        c.close()
        return r.status, body

    def ask(self, path, body=None, headers=None, method=None, timeout=60):
        """(status, header fields by their names in small letters, the body: of JSON its value); body: a value to send as JSON, or bytes"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            c.request(method or ("GET" if body is None else "POST"), path, data, {"Content-Type": "application/json", **(headers or {})})
            r = c.getresponse()
            fields, text = {name.lower(): value for name, value in r.getheaders()}, r.read().decode()
            return r.status, fields, json.loads(text) if fields.get("content-type", "").startswith("application/json") and text else text
        finally:
            c.close()

    def answer(self, path, body, **more):
        """The value of an answer that must be 200."""
        status, _, value = self.ask(path, body, **more)
        check(status == 200, f"{path} {json.dumps(body)[:300]}: {status} {value}")
        return value

    def cluster(self):
        status, out, err = call(self.program, "status", "--connect", f"127.0.0.1:{self.control}", "--json")
        check(status == 0, err)
        return json.loads(out)

    def settled(self):
        """The state once no request holds anything."""
        for _ in range(200):
            state = self.cluster()
            books = state["books"]
            alive = [a for a in state["actors"] if a["role"] in ("request", "kv transfer")]
            if not (alive or books["requests_live"] or books["blocks_used"] or books["leases"] or books["credits_out"]):
                break
            time.sleep(0.05)
        return state

    def stream(self, question, leave_after=None, begun=None, **fields):
        """One streamed answer: {"text", "finish", "error", "done", "status"}; leave_after: hang up after so many chunks;
        begun: called when the first has come, or none will."""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        body = {"messages": [{"role": "user", "content": question}], "stream": True, **fields}
        c.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        out = {"text": "", "finish": None, "error": None, "done": False, "status": r.status}
        chunks = 0
        begun = begun or (lambda: None)
        try:
            if r.status != 200:
                out["error"] = json.loads(r.read())["error"]["message"]
                begun()
                return out
            for line in r:
                line = line.decode().strip()
                if line == "data: [DONE]":
                    out["done"] = True
                elif line.startswith("data: "):
                    event = json.loads(line[len("data: "):])
                    if "error" in event:
                        out["error"] = event["error"]["message"]
                        continue
                    for choice in event["choices"]:
                        out["text"] += choice["delta"].get("content") or ""
                        out["finish"] = choice.get("finish_reason") or out["finish"]
                    chunks += 1
                    if chunks == 1:
                        begun()
                    if chunks == leave_after:
                        break
        finally:
            c.close()
            r.close()
        return out


class Signals:
    """Counts what other threads tell it."""

    def __init__(self):
        self.told = threading.Semaphore(0)

    def tell(self):
        self.told.release()

    def wait_for(self, count):
        for i in range(count):
            check(self.told.acquire(timeout=60), f"only {i} of {count} streams have begun")


def at_once(jobs):
    """The results of all jobs, run in threads of their own."""
    results = [None] * len(jobs)

    def work(i):
        try:
            results[i] = jobs[i]()
        except Exception as e:  # shown by whoever looks at the result
            results[i] = e

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results


def main(tests, *arguments, only=()):
    """Runs the given functions, or those of them whose names are in `only`, each to its end; exits with 1 if any failed."""
    unknown = set(only) - {test.__name__ for test in tests}
    check(not unknown, f"no such test: {' '.join(unknown)}; there are {' '.join(test.__name__ for test in tests)}")
    wanted, failed = [test for test in tests if not only or test.__name__ in only], []
    for test in wanted:
        start, says = time.monotonic(), "ok  "
        try:
            test(*arguments)
        except Exception:  # of any kind: it is shown, and the others go on
            traceback.print_exc(file=sys.stdout)
            says = "FAIL"
            failed.append(test.__name__)
        print(f"{says}  {test.__name__}: {test.__doc__.splitlines()[0]}  ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"{len(wanted) - len(failed)} passed, {len(failed)} failed{': ' if failed else ''}{' '.join(failed)}")
    if failed:
        sys.exit(1)
