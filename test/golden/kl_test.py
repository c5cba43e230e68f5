"""The mean KL of `quadrant logits --precision w4a8` to the f32 logits of forward.py, over held-out tokens of the default model.

    kl_test.py PROGRAM ROOT
"""
import sys
from pathlib import Path

import numpy as np

from forward import forward, load
from kl import log_softmax
from program import logits

BOUND = 0.005  # nats a position
AT_LEAST = 2000  # positions
LENGTH = 128  # of one context, as in training: several conversations, two KV blocks


def contexts(path):
    """The conversations of a file, one after the other, as many to a context as fit."""
    context = []
    for line in path.read_text().split():
        tokens = [int(t) for t in line.split(",")]
        if context and len(context) + len(tokens) > LENGTH:
            yield context
            context = []
        context = context + tokens
    yield context


def main(program, root):
    folder = root / "model/default"
    exact, total, same, count = load(folder), 0.0, 0, 0
    for tokens in contexts(folder / "heldout_tokens.txt"):
        p = log_softmax(forward(*exact, tokens))
        q = log_softmax(logits(program, folder, tokens, "--precision", "w4a8"))
        total += (np.exp(p) * (p - q)).sum()
        same += int((p.argmax(-1) == q.argmax(-1)).sum())
        count += len(tokens)
    mean = total / count
    print(f"KL {mean:.5f} nats, allowed {BOUND}; same first choice {100 * same / count:.1f} %; {count} positions")
    if count < AT_LEAST:
        print(f"fewer than {AT_LEAST} positions")
    return 0 if mean <= BOUND and count >= AT_LEAST else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
