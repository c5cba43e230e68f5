"""The tensors of a checkpoint folder as doubles, whatever they are stored as.

Reads     one safetensors file or an index of several: f64, f32, f16, bf16, integers; compressed-tensors pack-quantized
          int4 (symmetric); e4m3 with one scale per block
"""
import json
import struct

import numpy as np

STORED = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "F8_E4M3": np.uint8,
          "I32": np.int32, "I64": np.int64}


def e4m3_values():
    """Of the 256 codes: a sign, 4 bits of exponent with bias 7, 3 of mantissa; no infinity, and all ones is NaN."""
    code = np.arange(128)
    exponent, mantissa = code >> 3, code & 7
    x = np.where(exponent == 0, mantissa * 2.0**-9, (8 + mantissa) * 2.0 ** (exponent - 10))
    x[127] = np.nan
    return np.concatenate([x, -x])


DECODED = {"BF16": lambda x: (x.astype(np.uint32) << 16).view(np.float32), "F8_E4M3": lambda x: e4m3_values()[x]}


class Weights:
    """By name, read when asked for. `block` is the [rows, columns] that share a scale in an e4m3 checkpoint."""

    def __init__(self, folder, block=(128, 128)):
        index = folder / "model.safetensors.index.json"
        shards = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else {"model.safetensors"}
        self.entries, self.known, self.block = {}, {}, block
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
        kind = np.dtype(STORED[t["dtype"]])
        x = np.fromfile(path, kind, (end - begin) // kind.itemsize, offset=start + begin).reshape(t["shape"])
        return DECODED.get(t["dtype"], lambda x: x)(x)

    def unpacked(self, name):
        """int4 [out, in / 8] of i32, lowest nibble first, stored + 8; one scale a group of inputs."""
        words, scale = self.raw(name + "_packed").view(np.uint32), self.raw(name + "_scale").astype(np.float64)
        out, inputs = self.raw(name + "_shape").tolist()
        q = np.stack([words >> 4 * i & 15 for i in range(8)], -1).reshape(out, -1)[:, :inputs].astype(np.float64) - 8
        return q * np.repeat(scale, inputs // scale.shape[1], 1)

    def scaled(self, name):
        """e4m3 [out, in] times (not over) the scale of its block; the last block of either axis may be cut short."""
        x, scale = self.raw(name), self.raw(name + "_scale_inv").astype(np.float64)
        for axis, size in enumerate(self.block):
            scale = np.repeat(scale, size, axis)
        return x * scale[:x.shape[0], :x.shape[1]]

    def __getitem__(self, name):
        if name not in self.known:
            if name + "_packed" in self:
                self.known[name] = self.unpacked(name)
            elif name + "_scale_inv" in self:
                self.known[name] = self.scaled(name)
            else:
                self.known[name] = self.raw(name).astype(np.float64)
        return self.known[name]
