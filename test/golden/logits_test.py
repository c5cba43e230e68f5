"""`quadrant logits --precision f32` agrees with forward.py on every logit, for every kind of checkpoint and split over workers.

    logits_test.py PROGRAM ROOT
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from forward import forward, load
from program import logits

TOLERANCE = 1e-3  # absolute; rounding of f32 stays two orders below
TOKENS = 150  # ends in the third KV block

RANDOM = [  # arguments of make_random.py
    [],
    ["--dtype", "f16", "--untied"],
    ["--dtype", "f32", "--attention-bias", "--no-norm-topk", "--theta", "1000000"],
    ["--dense-layers", "0", "2", "--experts", "6", "--top-k", "3"],
    ["--int4", "64", "--untied", "--attention-bias"],
    ["--int4", "128", "--expert-width", "128", "--kv-heads", "4", "--layers", "4", "--no-norm-topk"],
    ["--dtype", "f32", "--hidden", "192", "--heads", "6", "--head-dim", "32", "--vocab", "1000", "--top-k", "1"],
]


# family -> seeds of `make_random.py --family`; FAMILIES.md says which mistakes these show, and which seeds put two experts so
# close together that f32 may rightly choose the other one
FAMILIES = {
    "llama": (2, 5, 6, 7, 9), "qwen3": (1, 8, 11, 12, 19), "qwen3_moe": (1, 2, 3, 4, 5, 8), "qwen2_moe": (1, 3, 4, 7, 8, 11),
    "mixtral": (1, 4, 7, 10, 17), "olmoe": (1, 3, 5, 6, 8), "deepseek_v2": (1, 2, 3, 5, 7, 11),
    "deepseek_v3": (1, 3, 4, 5, 6, 8, 10),
}


def held_out(folder, count):
    ids = (folder / "heldout_tokens.txt").read_text().replace("\n", ",").split(",")
    return [int(i) for i in ids[:count]]


def main(program, root):
    here, worst = Path(__file__).parent, 0.0
    profile = root / "config/profiles/pp2-tp2-ep2.toml"

    def check(title, checkpoint, tokens, topology=profile):
        nonlocal worst
        exact = forward(*load(checkpoint), tokens)
        for name, flags in {"": [], f"  {topology.stem}": ["--topology", topology]}.items():
            found = np.abs(logits(program, checkpoint, tokens, "--precision", "f32", *flags) - exact).max()
            found = found if np.isfinite(found) else np.inf
            print(f"{found:.1e}  {title}{name}", flush=True)
            worst = max(worst, found)

    check("model/default", root / "model/default", held_out(root / "model/default", TOKENS))
    with tempfile.TemporaryDirectory() as scratch:
        dense = Path(scratch, "pp2-tp2.toml")
        dense.write_text(profile.read_text().split("[experts]")[0])
        families = [(seed, ["--family", name]) for name, seeds in FAMILIES.items() for seed in seeds]
        for seed, arguments in [*enumerate(RANDOM, 1), *families]:
            folder = Path(scratch, f"{seed} {arguments[-1]}" if arguments else str(seed))
            subprocess.run([sys.executable, "-B", here / "make_random.py", folder, "--seed", str(seed), *arguments],
                           check=True, stdout=subprocess.DEVNULL)
            tokens = np.random.default_rng(seed).integers(0, load(folder)[0]["vocab_size"], TOKENS)
            check(f"seed {seed} {' '.join(arguments)}", folder, tokens.tolist(),
                  dense if arguments[-1:] in (["llama"], ["qwen3"]) else profile)
    print(f"largest difference {worst:.1e}, allowed {TOLERANCE}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
