#!/usr/bin/env python3
"""Writes a random tiny checkpoint whose logits, routes and attention are far from flat.

    make_random.py OUT_DIR --seed 1 [--hidden 128 --layers 3 ...] [--dtype bf16|f16|f32] [--int4 GROUP]
    make_random.py OUT_DIR --seed 1 --family olmoe [--layers 2 ...] [--set clip_qkv=0.5 ...]

--family  draws all that the flags and --set leave open; without it the model is a Qwen3-MoE of the sizes below
Holds     the same arguments give the same bytes
"""
import argparse
import json
import re
import shutil
from pathlib import Path

import numpy as np

from checkpoint_writer import STORE, fp8, int4, write, write_shards
from random_config import DRAWN, EXPERTS, TORCH, as_written, draw_config
from random_tensors import random_tensors

SIZES = {"hidden": 128, "layers": 3, "heads": 4, "kv_heads": 2, "head_dim": 64, "experts": 8, "top_k": 2,
         "expert_width": 64, "intermediate": 256, "vocab": 512, "theta": 10000.0, "dense_layers": [], "dtype": "bf16"}


def plain_config(a):
    for name, value in SIZES.items():
        if getattr(a, name) is None:
            setattr(a, name, value)
    return {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
        "hidden_size": a.hidden, "num_hidden_layers": a.layers, "vocab_size": a.vocab,
        "num_attention_heads": a.heads, "num_key_value_heads": a.kv_heads, "head_dim": a.head_dim,
        "num_experts": a.experts, "num_experts_per_tok": a.top_k, "norm_topk_prob": not a.no_norm_topk,
        "moe_intermediate_size": a.expert_width, "intermediate_size": a.intermediate, "decoder_sparse_step": 1,
        "mlp_only_layers": a.dense_layers, "hidden_act": "silu", "attention_bias": a.attention_bias,
        "tie_word_embeddings": not a.untied, "rms_norm_eps": 1e-6, "rope_theta": a.theta,
        "max_position_embeddings": 2048, "bos_token_id": a.vocab - 3, "eos_token_id": a.vocab - 1,
        "torch_dtype": TORCH[a.dtype],
    }, {"dtype": a.dtype, "int4": a.int4, "shards": 1}


def given(a):
    """What the flags say, by key of config.json."""
    width = "intermediate_size" if a.family in ("mixtral", "olmoe") else "moe_intermediate_size"
    keys = {"hidden": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
            "kv_heads": "num_key_value_heads", "head_dim": "head_dim", "experts": EXPERTS.get(a.family, "num_experts"),
            "top_k": "num_experts_per_tok", "intermediate": "intermediate_size", "expert_width": width,
            "vocab": "vocab_size", "theta": "rope_theta", "dense_layers": "mlp_only_layers", "dtype": "dtype",
            "int4": "int4"}
    said = {key: getattr(a, name) for name, key in keys.items() if getattr(a, name) is not None}
    switches = {"tie_word_embeddings": (a.untied, False), "attention_bias": (a.attention_bias, True),
                "norm_topk_prob": (a.no_norm_topk, False)}
    said.update((key, value) for key, (thrown, value) in switches.items() if thrown)
    said.update((key, json.loads(value)) for key, value in (item.split("=", 1) for item in a.set))
    return said


def stored(tensors, storage):
    """As they go into the files, and the quantization_config that says so."""
    out, group, fp8_wanted = {}, storage["int4"], storage["dtype"] == "fp8"
    if group and fp8_wanted:
        raise SystemExit("make_random.py: int4 or fp8, not both")
    plain = STORE["bf16" if fp8_wanted else storage["dtype"]]
    for name, x in tensors.items():
        if group and ".experts." in name:
            out.update(int4(name, x, group))
        elif fp8_wanted and re.search(r"\.(self_attn|mlp)\..*_proj\w*\.weight$", name):
            out.update(fp8(name, x))
        else:
            out[name] = (STORE["f32"] if name.endswith("e_score_correction_bias") else plain)(x)
    if group:
        linears = [n[:-7] for n, x in out.items() if n.endswith(".weight") and x.ndim == 2]
        exact = [n for n in linears if n not in ("model.embed_tokens", "lm_head")]
        return out, {
            "quant_method": "compressed-tensors", "format": "pack-quantized", "ignore": ["lm_head", *exact],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
                "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group}}}}
    if fp8_wanted:
        return out, {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                     "weight_block_size": [128, 128]}
    return out, None


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--family", choices=sorted(DRAWN))
    p.add_argument("--set", action="append", default=[], metavar="KEY=JSON",
                   help="with --family: a key of config.json, rope (without its theta) or shards")
    for name in ("hidden", "layers", "heads", "kv-heads", "head-dim", "experts", "top-k", "expert-width",
                 "intermediate", "vocab"):
        p.add_argument(f"--{name}", type=int, help=f"({SIZES[name.replace('-', '_')]})")
    p.add_argument("--theta", type=float, help="(10000)")
    p.add_argument("--dense-layers", type=int, nargs="*", help="layers with one FFN (mlp_only_layers)")
    p.add_argument("--untied", action="store_true", help="a head of its own")
    p.add_argument("--attention-bias", action="store_true")
    p.add_argument("--no-norm-topk", action="store_true")
    p.add_argument("--dtype", choices=[*sorted(STORE), "fp8"], help="(bf16)")
    p.add_argument("--int4", type=int, metavar="GROUP", help="experts as pack-quantized int4")
    p.add_argument("--tokenizer", type=Path, help="a folder whose tokenizer*.json to copy")
    a = p.parse_args()
    if a.set and not a.family:
        p.error("--set goes with --family")
    return a


def main():
    a = arguments()
    c, storage = draw_config(a.family, a.seed, given(a)) if a.family else plain_config(a)
    tensors = random_tensors(c, np.random.default_rng(a.seed), bias=0.1 if a.family else 0.3)
    tensors, quantization = stored(tensors, storage)
    if a.family:
        c = as_written(c, storage, a.seed)
    if quantization:
        c["quantization_config"] = quantization
    a.out.mkdir(parents=True, exist_ok=True)
    if storage["shards"] == 1:
        write(a.out / "model.safetensors", tensors)
    else:
        write_shards(a.out, tensors, storage["shards"])
    (a.out / "config.json").write_text(json.dumps(c, indent=1) + "\n")
    if a.tokenizer:
        for file in a.tokenizer.glob("tokenizer*.json"):
            shutil.copyfile(file, a.out / file.name)
    print(f"{len(tensors)} tensors -> {a.out}")


if __name__ == "__main__":
    main()
