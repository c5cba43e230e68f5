"""Measures checkpoints: held-out perplexity, and how many head words the model has learned.

    evaluate.py --pairs WORK/pairs.tsv --checkpoint DIR [DIR ...] [--words 500] [--json FILE]

Perplexity  of the answer tokens, of held-out head words and of seen ones, in the usual form of the question
Recall      of --words seen head words with a hypernym, asked once each, greedy: the answer says
            "kind of <hypernym>."; and how many answers are the dictionary's, word for word
"""
import argparse
import json
import math
import os
import random
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import checkpoint
import questions
from net import Net, Shape
from quantise import plain_checkpoint
from tokenizer import Tokenizer
from train import held_loss

BATCH, ANSWER_TOKENS = 64, 80


def load(folder):
    """(net, tokenizer) of a checkpoint of export.py or quantise.py."""
    c = json.loads((folder / "config.json").read_text())
    net = Net(Shape(c["vocab_size"], c["hidden_size"], c["num_hidden_layers"], c["num_attention_heads"],
                    c["num_key_value_heads"], c["head_dim"], c["num_experts"], c["num_experts_per_tok"],
                    c["moe_intermediate_size"], c["rms_norm_eps"], c["rope_theta"]))
    stacked = checkpoint.stack_experts(plain_checkpoint(checkpoint.read(folder / "model.safetensors")))
    net.load_state_dict({n: torch.from_numpy(t.copy()) for n, t in stacked.items()})
    return net, Tokenizer(folder / "tokenizer.json")


@torch.no_grad()
def choices(net, rows):
    """The net's first choice after each token of each row."""
    longest = max(map(len, rows))
    picked = net.logits(net.hidden(torch.tensor([r + [0] * (longest - len(r)) for r in rows]))).argmax(-1)
    return [p[:len(r)].tolist() for p, r in zip(picked, rows)]


def greedy(net, prompts, drafts, end):
    """Greedy answers (ids). A draft is a guess of the answer: what is right of it needs no step of its own."""
    rows = [p + d for p, d in zip(prompts, drafts)]
    answers = [None] * len(rows)
    first, open_rows = True, list(range(len(rows)))
    while open_rows:
        for i, picked in zip(open_rows, choices(net, [rows[i] for i in open_rows])):
            start = len(prompts[i])
            if first:
                right = 0
                while right < len(drafts[i]) and picked[start - 1 + right] == drafts[i][right]:
                    right += 1
                rows[i] = rows[i][:start + right]
                picked = picked[:start + right]
            rows[i].append(picked[-1])
            if end in rows[i][start:] or len(rows[i]) - start >= ANSWER_TOKENS:
                answers[i] = rows[i][start:]
        first, open_rows = False, [i for i in open_rows if answers[i] is None]
    return answers


def answers(net, tokenizer, pairs):
    """The text of the greedy answer to each pair's usual question."""
    chat, out = questions.Chat(tokenizer), []
    for at in range(0, len(pairs), BATCH):
        some = pairs[at:at + BATCH]
        out += greedy(net, [chat.prompt(questions.forms(p)[0]) for p in some],
                      [tokenizer.encode(p.answer) for p in some], chat.end)
    return [tokenizer.decode(ids) for ids in out]


def perplexity(net, tokenizer, pairs):
    chat = questions.Chat(tokenizer)
    return math.exp(held_loss(net, [chat.pair(questions.forms(p)[0], p.answer) for p in pairs]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--checkpoint", type=Path, nargs="+", required=True)
    p.add_argument("--words", type=int, default=500)
    p.add_argument("--json", type=Path, help="also write the numbers here")
    a = p.parse_args()
    torch.set_num_threads(1)
    seen, held = questions.read_pairs(a.pairs, "train"), questions.read_pairs(a.pairs, "held")
    draw = random.Random(5)
    nouns = [p for p in seen if p.part == "noun" and p.hypernym]
    asked = draw.sample(nouns, a.words)
    results = []
    for folder in a.checkpoint:
        net, tokenizer = load(folder)
        said = answers(net, tokenizer, asked)
        results.append({
            "checkpoint": folder.name, "words": len(asked),
            "hypernym": sum(f"kind of {p.hypernym}." in s for p, s in zip(asked, said)),
            "verbatim": sum(p.answer == s for p, s in zip(asked, said)),
            "held_out_perplexity": round(perplexity(net, tokenizer, held), 3),
            "seen_perplexity": round(perplexity(net, tokenizer, asked), 3)})
        print(json.dumps(results[-1]), flush=True)
        for pair, text in list(zip(asked, said))[:4]:
            print(f"    {pair.word}: {text}")
    if a.json:
        a.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
