"""Rounds the experts of a checkpoint to int4: compressed-tensors, format pack-quantized, symmetric.

    quantise.py --checkpoint DIR --out DIR [--group 128]

w ~ q * scale, q in [-8, 7], one bf16 scale for `group` inputs of an output row: clip * max|w| / 7, the clip
being the one of CLIPS with the least squared error. All other tensors become bf16.
"""
import argparse
import json
import shutil
from pathlib import Path

import numpy as np

import checkpoint

CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)  # train.py rounds with them too


def quantise(weight, group):
    """weight [out, in] -> q [out, in] of int8, scale [out, in / group]."""
    rows, inputs = weight.shape
    groups = weight.astype(np.float32).reshape(-1, group)
    largest = np.maximum(np.abs(groups).max(1, keepdims=True), 1e-12)
    best = None
    for clip in CLIPS:
        scale = checkpoint.from_bf16(checkpoint.to_bf16(largest * np.float32(clip) / 7))
        q = np.clip(np.rint(groups / scale), -8, 7)
        error = np.square(q * scale - groups).sum(1, keepdims=True)
        if best is None:
            best = [error, q, scale]
        else:
            better = error < best[0]
            best = [np.where(better, new, old) for new, old in zip((error, q, scale), best)]
    return best[1].astype(np.int8).reshape(rows, inputs), best[2].reshape(rows, inputs // group)


def pack(q):
    """q [out, in] -> i32 [out, in / 8]; the lowest nibble is the first input, stored + 8."""
    nibbles = (q.astype(np.int16) + 8).astype(np.uint32).reshape(q.shape[0], -1, 8)
    return (nibbles << np.arange(0, 32, 4, dtype=np.uint32)).sum(2, dtype=np.uint32).view(np.int32)


def unpack(words, scale, shape):
    """What the engine computes with: q * scale [out, in]; the scale as f32."""
    q = np.stack([words.view(np.uint32) >> 4 * i & 15 for i in range(8)], -1).reshape(shape).astype(np.float32) - 8
    return q * np.repeat(scale, shape[1] // scale.shape[1], 1)


def plain_checkpoint(tensors):
    """Any checkpoint's tensors with the packed ones as f32 again."""
    out = {n: t for n, t in tensors.items() if not n.endswith(("_packed", "_scale", "_shape"))}
    for name in (n[:-len("_packed")] for n in tensors if n.endswith("_packed")):
        out[name] = unpack(*(tensors[name + part] for part in ("_packed", "_scale", "_shape")))
    return out


def packed_checkpoint(tensors, group):
    out = {}
    for name, t in tensors.items():
        if ".experts." not in name:
            out[name] = checkpoint.to_bf16(t)
            continue
        q, scale = quantise(t, group)
        out[name + "_packed"], out[name + "_scale"] = pack(q), checkpoint.to_bf16(scale)
        out[name + "_shape"] = np.array(t.shape, np.int64)
    return out


def quantization_config(tensors, group):
    exact = sorted(n[:-len(".weight")] for n in tensors
                   if n.endswith(("_proj.weight", "mlp.gate.weight")) and ".experts." not in n)
    return {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed",
        "config_groups": {"group_0": {
            "targets": ["Linear"], "input_activations": None, "output_activations": None,
            "weights": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group,
                        "dynamic": False}}},
        "ignore": ["lm_head", *exact],
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--group", type=int, default=128)
    a = p.parse_args()
    tensors = checkpoint.read(a.checkpoint / "model.safetensors")
    packed = packed_checkpoint(tensors, a.group)
    a.out.mkdir(parents=True, exist_ok=True)
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(a.checkpoint / name, a.out / name)
    config = json.loads((a.checkpoint / "config.json").read_text())
    config.update(torch_dtype="bfloat16", quantization_config=quantization_config(tensors, a.group))
    (a.out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    size = checkpoint.write(a.out / "model.safetensors", packed)
    print(f"{len(packed)} tensors, {size / 1e6:.1f} MB -> {a.out}")


if __name__ == "__main__":
    main()
