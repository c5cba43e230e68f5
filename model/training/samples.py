"""Picks the two text files that ship with the model.

    samples.py --pairs WORK/pairs.tsv --checkpoint DIR

Writes    DIR/questions.txt       questions about everyday words that the model answers word for word
          DIR/heldout_tokens.txt  held-out questions and answers as token ids, one conversation a line
"""
import argparse
import random
from pathlib import Path

import torch

import questions
from evaluate import answers, load

QUESTIONS, HELD_TOKENS = 40, 2500
FIRST = "violin"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--everyday", type=Path, default=Path(__file__).parent / "everyday.txt")
    a = p.parse_args()
    torch.set_num_threads(1)
    net, tokenizer = load(a.checkpoint)
    everyday = a.everyday.read_text().split()
    seen = {p.word: p for p in questions.read_pairs(a.pairs, "train")}
    asked = [seen[w] for w in everyday if w in seen]
    right = [p for p, said in zip(asked, answers(net, tokenizer, asked)) if said == p.answer]
    print(f"{len(right)} of {len(asked)} everyday words answered word for word")
    step = max(1, len(right) // QUESTIONS)
    chosen = sorted(right[::step][:QUESTIONS] + [p for p in right if p.word == FIRST], key=lambda p: p.word != FIRST)
    lines = dict.fromkeys(questions.forms(p)[0] for p in chosen)
    (a.checkpoint / "questions.txt").write_text("".join(q + "\n" for q in lines))

    chat, count, rows = questions.Chat(tokenizer), 0, []
    held = questions.read_pairs(a.pairs, "held")
    for pair in random.Random(9).sample(held, len(held)):
        if count >= HELD_TOKENS:
            break
        rows.append(chat.pair(questions.forms(pair)[0], pair.answer)[0])
        count += len(rows[-1])
    (a.checkpoint / "heldout_tokens.txt").write_text("".join(",".join(map(str, r)) + "\n" for r in rows))
    print(f"{len(lines)} questions, {len(rows)} held-out conversations of {count} tokens")


if __name__ == "__main__":
    main()
