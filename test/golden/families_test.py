#!/usr/bin/env python3
"""Random checkpoints of each family are worth a comparison: their logits, routes and attention have spread, what was
drawn is what is read, and no word of config.json and no tensor is idle that should not be.

    families_test.py [--family NAME ...] [--seeds 4] [--first 1]
"""
import argparse
import copy
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import families
from families import FAMILIES
from forward import configuration, forward, load
from random_config import DRAWN, draw_config
from random_tensors import random_tensors

TOKENS, FEW = 150, 48  # of the first pass, and of each that has something changed
MATTERS = 0.01  # ten times what logits_test.py allows, so that it sees whatever a word does
REFUSED = KeyError, ValueError, IndexError, SystemExit  # by forward: it wants other tensors or shapes, or other words

# word of config.json -> what else to try of it; one of them must change the logits or be refused
ELSE = {
    "hidden_act": lambda v: ["gelu"], "rms_norm_eps": lambda v: [0.03],
    "rope_scaling": lambda v: [{"type": "linear", "factor": 4.0}],
    "rope_theta": lambda v: [1e4 if v > 1e4 else 1e6],
    "original_max_position_embeddings": lambda v: [v * 8, v // 8], "attention_factor": lambda v: [1.0],
    "beta_fast": lambda v: [v / 8, v * 8], "beta_slow": lambda v: [v * 8],
    "low_freq_factor": lambda v: [v / 4], "high_freq_factor": lambda v: [v * 2],
    "clip_qkv": lambda v: [None if v else 0.3], "q_lora_rank": lambda v: [None if v else 64],
    "n_shared_experts": lambda v: [None if v else 1], "num_experts_per_tok": lambda v: [v - 1 or 2],
    "decoder_sparse_step": lambda v: [1000], "moe_layer_freq": lambda v: [1000],
    "first_k_dense_replace": lambda v: [1000], "mlp_only_layers": lambda v: [list(range(4))],
    "n_group": lambda v: [v // 2 or 2], "topk_group": lambda v: [v + 1], "scoring_func": lambda v: ["none"],
    "topk_method": lambda v: ["none" if v == "greedy" else "greedy"],
    "weight_block_size": lambda v: [[64, 64]], "use_sliding_window": lambda v: [True],
    "sliding_window": lambda v: [4096],
    **{key: lambda v: [not v] for key in ("tie_word_embeddings", "attention_bias", "mlp_bias", "qkv_bias",
                                          "norm_topk_prob", "rope_interleave")},
    **{key: lambda v: ["linear" if v == "default" else "default"] for key in ("type", "rope_type")},
    **{key: lambda v: [v * 2] for key in (
        "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "kv_lora_rank",
        "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "routed_scaling_factor", "factor", "mscale",
        "mscale_all_dim")},
}
NO_ARITHMETIC = {"architectures", "model_type", "bos_token_id", "eos_token_id", "torch_dtype", "dtype", "quant_method",
                 "format", "ignore", "config_groups", "fmt", "activation_scheme"}
SHAPES = {"hidden_size", "vocab_size", "intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size",
          "num_experts", "num_local_experts", "n_routed_experts"}  # numpy takes them from the tensors


def idle(word, value, c):
    """Words that must change nothing where they stand."""
    latent = "kv_lora_rank" in c
    greedy = c["model_type"] == "deepseek_v2" and c.get("topk_method", "greedy") == "greedy"
    return (word in ("max_position_embeddings", "num_nextn_predict_layers")
            or word == "num_key_value_heads" and latent
            or word == "sliding_window" and not c.get("use_sliding_window", c["model_type"] == "mixtral")
            or word in ("n_group", "topk_group") and greedy
            or word == "topk_group" and c["n_group"] == 1
            or word == "use_sliding_window" and not c.get("sliding_window"))


def words(c):
    """(path, value) of all that config.json says or leaves to a default; positions and quantisation word by word."""
    stated = {**FAMILIES[c["model_type"]].defaults, **c}
    if "rope_parameters" in c:
        del stated["rope_theta"]  # the one inside counts
    for key, value in stated.items():
        inside = isinstance(value, dict)
        yield from (((key, k), v) for k, v in value.items()) if inside else [((key,), value)]


def changed(c, path, value):
    c = copy.deepcopy(c)
    at = c
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return c


class Checkpoint:
    def __init__(self, folder, family, seed):
        command = [sys.executable, "-B", Path(__file__).parent / "make_random.py", folder, "--seed", str(seed),
                   "--family", family]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        self.c, self.w = load(folder)
        self.written = json.loads((folder / "config.json").read_text())
        self.drawn, self.storage = draw_config(family, seed, {})
        self.draw = lambda: random_tensors(self.drawn, np.random.default_rng(seed))
        self.tokens = np.random.default_rng(seed).integers(0, self.c["vocab_size"], TOKENS)
        self.few = forward(self.c, self.w, self.tokens[:FEW])

    def effect(self, written):
        """Of another config.json on the logits; infinite where forward refuses it."""
        try:
            return np.abs(forward(configuration(written), self.w, self.tokens[:FEW]) - self.few).max()
        except REFUSED:
            return np.inf


def spread(t):
    """Logits are finite and differ by position, the first token is seen by the last, and routes vary."""
    routes, margins, plain_sum, plain_largest = [], [np.inf], families.expert_sum, families.largest

    def recorded_sum(w, at, x, chosen, weight, names):
        routes.append(np.sort(chosen, -1))
        return plain_sum(w, at, x, chosen, weight, names)

    def recorded_largest(scores, k):
        order = -np.sort(-scores, -1)
        if k < scores.shape[-1] and np.isfinite(order[:, k]).any():
            margins.append(np.nanmin(order[:, k - 1] - order[:, k]))
        return plain_largest(scores, k)

    families.expert_sum, families.largest = recorded_sum, recorded_largest
    try:
        logits = forward(t.c, t.w, t.tokens)
    finally:
        families.expert_sum, families.largest = plain_sum, plain_largest
    if not np.isfinite(logits).all() or logits.std() < 1:
        yield "logits are flat or not finite"
    if len(set(logits.argmax(-1))) < TOKENS // 10:
        yield "few tokens ever come first"
    other = t.tokens.copy()
    other[0] = (other[0] + 1) % t.c["vocab_size"]
    if np.abs(forward(t.c, t.w, other)[-1] - logits[-1]).max() < MATTERS:
        yield "the last position does not see the first"
    for n, chosen in enumerate(routes):
        if np.unique(chosen, axis=0, return_counts=True)[1].max() > 0.9 * TOKENS:
            yield f"nearly all tokens take the same experts in the sparse layer {n}"
    t.margin = min(margins)


def read_as_drawn(t):
    """A share of its largest value is all that a tensor loses in storage."""
    loss = {"bf16": 1 / 256, "f16": 1 / 1024, "f32": 1e-7, "fp8": 1 / 27}[t.storage["dtype"]]
    for name, x in t.draw().items():
        packed = t.storage["int4"] and ".experts." in name
        if np.abs(t.w[name] - x).max() > (1 / 13 if packed else loss) * np.abs(x).max():
            yield f"{name} is not what was drawn"


def words_matter(t):
    """Each word of config.json alone changes the logits, unless it must not."""
    for path, value in words(t.written):
        word = path[-1]
        if word in NO_ARITHMETIC or word in SHAPES:
            continue
        if idle(word, value, t.written):
            other = 4096 if value is None else not value if isinstance(value, bool) else value * 2
            if t.effect(changed(t.written, path, other)) > 0:
                yield f"{'.'.join(path)} should change nothing here"
        elif word == "weight_block_size":  # the reader's, not the configuration's
            t.w.block, known, t.w.known = (64, 64), t.w.known, {}
            if t.effect(t.written) < MATTERS:
                yield "weight_block_size changes nothing"
            t.w.block, t.w.known = (128, 128), known
        elif word not in ELSE:
            yield f"nobody says what {'.'.join(path)} should do"
        elif max(t.effect(changed(t.written, path, v)) for v in ELSE[word](value)) < MATTERS:
            yield f"{'.'.join(path)} = {value} changes nothing"


def tensors_matter(t):
    """Zero in place of all tensors of one kind changes the logits; those of a layer past the last do not."""
    kinds, last = {}, t.c["num_hidden_layers"]
    for name in t.draw():
        layer = int((re.match(r"model\.layers\.(\d+)", name) or [0, 0])[1])
        kinds.setdefault((layer >= last, re.sub(r"\.\d+\.", ".N.", name)), []).append(name)
    for (beyond, kind), names in kinds.items():
        exact = {name: t.w[name] for name in names}
        t.w.known.update({name: np.zeros_like(x) for name, x in exact.items()})
        effect = t.effect(t.written)
        t.w.known.update(exact)
        if effect > 0 if beyond else effect < MATTERS:
            yield f"{kind} {'is used' if beyond else 'is idle'}"


def styles_agree(t):
    """v4's and v5's ways to write positions mean the same."""
    c = dict(t.written)
    if "rope_parameters" in c:
        r = c.pop("rope_parameters")
        c["rope_theta"] = r["rope_theta"]
        c["rope_scaling"] = {k: v for k, v in r.items() if k != "rope_theta"}
    else:
        theta = c.pop("rope_theta", FAMILIES[c["model_type"]].defaults["rope_theta"])
        c["rope_parameters"] = {"rope_theta": theta, "rope_type": "default", **(c.pop("rope_scaling", None) or {})}
        if "type" in c["rope_parameters"]:
            c["rope_parameters"]["rope_type"] = c["rope_parameters"].pop("type")
    if t.effect(c) > 0:
        yield "the other style of positions means something else"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--family", nargs="*", choices=sorted(DRAWN), default=list(DRAWN))
    p.add_argument("--seeds", type=int, default=4)
    p.add_argument("--first", type=int, default=1)
    a = p.parse_args()
    failures = 0
    for family in a.family:
        for seed in range(a.first, a.first + a.seeds):
            with tempfile.TemporaryDirectory() as scratch:
                t = Checkpoint(Path(scratch), family, seed)
                wrong = [f"{law.__name__}: {what}" for law in (spread, read_as_drawn, words_matter, tensors_matter,
                                                               styles_agree) for what in law(t)]
            stored = " ".join(f"{k} {v}" for k, v in t.storage.items())
            print(f"{family} seed {seed}: {stored}, closest routes {t.margin:.0e}", flush=True)
            print("".join(f"  {what}\n" for what in wrong), end="", flush=True)
            failures += len(wrong)
    print(f"{failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
