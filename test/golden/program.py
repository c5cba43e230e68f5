"""Runs `quadrant logits` for the tests of this folder."""
import json
import subprocess

import numpy as np


def logits(program, checkpoint, tokens, *flags):
    """Every logit of every position [T, vocab]; checks that "top" names the five largest of them."""
    command = [program, "logits", "--model", str(checkpoint), "--tokens", ",".join(map(str, tokens)),
               "--full", "--json", *map(str, flags)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"exit {done.returncode}: {' '.join(command)}")
    positions = json.loads(done.stdout.splitlines()[-1])["positions"]
    out = np.array([p["logits"] for p in positions])
    for row, position in zip(out, positions):
        largest = np.argsort(-row, kind="stable")[:5]  # the lower id wins a tie
        assert position["top"] == [[i, row[i]] for i in largest.tolist()], f"{position['top']} is not the top of {row}"
    assert len(out) == len(tokens), f"{len(out)} positions for {len(tokens)} tokens"
    return out
