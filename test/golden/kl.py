#!/usr/bin/env python3
"""Mean KL(P || Q) over the next-token distributions of two checkpoints, in nats a position.

    kl.py P_DIR Q_DIR SEQUENCES [--limit TOKENS]

SEQUENCES  one sequence of comma-separated ids a line, each scored from position 0
"""
import argparse
from pathlib import Path

import numpy as np

from forward import forward, load


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("p", type=Path)
    p.add_argument("q", type=Path)
    p.add_argument("sequences", type=Path)
    p.add_argument("--limit", type=int, default=0, help="stop after so many tokens")
    a = p.parse_args()
    left, right = load(a.p), load(a.q)
    total, same, count = 0.0, 0, 0
    for line in a.sequences.read_text().split():
        tokens = [int(t) for t in line.split(",")]
        lp, lq = log_softmax(forward(*left, tokens)), log_softmax(forward(*right, tokens))
        total += (np.exp(lp) * (lp - lq)).sum()
        same += int((lp.argmax(-1) == lq.argmax(-1)).sum())
        count += len(tokens)
        if a.limit and count >= a.limit:
            break
    print(f"KL {total / count:.5f} nats, same first choice {100 * same / count:.1f} %, {count} positions")


if __name__ == "__main__":
    main()
