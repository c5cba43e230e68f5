"""safetensors in numpy, and the checkpoint's tensors as the stacked ones of net.py and back."""
import json
import re
import struct

import numpy as np

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32}


def to_bf16(x):
    """f32 -> the upper halves (u16), rounded to nearest even."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(halves):
    return (halves.astype(np.uint32) << 16).view(np.float32)


def read(path):
    """name -> array; bf16 comes as f32."""
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    tensors = {}
    for name, t in header.items():
        if name == "__metadata__":
            continue
        begin, end = t["data_offsets"]
        raw = np.frombuffer(data[begin:end], np.uint16 if t["dtype"] == "BF16" else DTYPES[t["dtype"]])
        tensors[name] = (from_bf16(raw) if t["dtype"] == "BF16" else raw).reshape(t["shape"])
    return tensors


def write(path, tensors):
    """name -> array; u16 is bf16. Each tensor begins at a multiple of 64 bytes, the small ones last.

    The format allows no holes, so sizes that are no multiple of 64 follow all others, the 8-aligned first.
    """
    names = {np.dtype(t): n for n, t in DTYPES.items()} | {np.dtype(np.uint16): "BF16"}
    order = sorted(tensors, key=lambda n: next(i for i, a in enumerate((64, 8, 1)) if tensors[n].nbytes % a == 0))
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in order:
        t = tensors[name]
        header[name] = {"dtype": names[t.dtype], "shape": list(t.shape), "data_offsets": [offset, offset + t.nbytes]}
        offset += t.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in order:
            f.write(np.ascontiguousarray(tensors[name]).tobytes())
    return 8 + len(text) + offset


def split_experts(stacked):
    """The tensors of net.py, by name -> those of a Qwen3-MoE checkpoint."""
    out = {}
    for name, t in stacked.items():
        at = f"model.{name.rsplit('.', 1)[0]}.experts"
        if name.endswith("mlp.gate_up"):
            for e, (gate, up) in enumerate(np.split(one, 2) for one in t):
                out[f"{at}.{e}.gate_proj.weight"], out[f"{at}.{e}.up_proj.weight"] = gate, up
        elif name.endswith("mlp.down"):
            for e, down in enumerate(t):
                out[f"{at}.{e}.down_proj.weight"] = down
        else:
            out["model." + name] = t
    return out


def stack_experts(tensors):
    """The reverse of split_experts."""
    out = {n[len("model."):]: t for n, t in tensors.items() if ".experts." not in n}
    for layer in sorted({n.split(".experts.")[0] for n in tensors if ".experts." in n}):
        count = 1 + max(int(m[1]) for n in tensors if (m := re.match(re.escape(layer) + r"\.experts\.(\d+)\.", n)))
        gate, up, down = ([tensors[f"{layer}.experts.{e}.{p}_proj.weight"] for e in range(count)]
                          for p in ("gate", "up", "down"))
        mlp = layer[len("model."):]
        out[mlp + ".gate_up"] = np.stack([np.concatenate(pair) for pair in zip(gate, up)])
        out[mlp + ".down"] = np.stack(down)
    return out
