#!/usr/bin/env python3
"""Writes a random tiny Qwen3-MoE checkpoint whose logits, routes and attention are far from flat.

    make_random.py OUT_DIR --seed 1 [--hidden 128 --layers 3 ...] [--dtype bf16|f16|f32] [--int4 GROUP]

Holds     the same arguments give the same bytes; each tensor begins at a multiple of 8 bytes
"""
import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np

NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.uint16): "BF16",
         np.dtype(np.int32): "I32", np.dtype(np.int64): "I64"}


def bf16(x):
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


STORE = {"bf16": bf16, "f16": lambda x: x.astype(np.float16), "f32": lambda x: x.astype(np.float32)}


def plain_tensors(a, draw):
    """name -> f64; a linear layer keeps the scale of its input, so nothing dies or explodes."""
    t = {}

    def matrix(name, out, inputs, gain=1.0):
        t[name + ".weight"] = draw.normal(0, gain / np.sqrt(inputs), (out, inputs))

    def norm(name, size):
        t[name + ".weight"] = 1 + draw.normal(0, 0.1, size)

    def ffn(name, width):
        matrix(name + ".gate_proj", width, a.hidden, 1.5)
        matrix(name + ".up_proj", width, a.hidden, 1.5)
        matrix(name + ".down_proj", a.hidden, width)

    matrix("model.embed_tokens", a.vocab, a.hidden, 2.0)
    for n in range(a.layers):
        at = f"model.layers.{n}"
        norm(at + ".input_layernorm", a.hidden)
        norm(at + ".post_attention_layernorm", a.hidden)
        for p, heads in (("q", a.heads), ("k", a.kv_heads), ("v", a.kv_heads)):
            matrix(f"{at}.self_attn.{p}_proj", heads * a.head_dim, a.hidden)
            if a.attention_bias:
                t[f"{at}.self_attn.{p}_proj.bias"] = draw.normal(0, 0.3, heads * a.head_dim)
        matrix(at + ".self_attn.o_proj", a.hidden, a.heads * a.head_dim)
        if a.attention_bias:
            t[at + ".self_attn.o_proj.bias"] = draw.normal(0, 0.1, a.hidden)
        norm(at + ".self_attn.q_norm", a.head_dim)
        norm(at + ".self_attn.k_norm", a.head_dim)
        if n in a.dense_layers:
            ffn(at + ".mlp", a.intermediate)
            continue
        matrix(at + ".mlp.gate", a.experts, a.hidden, 1.5)
        for e in range(a.experts):
            ffn(f"{at}.mlp.experts.{e}", a.expert_width)
    norm("model.norm", a.hidden)
    if a.untied:
        matrix("lm_head", a.vocab, a.hidden, 2.0)
    return t


def int4(name, x, group):
    """The three tensors of a pack-quantized weight, rounded to nearest."""
    out, inputs = x.shape
    groups = x.reshape(out, -1, group)
    scale = bf16(np.abs(groups).max(2) / 7)
    exact = (scale.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    q = (np.clip(np.rint(groups / exact[:, :, None]), -8, 7) + 8).astype(np.uint32).reshape(out, -1, 8)
    words = (q << np.arange(0, 32, 4, dtype=np.uint32)).sum(2, dtype=np.uint32).view(np.int32)
    return {name + "_packed": words, name + "_scale": scale, name + "_shape": np.array(x.shape, np.int64)}


def write(path, tensors):
    """Longest alignment first, so that no tensor needs a hole before it."""
    order = sorted(tensors, key=lambda n: next(i for i, m in enumerate((64, 8, 1)) if tensors[n].nbytes % m == 0))
    header, offset = {}, 0
    for name in order:
        x = tensors[name]
        header[name] = {"dtype": NAMES[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + x.nbytes]}
        offset += x.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(tensors[n].tobytes() for n in order))


def config(a, tensors):
    c = {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
        "hidden_size": a.hidden, "num_hidden_layers": a.layers, "vocab_size": a.vocab,
        "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads, "head_dim": a.head_dim,
        "num_experts": a.experts, "num_experts_per_tok": a.top_k, "norm_topk_prob": not a.no_norm_topk,
        "moe_intermediate_size": a.expert_width, "intermediate_size": a.intermediate, "decoder_sparse_step": 1,
        "mlp_only_layers": a.dense_layers, "hidden_act": "silu", "attention_bias": a.attention_bias,
        "tie_word_embeddings": not a.untied, "rms_norm_eps": 1e-6, "rope_theta": a.theta,
        "max_position_embeddings": 2048, "bos_token_id": a.vocab - 3, "eos_token_id": a.vocab - 1,
        "torch_dtype": {"bf16": "bfloat16", "f16": "float16", "f32": "float32"}[a.dtype],
    }
    if a.int4:
        exact = [n[:-7] for n in tensors if n.endswith(("_proj.weight", "gate.weight"))]
        c["quantization_config"] = {
            "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head", *exact],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": a.int4}}}}
    return c


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=1)
    for name, value in (("hidden", 128), ("layers", 3), ("heads", 4), ("kv-heads", 2), ("head-dim", 64),
                        ("experts", 8), ("top-k", 2), ("expert-width", 64), ("intermediate", 256), ("vocab", 512)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--theta", type=float, default=10000.0)
    p.add_argument("--dense-layers", type=int, nargs="*", default=[], help="layers with one FFN (mlp_only_layers)")
    p.add_argument("--untied", action="store_true", help="a head of its own")
    p.add_argument("--attention-bias", action="store_true")
    p.add_argument("--no-norm-topk", action="store_true")
    p.add_argument("--dtype", choices=sorted(STORE), default="bf16")
    p.add_argument("--int4", type=int, metavar="GROUP", help="experts as pack-quantized int4")
    p.add_argument("--tokenizer", type=Path, help="a folder whose tokenizer*.json to copy")
    return p.parse_args()


def main():
    a = arguments()
    tensors = {}
    for name, x in plain_tensors(a, np.random.default_rng(a.seed)).items():
        packed = a.int4 and ".experts." in name
        tensors.update(int4(name, x, a.int4) if packed else {name: STORE[a.dtype](x)})
    a.out.mkdir(parents=True, exist_ok=True)
    write(a.out / "model.safetensors", tensors)
    (a.out / "config.json").write_text(json.dumps(config(a, tensors), indent=1) + "\n")
    if a.tokenizer:
        for file in a.tokenizer.glob("tokenizer*.json"):
            shutil.copyfile(file, a.out / file.name)
    print(f"{len(tensors)} tensors -> {a.out}")


if __name__ == "__main__":
    main()
