"""Byte-level BPE: trains a vocabulary on the pairs, and encodes with it.

    tokenizer.py --pairs WORK/pairs.tsv --out WORK/tokenizer.json [--vocab 4096]

The file is in the Hugging Face layout of the Qwen family (its regex, NFC, ByteLevel, ChatML tokens last).
"""
import argparse
import collections
import heapq
import json
import random
import sys
from pathlib import Path

import regex

import questions

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
split_pieces = regex.compile(PATTERN).findall


def byte_chars():
    """GPT-2's table: every byte as a printable character."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


BYTE_TO_CHAR = byte_chars()
CHAR_TO_BYTE = {c: b for b, c in BYTE_TO_CHAR.items()}


def join(symbols, pair):
    """The symbols with each occurrence of the pair made one, from the left."""
    out, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i:i + 2]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def learn(piece_counts, size):
    """The 256 bytes and the most frequent merges, up to `size` symbols: (vocabulary, merges)."""
    words = [[BYTE_TO_CHAR[b] for b in piece.encode()] for piece in piece_counts]
    weight = list(piece_counts.values())
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weight[i]
            where[pair].add(i)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(heap)
    vocabulary, merges = [BYTE_TO_CHAR[b] for b in range(256)], []
    while len(vocabulary) < size:
        count, pair = heapq.heappop(heap)
        if pairs[pair] != -count:  # an outdated entry; the current one is in the heap too
            continue
        merges.append(pair)
        vocabulary.append(pair[0] + pair[1])
        touched = set()
        for i in list(where[pair]):
            for old in zip(words[i], words[i][1:]):
                pairs[old] -= weight[i]
                touched.add(old)
            words[i] = join(words[i], pair)
            for new in zip(words[i], words[i][1:]):
                pairs[new] += weight[i]
                where[new].add(i)
                touched.add(new)
        for changed in touched:
            if pairs[changed] > 0:
                heapq.heappush(heap, (-pairs[changed], changed))
    return vocabulary, merges


def layout(vocabulary, merges):
    """The content of tokenizer.json."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": len(vocabulary) + i, "content": s, **flags} for i, s in enumerate(SPECIAL)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {s: i for i, s in enumerate(vocabulary)}, "merges": [f"{a} {b}" for a, b in merges]},
    }


class Tokenizer:
    """Encodes text that holds no special token; those go in by id."""

    def __init__(self, path):
        file = json.loads(Path(path).read_text(encoding="utf8"))
        self.ids = file["model"]["vocab"]
        self.symbols = {i: s for s, i in self.ids.items()}
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(file["model"]["merges"])}
        self.special = {t["content"]: t["id"] for t in file["added_tokens"]}
        self.known = {}

    def _piece(self, piece):
        if piece not in self.known:
            symbols = [BYTE_TO_CHAR[b] for b in piece.encode()]
            while len(symbols) > 1:
                pair = min(zip(symbols, symbols[1:]), key=lambda p: self.ranks.get(p, sys.maxsize))
                if pair not in self.ranks:
                    break
                symbols = join(symbols, pair)
            self.known[piece] = [self.ids[s] for s in symbols]
        return self.known[piece]

    def encode(self, text):
        return [i for piece in split_pieces(text) for i in self._piece(piece)]

    def decode(self, ids):
        """The text of the ids; special tokens are left out."""
        chars = "".join(self.symbols[i] for i in ids if i in self.symbols)
        return bytes(CHAR_TO_BYTE[c] for c in chars).decode("utf8", "replace")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pairs", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--vocab", type=int, default=4096)
    a = p.parse_args()
    counts, draw = collections.Counter(), random.Random(3)
    pairs = questions.read_pairs(a.pairs)
    for pair in pairs:
        for _ in range(8):  # as eight passes over the pairs see them
            counts.update(split_pieces(questions.ask(pair, draw)))
        for piece in split_pieces(pair.answer):
            counts[piece] += 8
    counts.update({"user": 100_000, "assistant": 100_000, "system": 1_000, "\n": 300_000})
    vocabulary, merges = learn(counts, a.vocab - len(SPECIAL))
    a.out.write_text(json.dumps(layout(vocabulary, merges), ensure_ascii=False, indent=0), encoding="utf8")
    print(f"{len(vocabulary) + len(SPECIAL)} tokens from {len(counts)} pieces -> {a.out}")


if __name__ == "__main__":
    main()
