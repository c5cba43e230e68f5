#!/usr/bin/env python3
"""Reference forward pass of a Qwen3-MoE checkpoint, in numpy and double precision; no other dependency.

    forward.py CHECKPOINT_DIR --tokens 1,2,3 [--full]

Prints    {"positions": [{"top": [[id, logit] x 5]}, ...]}; --full adds "logits", every one of them
Reads     one safetensors file or an index of several; f64, f32, f16, bf16, and compressed-tensors
          pack-quantized int4 (symmetric)
Follows   the formulas, not the engine: written to be read beside it, and shares no code with it
"""
import argparse
import json
import struct
from pathlib import Path

import numpy as np

PLAIN = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I32": np.int32, "I64": np.int64}


class Weights:
    """Tensors of a checkpoint folder by name, as doubles, read when asked for."""

    def __init__(self, folder):
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
        self.entries, self.known = {}, {}
        for path in (folder / s for s in sorted(shards)):
            with path.open("rb") as f:
                length = struct.unpack("<Q", f.read(8))[0]
                for name, t in json.loads(f.read(length)).items():
                    if name != "__metadata__":
                        self.entries[name] = path, 8 + length, t

    def __contains__(self, name):
        return name in self.entries

    def raw(self, name):
        path, start, t = self.entries[name]
        begin, end = t["data_offsets"]
        kind = np.dtype(PLAIN[t["dtype"]])
        x = np.fromfile(path, kind, (end - begin) // kind.itemsize, offset=start + begin).reshape(t["shape"])
        return (x.astype(np.uint32) << 16).view(np.float32) if t["dtype"] == "BF16" else x

    def unpacked(self, name):
        """int4 [out, in / 8] of i32, lowest nibble first, stored + 8; one scale a group of inputs."""
        words, scale = self.raw(name + "_packed").view(np.uint32), self.raw(name + "_scale").astype(np.float64)
        out, inputs = self.raw(name + "_shape").tolist()
        q = np.stack([words >> 4 * i & 15 for i in range(8)], -1).reshape(out, -1)[:, :inputs].astype(np.float64) - 8
        return q * np.repeat(scale, inputs // scale.shape[1], 1)

    def __getitem__(self, name):
        if name not in self.known:
            packed = name + "_packed" in self
            self.known[name] = self.unpacked(name) if packed else self.raw(name).astype(np.float64)
        return self.known[name]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps) * weight


def rope(x, theta):
    """x [T, heads, head_dim]: rotates (i, i + head_dim / 2) by position * theta^(-2i / head_dim)."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None, None] * theta ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def linear(w, name, x):
    y = x @ w[name + ".weight"].T
    return y + w[name + ".bias"] if name + ".bias" in w else y


def attention(c, w, at, x):
    """Causal, grouped queries; q and k are normalised per head before RoPE."""
    tokens, dim = len(x), c["head_dim"]
    q, k, v = (linear(w, f"{at}.{p}_proj", x).reshape(tokens, -1, dim) for p in "qkv")
    q = rope(rms_norm(q, w[f"{at}.q_norm.weight"], c["rms_norm_eps"]), c["rope_theta"])
    k = rope(rms_norm(k, w[f"{at}.k_norm.weight"], c["rms_norm_eps"]), c["rope_theta"])
    share = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, share, 1), np.repeat(v, share, 1)
    scores = np.einsum("thd,shd->hts", q, k) / np.sqrt(dim)
    scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
    return linear(w, f"{at}.o_proj", np.einsum("hts,shd->thd", softmax(scores), v).reshape(tokens, -1))


def ffn(w, at, x):
    """down(silu(gate x) * up x)"""
    gate = linear(w, f"{at}.gate_proj", x)
    return linear(w, f"{at}.down_proj", gate / (1 + np.exp(-gate)) * linear(w, f"{at}.up_proj", x))


def experts(c, w, at, x):
    """The top-k experts of each token by probability (the lower number wins a tie), summed by weight."""
    p = softmax(linear(w, f"{at}.gate", x))
    chosen = np.argsort(-p, axis=-1, kind="stable")[:, :c["num_experts_per_tok"]]
    route = np.take_along_axis(p, chosen, -1)
    if c.get("norm_topk_prob", False):
        route /= route.sum(-1, keepdims=True)
    y = np.zeros_like(x)
    for e in np.unique(chosen):
        t, k = np.nonzero(chosen == e)
        y[t] += route[t, k, None] * ffn(w, f"{at}.experts.{e}", x[t])
    return y


def is_sparse(c, layer):
    return (layer not in c.get("mlp_only_layers", []) and c["num_experts"] > 0
            and (layer + 1) % c.get("decoder_sparse_step", 1) == 0)


def forward(c, w, tokens):
    """Logits [T, vocab] of one sequence from position 0."""
    x = w["model.embed_tokens.weight"][np.asarray(tokens)]
    for n in range(c["num_hidden_layers"]):
        at = f"model.layers.{n}"
        x = x + attention(c, w, f"{at}.self_attn", rms_norm(x, w[f"{at}.input_layernorm.weight"], c["rms_norm_eps"]))
        h = rms_norm(x, w[f"{at}.post_attention_layernorm.weight"], c["rms_norm_eps"])
        x = x + (experts(c, w, f"{at}.mlp", h) if is_sparse(c, n) else ffn(w, f"{at}.mlp", h))
    head = "model.embed_tokens.weight" if c.get("tie_word_embeddings", False) else "lm_head.weight"
    return rms_norm(x, w["model.norm.weight"], c["rms_norm_eps"]) @ w[head].T


def load(folder):
    """(config, weights) of a checkpoint folder, with the defaults that the config may leave out."""
    c = json.loads((folder / "config.json").read_text())
    rope_parameters = c.get("rope_parameters") or {}
    c.setdefault("rope_theta", rope_parameters.get("rope_theta", 10000.0))
    c.setdefault("head_dim", c["hidden_size"] // c["num_attention_heads"])
    if (c.get("rope_scaling") or rope_parameters).get("rope_type", "default") != "default":
        raise SystemExit("forward.py: RoPE scaling is not supported")
    return c, Weights(folder)


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
