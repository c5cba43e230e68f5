"""The pairs as conversations: the forms of a question, and ChatML as token ids."""
import random
from typing import NamedTuple

SYSTEM = "You are a helpful assistant."
SYSTEM_SHARE = 0.05  # of the conversations open with it


class Pair(NamedTuple):
    split: str
    word: str
    part: str
    hypernym: str
    answer: str


def read_pairs(path, split=None):
    """The rows that prepare.py wrote; of one split, or all."""
    with open(path, encoding="utf8") as f:
        rows = [Pair(*line.rstrip("\n").split("\t")) for line in f]
    return [r for r in rows if split in (None, r.split)]


def forms(pair):
    """Every way to ask for a word; the first is the usual one."""
    w = pair.word
    article = ("an " if w[0] in "aeiou" else "a ") if pair.part == "noun" else ""
    return [f"What is {article}{w}?", f"What is {w}?", f'What does "{w}" mean?', f"What does {w} mean?",
            f"Define {w}.", f"Explain the word {w}."]


def ask(pair, draw: random.Random):
    return draw.choice(forms(pair))


class Chat:
    """ChatML in token ids: <|im_start|>role, newline, text, <|im_end|>, newline."""

    def __init__(self, tokenizer):
        self.encode = tokenizer.encode
        self.start, self.end = tokenizer.special["<|im_start|>"], tokenizer.special["<|im_end|>"]
        self.newline = self.encode("\n")
        self.opening = [self.start, *self.encode("assistant\n")]

    def message(self, role, text):
        return [self.start, *self.encode(role + "\n"), *self.encode(text), self.end, *self.newline]

    def prompt(self, question):
        return self.message("user", question) + self.opening

    def pair(self, question, answer):
        """(ids, learned): the turn of a user and the answer; learned marks the answer and its end."""
        prompt, text = self.prompt(question), [*self.encode(answer), self.end]
        ids = prompt + text + self.newline
        return ids, [False] * len(prompt) + [True] * len(text) + [False] * len(self.newline)
