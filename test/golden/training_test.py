"""What model/training/ promises of its files: int4 and safetensors round trips, and which words are held out.

    training_test.py ROOT
"""
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np

ROOT = Path(sys.argv.pop(1))
sys.path.insert(0, str(ROOT / "model/training"))
import checkpoint  # noqa: E402
import prepare  # noqa: E402
import quantise  # noqa: E402
from forward import Weights  # noqa: E402


def random_stack(draw):
    """The tensors of a layer as net.py has them."""
    return {"embed_tokens.weight": draw.normal(size=(10, 128)).astype(np.float32),
            "layers.0.mlp.gate.weight": draw.normal(size=(3, 128)).astype(np.float32),
            "layers.0.mlp.gate_up": draw.normal(size=(3, 2 * 64, 128)).astype(np.float32),
            "layers.0.mlp.down": draw.normal(size=(3, 128, 64)).astype(np.float32)}


class Int4(unittest.TestCase):
    def test_pack_keeps_every_value_and_its_place(self):
        q = np.random.default_rng(1).integers(-8, 8, (5, 64)).astype(np.int8)
        scale = np.array([[1.0, 2.0]] * 5, np.float32)
        back = quantise.unpack(quantise.pack(q), scale, q.shape)
        np.testing.assert_array_equal(back, q * np.repeat(scale, 32, 1))

    def test_no_value_is_further_off_than_half_a_step_or_the_clip(self):
        w = np.random.default_rng(2).normal(size=(16, 256)).astype(np.float32)
        q, scale = quantise.quantise(w, 128)
        step = np.repeat(scale, 128, 1)
        inside = np.abs(w) <= 7 * step
        self.assertGreater(inside.mean(), 0.95)
        self.assertLessEqual(np.abs(q * step - w)[inside].max(), step.max() * 0.5001)

    def test_the_chosen_clip_is_never_worse_than_none(self):
        w = np.random.default_rng(3).normal(size=(64, 128)).astype(np.float32)
        groups = w.reshape(-1, 64)
        q, scale = quantise.quantise(w, 64)
        plain = checkpoint.from_bf16(checkpoint.to_bf16(np.abs(groups).max(1, keepdims=True) / 7))
        error = np.square(q.reshape(-1, 64) * scale.reshape(-1, 1) - groups).sum(1)
        error_plain = np.square(np.rint(groups / plain) * plain - groups).sum(1)
        self.assertTrue((error <= error_plain * 1.0001).all())
        self.assertLess(error.sum(), 0.97 * error_plain.sum())

    def test_a_group_of_zeros_stays_zero(self):
        q, scale = quantise.quantise(np.zeros((2, 128), np.float32), 128)
        self.assertFalse((q * np.repeat(scale, 128, 1)).any())


class File(unittest.TestCase):
    def test_split_experts_and_stack_experts_are_inverse(self):
        stacked = random_stack(np.random.default_rng(4))
        back = checkpoint.stack_experts(checkpoint.split_experts(stacked))
        self.assertEqual(back.keys(), stacked.keys())
        for name, tensor in stacked.items():
            np.testing.assert_array_equal(back[name], tensor)

    def test_forward_reads_what_quantise_wrote(self):
        tensors = checkpoint.split_experts(random_stack(np.random.default_rng(5)))
        packed = quantise.packed_checkpoint(tensors, 64)
        with tempfile.TemporaryDirectory() as scratch:
            checkpoint.write(Path(scratch, "model.safetensors"), packed)
            outside, own = Weights(Path(scratch)), quantise.plain_checkpoint(checkpoint.read(Path(scratch, "model.safetensors")))
            self.assertEqual(own.keys(), tensors.keys())
            for name, tensor in tensors.items():
                np.testing.assert_array_equal(outside[name], own[name])
                self.assertLess(np.abs(own[name] - tensor).mean(), 0.15 * np.abs(tensor).mean())

    def test_bf16_rounds_to_nearest_even(self):
        exact = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF], np.uint32).view(np.float32)
        self.assertEqual(checkpoint.to_bf16(exact).tolist(), [0x3F80, 0x3F82, 0x3F81, 0x3F80])


class Words(unittest.TestCase):
    BEST = {f"word{i}": (1000 - i, "n", "", "") for i in range(1000)}

    def test_one_in_a_hundred_is_held_out_and_the_most_used_others_are_learned(self):
        kinds = prepare.split(self.BEST, 100, set())
        held = [w for w, k in kinds.items() if k == "held"]
        self.assertEqual(len(held), 10)
        others = [w for w in self.BEST if w not in held]
        self.assertEqual([w for w in self.BEST if kinds[w] == "train"], others[:100])

    def test_which_are_held_out_does_not_depend_on_how_many_are_learned(self):
        few, many = (prepare.split(self.BEST, n, {"word0"}) for n in (10, 900))
        self.assertEqual({w for w, k in few.items() if k == "held"}, {w for w, k in many.items() if k == "held"})

    def test_everyday_words_come_first_but_never_a_held_one(self):
        held = {w for w, k in prepare.split(self.BEST, 10, set()).items() if k == "held"}
        rare = {f"word{i}" for i in range(900, 1000)}
        kinds = prepare.split(self.BEST, 90, rare | held)
        self.assertEqual({w for w, k in kinds.items() if k == "held"}, held)
        self.assertTrue({w for w, k in kinds.items() if k == "train"} <= rare | {"word0", "word1"})

    def test_a_gloss_loses_its_examples_and_keeps_whole_clauses(self):
        self.assertEqual(prepare.short('a bowed instrument; held under the chin; "he plays it"'),
                         "a bowed instrument; held under the chin")
        first, second = "a" * 100, "b" * 20
        self.assertEqual(prepare.short(f"{first}; {second}"), first)


if __name__ == "__main__":
    unittest.main()
