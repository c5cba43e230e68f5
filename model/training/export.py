"""Writes what train.py has learned as a Qwen3-MoE checkpoint in the Hugging Face layout.

    export.py --work DIR --out CHECKPOINT_DIR [--dtype bf16|f32]

f32 is exact, and what quantise.py and evaluate.py compare with.
"""
import argparse
import json
import shutil
from pathlib import Path

import torch

import checkpoint
from net import Net, Shape
from weights import SharedWeights

TEMPLATE = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
CONTEXT = 2048


def config(s, dtype):
    return {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
        "hidden_size": s.hidden, "num_hidden_layers": s.layers, "vocab_size": s.vocab,
        "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads, "head_dim": s.head_dim,
        "num_experts": s.experts, "num_experts_per_tok": s.top_k, "norm_topk_prob": True,
        "moe_intermediate_size": s.expert_width, "intermediate_size": s.expert_width,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu", "attention_bias": False,
        "tie_word_embeddings": True, "rms_norm_eps": s.eps, "rope_theta": s.theta,
        "max_position_embeddings": CONTEXT, "torch_dtype": dtype,
        "bos_token_id": s.vocab - 3, "eos_token_id": s.vocab - 1,
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    a = p.parse_args()
    shape = Shape(**json.loads((a.work / "shape.json").read_text()))
    weights = SharedWeights(Net(shape), processes=1, group=128)
    weights.load({k: v for k, v in torch.load(a.work / "state.pt").items() if k in weights.state()})
    tensors = checkpoint.split_experts(weights.tensors())
    if a.dtype == "bf16":
        tensors = {n: checkpoint.to_bf16(t) for n, t in tensors.items()}
    a.out.mkdir(parents=True, exist_ok=True)
    size = checkpoint.write(a.out / "model.safetensors", tensors)
    write_json(a.out / "config.json", config(shape, {"bf16": "bfloat16", "f32": "float32"}[a.dtype]))
    write_json(a.out / "generation_config.json", {
        "bos_token_id": shape.vocab - 3, "eos_token_id": [shape.vocab - 1, shape.vocab - 3],
        "do_sample": False, "max_new_tokens": 128})
    write_json(a.out / "tokenizer_config.json", {
        "tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "model_max_length": CONTEXT, "chat_template": TEMPLATE})
    shutil.copyfile(a.work / "tokenizer.json", a.out / "tokenizer.json")
    print(f"{len(tensors)} tensors, {size / 1e6:.1f} MB -> {a.out}")


if __name__ == "__main__":
    main()
