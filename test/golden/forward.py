#!/usr/bin/env python3
"""Reference forward pass of a Hugging Face checkpoint, in numpy and double precision; no other dependency.

    forward.py CHECKPOINT_DIR --tokens 1,2,3 [--full]

Prints    {"positions": [{"top": [[id, logit] x 5]}, ...]}; --full adds "logits", every one of them
Reads     what checkpoint_reader.py does, of the families in families.py
Follows   the formulas, not the engine: written to be read beside it, and shares no code with it
"""
import argparse
import json
from pathlib import Path

import numpy as np

from checkpoint_reader import Weights
from families import FAMILIES, feed_forward, rms_norm
from rope import KINDS

NONE_IS_A_VALUE = ("q_lora_rank", "n_shared_experts")  # elsewhere null is the default


def check(condition, what):
    if not condition:
        raise SystemExit(f"forward.py: {what} is not supported")


def positions(c):
    """v4 of the reference library writes rope_theta and rope_scaling, v5 puts both into rope_parameters."""
    r = {"rope_theta": c["rope_theta"], "original_max_position_embeddings": c.get("max_position_embeddings"),
         **(c.get("rope_scaling") or c.get("rope_parameters") or {})}
    r["rope_type"] = r.get("rope_type", r.get("type", "default"))
    check(r["rope_type"] in KINDS, f"rope_type {r['rope_type']}")
    return r


def configuration(written):
    """What config.json says, with the defaults of its family, and "rope" for all it says of positions."""
    check(written["model_type"] in FAMILIES, f"model_type {written['model_type']}")
    family = FAMILIES[written["model_type"]]
    c = {**family.defaults, **{k: v for k, v in written.items() if v is not None or k in NONE_IS_A_VALUE}}
    c.setdefault("head_dim", c["hidden_size"] // c["num_attention_heads"])
    c.setdefault("num_key_value_heads", c["num_attention_heads"])
    c.setdefault("num_experts", c.get("num_local_experts", 0))  # v5 writes Mixtral's word for Qwen3-MoE too
    c["rope"] = positions(c)
    for word in family.fixed:
        check(c[word] == family.defaults[word], f"{word} {c[word]}")
    windowed = c.get("use_sliding_window", c["model_type"] == "mixtral") and c.get("sliding_window")
    check(not windowed, "a sliding window")
    return c


def forward(c, w, tokens):
    """Logits [T, vocab] of one sequence from position 0."""
    x, attention = w["model.embed_tokens.weight"][np.asarray(tokens)], FAMILIES[c["model_type"]].attention
    for n in range(c["num_hidden_layers"]):  # a layer of a higher number only guesses ahead
        at = f"model.layers.{n}"
        x = x + attention(c, w, f"{at}.self_attn", rms_norm(x, w[f"{at}.input_layernorm.weight"], c["rms_norm_eps"]))
        h = rms_norm(x, w[f"{at}.post_attention_layernorm.weight"], c["rms_norm_eps"])
        x = x + feed_forward(c, w, n, at, h)
    head = "model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"
    return rms_norm(x, w["model.norm.weight"], c["rms_norm_eps"]) @ w[head].T


def load(folder):
    """(configuration, weights) of a checkpoint folder."""
    c = configuration(json.loads((folder / "config.json").read_text()))
    return c, Weights(folder, c.get("quantization_config", {}).get("weight_block_size", (128, 128)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=Path)
    p.add_argument("--tokens", required=True, help="comma-separated ids")
    p.add_argument("--full", action="store_true", help="print every logit")
    a = p.parse_args()
    logits = forward(*load(a.checkpoint), [int(t) for t in a.tokens.split(",")])
    positions = []
    for row in logits:
        top = np.argsort(-row, kind="stable")[:5]
        positions.append({"top": [[int(i), float(row[i])] for i in top]})
        if a.full:
            positions[-1]["logits"] = row.tolist()
    print(json.dumps({"positions": positions}))


if __name__ == "__main__":
    main()
