"""Stores tensors the way checkpoints do: plain, pack-quantized int4, e4m3 by blocks; one safetensors file or several.

Holds     each tensor begins where its items may, without holes
"""
import json
import struct

import numpy as np

NAMES = {np.dtype(np.float32): "F32", np.dtype(np.float16): "F16", np.dtype(np.uint16): "BF16",
         np.dtype(np.uint8): "F8_E4M3", np.dtype(np.int32): "I32", np.dtype(np.int64): "I64"}


def bf16(x):
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


STORE = {"bf16": bf16, "f16": lambda x: x.astype(np.float16), "f32": lambda x: x.astype(np.float32)}


def int4(name, x, group):
    """The three tensors of a pack-quantized weight, rounded to nearest."""
    out, inputs = x.shape
    groups = x.reshape(out, -1, group)
    scale = bf16(np.abs(groups).max(2) / 7)
    exact = (scale.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    q = (np.clip(np.rint(groups / exact[:, :, None]), -8, 7) + 8).astype(np.uint32).reshape(out, -1, 8)
    words = (q << np.arange(0, 32, 4, dtype=np.uint32)).sum(2, dtype=np.uint32).view(np.int32)
    return {name + "_packed": words, name + "_scale": scale, name + "_shape": np.array(x.shape, np.int64)}


def e4m3(x):
    """The nearest codes of |x| <= 448: eight steps from each power of two to the next, down to 2^-9."""
    step = np.exp2(np.maximum(np.floor(np.log2(np.maximum(np.abs(x), 2.0**-6))), -6) - 3)
    value = np.rint(np.abs(x) / step)  # 8 to 16 steps, or fewer than 8 below 2^-6
    code = np.where(value < 8, value, (np.log2(step) + 9) * 8 + value)
    return (code + np.where(x < 0, 128, 0)).astype(np.uint8)


def fp8(name, x, block=128):
    """A weight as e4m3 and the scale of each block of it."""
    scale = np.array([[np.abs(x[i:i + block, j:j + block]).max() / 448 for j in range(0, x.shape[1], block)]
                      for i in range(0, x.shape[0], block)], np.float32)
    full = scale.astype(np.float64).repeat(block, 0).repeat(block, 1)[:x.shape[0], :x.shape[1]]
    return {name: e4m3(np.clip(x / full, -448, 448)), name + "_scale_inv": scale}


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


def write_shards(folder, tensors, shards):
    """About as many tensors in each file as in any other, in their order, and the index that finds them."""
    names, where = list(tensors), {}
    for i, part in enumerate(np.array_split(np.arange(len(names)), shards), 1):
        file = f"model-{i:05}-of-{shards:05}.safetensors"
        write(folder / file, {names[j]: tensors[names[j]] for j in part})
        where.update({names[j]: file for j in part})
    index = {"metadata": {"total_size": sum(x.nbytes for x in tensors.values())}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
