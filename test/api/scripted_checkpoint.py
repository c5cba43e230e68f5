#!/usr/bin/env python3
"""Writes a checkpoint whose every logit is known: a real Qwen3-MoE whose attention and experts add nothing, so that the last token alone decides.

    scripted_checkpoint.py FORMAT OUT [--seed N]      FORMAT of chains.py: hermes, mistral, …

              embedding: 32 at the token's own place        norm: as it is        head: column t = what follows token t
    token t ─▶ [0 … 0 32 0 … 0] ─▶ + 0 (attention, experts) ─▶ [0 … 32 … 0] ─▶ logits = table[t], exactly in f32

Every number of the table is a multiple of 1/8 within 32, so that bf16 holds it. What a chain says next has BEST; what a row prefers, its
number; all else lies between FLOOR - 4 and FLOOR by the seed, and below that lie bytes of half characters and ids that are nobody's.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))
from chains import BEST, END, FLOOR, FORMATS, LOOPS, PLAIN, PREFERENCES, SPECIAL, template_of  # noqa: E402
from checkpoint_writer import write  # noqa: E402

VOCABULARY, HIDDEN, POSITIONS = 512, 1024, 4096
CONFIG = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": HIDDEN, "num_hidden_layers": 1, "vocab_size": VOCABULARY,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 64, "num_experts": 2, "num_experts_per_tok": 1, "norm_topk_prob": True,
    "moe_intermediate_size": 64, "intermediate_size": 64, "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu", "attention_bias": False,
    "tie_word_embeddings": False, "rms_norm_eps": 1e-12, "rope_theta": 10000.0, "max_position_embeddings": POSITIONS, "torch_dtype": "float32",
}


def byte_letters():
    """The letter that byte-level BPE writes for each byte."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(0x100, 0x200))
    return [chr(b) if b in shown else chr(next(hidden)) for b in range(256)]


class Scripted:
    """The vocabulary and the table of a format."""

    def __init__(self, form, seed=1):
        self.form, self.special = form, SPECIAL[form]
        self.begin, self.end = self.special[:2]
        self.chains = {**PLAIN, **FORMATS[form]}
        self.ids = {bytes([b]): b for b in range(256)}
        follows = list(self._follows())
        for piece in (p for pair in follows for p in pair[:2]):
            self._add(piece)
        for name in self.special:
            self._add(name)
        assert len(self.ids) <= VOCABULARY, f"{len(self.ids)} pieces"
        self.pieces = {i: p for p, i in self.ids.items()}
        draw = np.random.default_rng(seed)
        self.table = FLOOR - draw.integers(0, 33, (VOCABULARY, VOCABULARY)) / 8
        self.table[:, 0x80:0x100] -= 4
        self.table[:, len(self.ids):] -= 7
        seen = {}
        for piece, following, logit in follows:
            a, b = self.id(piece), self.id(following)
            if logit == BEST:
                assert seen.setdefault(a, b) == b, f"{form}: {piece!r} goes two ways"
            self.table[a, b] = logit

    def _follows(self):
        """(piece, next, logit)"""
        for name, pieces in self.chains.items():
            yield from ((a, b, BEST) for a, b in zip([self.cue(name), *pieces], pieces))
        for name, pieces in LOOPS.items():
            yield from ((a, b, BEST) for a, b in zip([f"[{name}]", *pieces], [*pieces, pieces[0]]))
        for piece, row in PREFERENCES.items():
            yield from ((piece, following, logit) for following, logit in row.items())

    def _add(self, piece):
        piece = self.end if piece is END else piece
        if piece not in self.ids:
            self.ids[piece] = len(self.ids)

    @staticmethod
    def cue(name):
        return name if name.startswith("{") else f"[{name}]"

    def id(self, piece):
        return self.ids[self.end if piece is END else piece]

    def added(self):
        return [p for p in self.ids if isinstance(p, str)]

    def encode(self, text):
        """The ids of a text of which every word is the template's: the longest added token at each place, else a byte."""
        out, longest_first = [], sorted(self.added(), key=len, reverse=True)
        while text:
            found = next((p for p in longest_first if text.startswith(p)), None)
            out += [self.ids[found]] if found else text[0].encode()
            text = text[len(found or text[0]):]
        return out

    def bytes_of(self, token):
        piece = self.pieces[token]
        return piece if isinstance(piece, bytes) else piece.encode()

    def text(self, ids):
        """As a client sees it."""
        return b"".join(self.bytes_of(i) for i in ids if self.pieces[i] not in self.special).decode(errors="replace")

    def says(self, name):
        """The text of a chain, and how many tokens it has, its end included."""
        return self.text(self.id(p) for p in self.chains[name]), len(self.chains[name])

    def log_softmax(self, token):
        """What follows `token`, of the raw logits."""
        row = self.table[token]
        return row - row.max() - np.log(np.exp(row - row.max()).sum())

    # ---- files

    def tokenizer(self):
        letters = byte_letters()
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        return {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": byte_level, "post_processor": byte_level,
                "decoder": byte_level,
                "added_tokens": [{"id": self.ids[p], "content": p, **flags, "special": p in self.special} for p in self.added()],
                "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": False,
                          "byte_fallback": False, "ignore_merges": False, "vocab": {letters[b]: b for b in range(256)}, "merges": []}}

    def tensors(self):
        c, f32 = CONFIG, np.float32
        draw, at = np.random.default_rng(2), "model.layers.0"
        q, kv = (c[n] * c["head_dim"] for n in ("num_attention_heads", "num_key_value_heads"))

        def some(out, inputs):
            return draw.normal(0, 1 / np.sqrt(inputs), (out, inputs)).astype(f32)
        t = {f"{at}.self_attn.q_proj.weight": some(q, HIDDEN), f"{at}.self_attn.k_proj.weight": some(kv, HIDDEN),
             f"{at}.self_attn.v_proj.weight": some(kv, HIDDEN), f"{at}.self_attn.o_proj.weight": np.zeros((HIDDEN, q), f32),
             f"{at}.mlp.gate.weight": some(c["num_experts"], HIDDEN)}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            t[f"{at}.{norm}.weight"] = np.ones(HIDDEN, f32)
        for norm in ("q_norm", "k_norm"):
            t[f"{at}.self_attn.{norm}.weight"] = np.ones(c["head_dim"], f32)
        for e in range(c["num_experts"]):
            width = c["moe_intermediate_size"]
            t |= {f"{at}.mlp.experts.{e}.gate_proj.weight": some(width, HIDDEN), f"{at}.mlp.experts.{e}.up_proj.weight": some(width, HIDDEN),
                  f"{at}.mlp.experts.{e}.down_proj.weight": np.zeros((HIDDEN, width), f32)}
        scale = np.sqrt(HIDDEN)  # a vector with this in one place has a mean square of 1
        head = np.zeros((VOCABULARY, HIDDEN), f32)
        head[:, :VOCABULARY] = self.table.T / scale
        return t | {"model.embed_tokens.weight": np.eye(VOCABULARY, HIDDEN, dtype=f32) * f32(scale), "model.norm.weight": np.ones(HIDDEN, f32),
                    "lm_head.weight": head}

    def write(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        ends = {"bos_token_id": self.ids[self.begin], "eos_token_id": self.ids[self.end]}

        def put(name, what):
            (folder / name).write_text(json.dumps(what, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        put("config.json", {**CONFIG, **ends})
        put("generation_config.json", {**ends, "do_sample": False})
        put("tokenizer.json", self.tokenizer())
        put("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": self.begin, "eos_token": self.end,
                                      "model_max_length": POSITIONS, "chat_template": self.template()})
        write(folder / "model.safetensors", self.tensors())

    def template(self):
        return (HERE / "chat_templates" / f"{template_of(self.form)}.jinja").read_text(encoding="utf-8")


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("form", choices=FORMATS, metavar="FORMAT")
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    Scripted(a.form, a.seed).write(a.out)
