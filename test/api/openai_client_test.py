"""OpenAI's official client for JavaScript, as it comes from npm, against the program: each case of client/*.mjs.

    openai_client_test.py PROGRAM NODE_MODULES [CASE…]

Servers   hermes: a scripted model; tight: the same with a key, two sequences and a queue of two; default: the default model;
          broken: a cluster that has lost its decode worker
"""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serving import HERE, Server, at_rest, check, scripted

SKIPPED = 77
KEY = "key-of-the-tests"


@contextlib.contextmanager
def broken(program, folder):
    two = folder / "two.toml"
    two.write_text('[[process]]\nname = "p"\nruns = ["prefill.0.0"]\n[[process]]\nname = "d"\nruns = ["decode.0"]\n')
    with Server(program, "--topology", two) as server:
        os.kill(server.child("d"), signal.SIGKILL)
        for _ in range(200):
            if server.get("/health")[0] == 503:
                break
            time.sleep(0.05)
        yield server


def run(program, modules, names):
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tight = folder / "tight.toml"
        tight.write_text("[decode]\nmax_sequences = 2\n[cluster]\nmax_queued_requests = 2\n")
        hermes, script = stack.enter_context(scripted(program, "hermes"))
        keyed = ["--api-key", KEY] if "--api-key" in subprocess.run([program, "serve", "--help"], capture_output=True, text=True).stdout else []
        servers = {"hermes": hermes, "tight": stack.enter_context(scripted(program, "hermes", "--topology", tight, *keyed))[0],
                   "default": stack.enter_context(Server(program)), "broken": stack.enter_context(broken(program, folder))}
        settings = folder / "settings.json"
        settings.write_text(json.dumps({
            "servers": {name: f"http://127.0.0.1:{server.port}/v1" for name, server in servers.items()}, "key": KEY,
            "says": {name: script.says(name)[0] for name in script.chains}, "ids": {p: i for p, i in script.ids.items() if isinstance(p, str)}}))
        failed, count = [], 0
        client = subprocess.Popen(["node", HERE / "client" / "run.mjs", modules, settings, *names], stdout=subprocess.PIPE, text=True)
        for line in client.stdout:
            one = json.loads(line)
            count += 1
            if one["error"]:
                failed.append(one["case"])
                print(one["error"])
            print(f"{'FAIL' if one['error'] else 'ok  '}  {one['case']}  ({one['seconds']:.1f} s)", flush=True)
        check(client.wait(60) == (1 if failed else 0), f"node: {client.returncode}")
        check(count, "no case was run")
        for name in ("hermes", "tight", "default"):
            at_rest(servers[name])
    print(f"{count - len(failed)} passed, {len(failed)} failed{': ' if failed else ''}{' '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    packages = Path(sys.argv[2]).resolve()
    if not shutil.which("node") or not (packages / "openai").is_dir():
        print(f"openai_client: node, or openai in {packages}, is not there; scripts/references says why")
        sys.exit(SKIPPED)
    sys.exit(run(sys.argv[1], packages, sys.argv[3:]))
