"""Makes an exported f32 checkpoint as sure of its words as it is right: one temperature, folded into the last norm.

    calibrate.py --pairs WORK/pairs.tsv --checkpoint DIR

A model that knows 5,500 words by heart speaks of every other word with the same certainty. All logits are divided by the
temperature that minimises the loss where SEEN_SHARE of the questions are about learned words, the rest about words it never saw.
Holds     the order of the logits, so every greedy answer; the held-out words take no part
Source    temperature scaling, arXiv:1706.04599
"""
import argparse
import random
from pathlib import Path

import torch
import torch.nn.functional as F

import checkpoint
import questions
from evaluate import load
from train import tensors

WORDS = 300  # of each kind
SEEN_SHARE = 0.75
TEMPERATURES = [1 + 0.05 * i for i in range(41)]
LAST_NORM = "model.norm.weight"


@torch.no_grad()
def losses(net, rows):
    """The mean loss of the learned tokens at each temperature."""
    total, count = torch.zeros(len(TEMPERATURES)), 0
    for at in range(0, len(rows), 32):
        ids, learned = tensors(rows[at:at + 32])
        logits = net.logits(net.hidden(ids[:, :-1])[learned[:, 1:]])
        wanted = ids[:, 1:][learned[:, 1:]]
        total += torch.stack([F.cross_entropy(logits / t, wanted, reduction="sum") for t in TEMPERATURES])
        count += len(wanted)
    return total / count


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--checkpoint", type=Path, required=True)
    a = p.parse_args()
    torch.set_num_threads(1)
    net, tokenizer = load(a.checkpoint)
    chat, draw = questions.Chat(tokenizer), random.Random(11)
    seen, unseen = (losses(net, [chat.pair(questions.forms(p)[0], p.answer)
                                 for p in draw.sample(questions.read_pairs(a.pairs, split), WORDS)])
                    for split in ("train", "other"))
    best = int((SEEN_SHARE * seen + (1 - SEEN_SHARE) * unseen).argmin())
    file = a.checkpoint / "model.safetensors"
    stored = checkpoint.read(file)
    stored[LAST_NORM] = stored[LAST_NORM] / stored[LAST_NORM].dtype.type(TEMPERATURES[best])
    checkpoint.write(file, stored)
    print(f"temperature {TEMPERATURES[best]:.2f}; loss of learned words {seen[0]:.3f} -> {seen[best]:.3f}, "
          f"of others {unseen[0]:.3f} -> {unseen[best]:.3f}")


if __name__ == "__main__":
    main()
