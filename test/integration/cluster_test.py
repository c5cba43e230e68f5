"""Clusters under load, loss and orders to stop.

    cluster_test.py PROGRAM
"""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quadrant import PROFILES, ROOT, Server, Signals, at_once, call, check, free_port, main

WORDS = ("violin", "river", "dog", "house", "tree", "car", "bread", "music")
MANY = PROFILES / "pp2-tp2-ep2-processes.toml"
LONG = {"max_tokens": 1500, "ignore_eos": True}


def runs(pid):
    """Not when it has ended and nobody has buried it."""
    try:
        return bool(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False


def question(i):
    return f"What is a {WORDS[i % len(WORDS)]}?"


def thirty_two_clients(program):
    """32 streams at once finish with the text that each has alone, on one process and on seven; hang-ups free their blocks; books balance"""
    for topology in (PROFILES / "one.toml", MANY):
        with Server(program, "--topology", topology) as server:
            alone = [server.stream(question(i)) for i in range(len(WORDS))]
            together = at_once([lambda i=i: server.stream(question(i)) for i in range(32)])
            for i, got in enumerate(together):
                check(got == alone[i % len(WORDS)] and got["done"] and got["text"], f"stream {i}: {got}")
            at_once([lambda i=i: server.stream(question(i), leave_after=3, **LONG) for i in range(8)])
            state = server.settled()
            books = state["books"]
            check(state["serving"] and books["blocks_used"] == 0 and books["blocks_free"] + books["blocks_cached"] == books["blocks_total"], state)
            check(books["requests_live"] == books["leases"] == books["credits_out"] == 0, books)
            check(all(v == 0 for k, v in state["gauges"].items() if k.startswith("transfers_in_flight")), state["gauges"])
            check(not [a for a in state["actors"] if a["role"] in ("request", "kv transfer")], state["actors"])
            nodes = {a["node"] for a in state["actors"]}
            check(nodes == ({"main"} if topology != MANY else
                            {"main", "prefill-0", "prefill-1", "decode-0", "decode-1", "experts-0", "experts-1"}), nodes)
        check(server.status == 0, f"exit {server.status}")


def kill_nine(program):
    """a worker process killed during 8 streams ends each with an error that names it; the supervisor says so, health too"""
    for victim in ("prefill-0", "decode-0", "decode-1", "experts-1"):
        with Server(program, "--topology", MANY) as server:
            signals = Signals()

            def kill():
                signals.wait_for(8)
                os.kill(server.child(victim), signal.SIGKILL)
            *streams, killed = at_once([lambda i=i: server.stream(question(i), begun=signals.tell, **LONG) for i in range(8)] + [kill])
            check(killed is None, killed)
            for s in streams:
                check(not isinstance(s, Exception), s)
                check(s["finish"] == "length" or (s["error"] and victim in s["error"] and "lost" in s["error"]), s)
            check(any(s["error"] for s in streams), "nobody noticed")
            status, body = server.get("/health")
            check(status == 503 and victim in body, (status, body))
            state = server.cluster()
            check(not state["serving"] and victim in state["note"], state["note"])
            refused = server.stream(question(0))
            check(refused["status"] == 503, refused)
        check(any("supervisor" in line and victim in line for line in server.log), server.log)


def terminate_drains(program):
    """SIGTERM lets answers under way come to their end, takes no new ones, and leaves no process behind"""
    with Server(program, "--topology", MANY) as server:
        children = server.children()
        check(len(children) == 6, children)
        signals = Signals()

        def stop():
            signals.wait_for(4)
            server.terminate()
        *streams, stopped = at_once([lambda i=i: server.stream(question(i), begun=signals.tell, max_tokens=400, ignore_eos=True) for i in range(4)] + [stop])
        check(stopped is None, stopped)
        for s in streams:
            check(not isinstance(s, Exception) and s["done"] and s["finish"] == "length", s)
    check(server.status == 0, server.log)
    check(not [c for c in children if runs(c)], "processes are left")


def a_taken_port(program):
    """a port that is taken is one line and an exit, and leaves nothing behind"""
    with Server(program) as server:
        status, _, err = call(program, "serve", "--port", server.port, "--control-port", free_port())
        check(status != 0 and str(server.port) in err.splitlines()[-1], err)
        status, _, err = call(program, "serve", "--port", free_port(), "--control-port", server.control)
        check(status != 0 and str(server.control) in err.splitlines()[-1] and "--control-port" in err, err)


def cluster_scripts(program):
    """cluster-up starts what a topology names, cluster-down ends it"""
    port, control = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "QUADRANT": program, "QUADRANT_RUN_DIR": folder}

        def script(name, *arguments):
            # Into a file: what stays behind would keep a pipe open.
            with open(f"{folder}/out", "w+") as out:
                done = subprocess.run([ROOT / "scripts" / name, *map(str, arguments)], env=env, stdout=out, stderr=out, timeout=120)
                out.seek(0)
                return done.returncode, out.read()
        pids = []
        try:
            status, out = script("cluster-up", "--launcher", "local", "--port", port, "--control-port", control, MANY)
            check(status == 0 and "serving" in out, out)
            status, again = script("cluster-up", "--control-port", control, MANY)
            check(status != 0 and "already up" in again, again)
            _, state, err = call(program, "status", "--connect", f"127.0.0.1:{control}", "--json")
            pids = [int(f.read_text().split()[0]) for f in Path(folder, str(control)).glob("*.pid")]
            check(len(pids) == 7 and json.loads(state)["serving"], (pids, err))
        finally:
            status, out = script("cluster-down", "--control-port", control)
        check(status == 0 and out.count("ended") == 7 and "had" not in out, out)
        check(not [p for p in pids if runs(p)], "processes are left")
        status, out = script("cluster-down", "--control-port", control)
        check(status != 0 and "no cluster" in out, out)
        with socket.socket() as taken: # what went wrong is said, whoever ends first
            taken.bind(("127.0.0.1", port))
            taken.listen()
            status, out = script("cluster-up", "--port", port, "--control-port", control, MANY)
        check(status != 0 and f"port {port}" in out.splitlines()[-1] and "had to be killed" not in out, out)
        status, out = script("cluster-down", "--control-port", control)
        check(status != 0 and "no cluster" in out, out)


def a_sender_that_dies(program):
    """slices on their way from a process that dies hold nothing: blocks come home, and the server ends in time"""
    with tempfile.TemporaryDirectory() as folder:
        two = Path(folder) / "two.toml"
        two.write_text('[[process]]\nname = "p"\nruns = ["prefill.0.0"]\n[[process]]\nname = "d"\nruns = ["decode.0"]\n')
        with Server(program, "--topology", two) as server:
            decode = server.child("d")

            def strike():
                # Decode is awake for moments only: long enough to lease blocks, too short to take all that comes.
                try:
                    for _ in range(40):
                        os.kill(decode, signal.SIGCONT)
                        time.sleep(0.004)
                        os.kill(decode, signal.SIGSTOP)
                        if any(a["role"] == "kv transfer" and a["state"] == "moving" for a in server.cluster()["actors"]):
                            os.kill(server.child("p"), signal.SIGKILL)
                            return True
                    return False
                finally:
                    os.kill(decode, signal.SIGCONT)
            answer, struck = at_once([lambda: server.stream(" ".join(WORDS * 150), **LONG | {"max_tokens": 100}), strike])
            check(struck is True, struck)
            check(answer["error"] and "lost" in answer["error"], answer)
            state = server.settled()
            check(state["books"]["blocks_used"] == 0 and state["books"]["leases"] == 0, state["books"])
        check(server.status == 0, server.log)


def stopped_while_starting(program):
    """SIGTERM ends a server whose processes have not joined; a process that has no place is told so"""
    port, control = free_port(), free_port()
    waiting = subprocess.Popen([program, "serve", "--port", str(port), "--control-port", str(control), "--external-nodes", "--topology", MANY],
                               stderr=subprocess.PIPE, text=True)
    try:
        check(str(control) in waiting.stderr.readline(), "it does not say where to join")
        status, _, err = call(program, "node", "--join", f"127.0.0.1:{control}", "--name", "typo")
        check(status != 0 and "typo" in err and len(err.splitlines()) == 1, (status, err))
        waiting.terminate()
        check(waiting.wait(20) not in (0, -signal.SIGTERM), "SIGTERM is no success before it has served")
        check("stopped" in waiting.stderr.read(), "it does not say why it ended")
    finally:
        waiting.kill()
        waiting.wait()


if __name__ == "__main__":
    main([thirty_two_clients, kill_nine, a_sender_that_dies, terminate_drains, stopped_while_starting, a_taken_port, cluster_scripts], sys.argv[1])
