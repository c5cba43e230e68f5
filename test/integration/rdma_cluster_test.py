"""A cluster of seven processes whose tensors go over RDMA: in the guest of scripts/rdma-vm, because this machine has no device.

    rdma_cluster_test.py PROGRAM
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from quadrant import MODEL, PROFILES, ROOT, check, run_json

QUESTION = "What is a violin?"


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        profile = (PROFILES / "pp2-tp2-ep2-processes.toml").read_text()
        processes = profile.index("[[process]]")
        topology = Path(folder) / "rdma.toml"
        topology.write_text(profile[:processes] + "[cluster]\nshared_memory = 0\n\n" + profile[processes:])
        words = ("run", QUESTION, "--topology", topology, "--model", MODEL, "--max-tokens", "8", "--json")
        done = subprocess.run([ROOT / "scripts" / "rdma-vm", "--timeout", "240", "--memory", "2048", "--file", program, "--file", topology,
                               "--file", MODEL, "/usr/bin/env", "QUADRANT_LOG=info", program, *words], capture_output=True, text=True)
        if done.returncode == 77:
            print(done.stderr, end="")
            sys.exit(77)
        check(done.returncode == 0, done.stdout + done.stderr)
        lines = done.stdout.splitlines()
        answer = next(line for line in lines if line.startswith('{"text"'))
        paths = [line.rsplit(" ", 1)[1] for line in lines if "connected to" in line]
        check(len(paths) > 10 and set(paths) == {"rdma"}, paths)
        there, here = json.loads(answer), run_json(program, QUESTION, "--max-tokens", 8)
        check(len(there["token_ids"]) == 8, there)
        for key in ("token_ids", "logits_digest", "text"):
            check(there[key] == here[key], f"{key}: {there[key]} over RDMA is not {here[key]}")
        print(f"ok  8 tokens of seven processes over {len(paths)} RDMA connections, with the logits of one process: {here['logits_digest']}")


if __name__ == "__main__":
    main(sys.argv[1])
