"""`quadrant quantize` writes what an independent reader understands, with the errors that it prints, for several families.

    quantize_test.py PROGRAM
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from forward import Weights, forward, load
from program import logits

CASES = [("mixtral", 1, []), ("qwen2_moe", 3, []), ("deepseek_v3", 3, ["--dtype", "fp8"]), ("olmoe", 1, ["--dtype", "f16"])]
TOLERANCE = 1e-3


def quantize(program, *arguments):
    return subprocess.run([program, "quantize", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def spoil(folder):
    """Gives one FFN matrix a word of ones: NaN in every format."""
    w = Weights(folder)
    name = next(n for n in w.entries if n.endswith((".gate_proj.weight", ".w1.weight")) and "layers.1." in n)
    path, start, t = w.entries[name]
    with path.open("r+b") as f:
        f.seek(start + t["data_offsets"][0])
        f.write(b"\xff" * 4)


def check_errors(lines, source, target):
    """Each layer's error, computed again from both checkpoints; the search never leaves more than no clip does."""
    for line in lines:
        squared = weights = 0
        for name in {n[:-7] for n in target.entries if n.endswith("_packed") and f"layers.{line['layer']}." in n}:
            squared += np.square(target[name] - source[name]).sum()
            weights += np.square(source[name]).sum()
        assert abs(np.sqrt(squared / weights) - line["error"]) < 1e-4, (line, np.sqrt(squared / weights))
        assert 0 < line["error"] <= line["error_unclipped"] < 0.2, line


def main(program):
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory() as scratch:
        for family, seed, flags in CASES:
            source, target = Path(scratch, family), Path(scratch, family + "-int4")
            subprocess.run([sys.executable, "-B", here / "make_random.py", source, "--family", family, "--seed", str(seed),
                            "--set", "int4=null", *flags], check=True, stdout=subprocess.DEVNULL)
            done = quantize(program, source, target, "--json")
            assert done.returncode == 0 and done.stderr == "", done.stderr
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            (config, exact), (new_config, packed) = load(source), load(target)
            assert {k: v for k, v in new_config.items() if k != "quantization_config"} == \
                {k: v for k, v in config.items() if k != "quantization_config"}
            check_errors(lines, exact, packed)
            tokens = np.random.default_rng(seed).integers(0, config["vocab_size"], 60).tolist()
            found = np.abs(logits(program, target, tokens, "--precision", "f32") - forward(new_config, packed, tokens)).max()
            assert found < TOLERANCE, (family, found)
            before = (target / "model.safetensors").read_bytes()
            assert quantize(program, source, target).returncode == 0 and (target / "model.safetensors").read_bytes() == before
            again = quantize(program, target, Path(scratch, "again"))
            assert again.returncode != 0 and "quantised already" in again.stderr and again.stderr.count("\n") == 1, again.stderr
            spoil(source)
            spoilt = quantize(program, source, Path(scratch, family + "-spoilt"))
            assert spoilt.returncode != 0 and "NaN or Inf" in spoilt.stderr and spoilt.stderr.count("\n") == 1, spoilt.stderr
            into = quantize(program, source, source)
            assert into.returncode != 0 and "name another directory" in into.stderr, into.stderr
            print(f"{found:.1e}  {family} seed {seed}: {len(lines)} layers, error {max(line['error'] for line in lines):.4f}")


if __name__ == "__main__":
    main(sys.argv[1])
