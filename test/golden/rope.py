"""Rotary positions and the ways to stretch them: how fast each pair of a head turns, and how far it grows.

`r` is what config.json says of positions: rope_parameters, or rope_scaling with rope_theta beside it. A stretched
context of `original_max_position_embeddings * factor` is meant to look to the model like the original one.
"""
import math

import numpy as np


def default(r, dim):
    """Pair i of a head turns by theta^(-2i / dim) a position."""
    return r["rope_theta"] ** (-np.arange(0, dim, 2) / dim), 1.0


def linear(r, dim):
    return default(r, dim)[0] / r["factor"], 1.0


def llama3(r, dim):
    """Pairs that turn less than `low_freq_factor` times in the original context are slowed by factor, those with more
    than `high_freq_factor` turns are kept, and those between are mixed by their turns."""
    plain = default(r, dim)[0]
    turns = r["original_max_position_embeddings"] * plain / (2 * math.pi)
    low, high = r["low_freq_factor"], r["high_freq_factor"]
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return plain * (keep + (1 - keep) / r["factor"]), 1.0


def yarn_gain(factor, mscale):
    return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0


def yarn(r, dim):
    """As llama3, but mixed by the index of the pair, between the two that turn beta_fast and beta_slow times."""
    plain, factor = default(r, dim)[0], r["factor"]

    def pair_with(turns):
        context = r["original_max_position_embeddings"]
        return dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(r["rope_theta"]))

    low = max(math.floor(pair_with(r.get("beta_fast") or 32)), 0)
    high = min(math.ceil(pair_with(r.get("beta_slow") or 1)), dim - 1)  # of dim, although there are dim / 2 pairs
    slow = np.clip((np.arange(dim // 2) - low) / (high - low or 0.001), 0, 1)
    gain = r.get("attention_factor")
    if gain is None:
        m, all_dim = r.get("mscale"), r.get("mscale_all_dim")
        gain = yarn_gain(factor, m) / yarn_gain(factor, all_dim) if m and all_dim else yarn_gain(factor, 1)
    return plain * (1 - slow + slow / factor), gain


KINDS = {"default": default, "linear": linear, "llama3": llama3, "yarn": yarn}


def rotation(r, dim, tokens, interleaved=False):
    """A function that turns x [T, heads, dim] by position. The pairs of a head are (i, i + dim / 2), or (2i, 2i + 1)
    where interleaved; cos and sin are both multiplied by the gain."""
    frequency, gain = KINDS[r["rope_type"]](r, dim)
    angle = np.arange(tokens)[:, None, None] * frequency
    cos, sin = gain * np.cos(angle), gain * np.sin(angle)

    def turn(x):
        a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else np.split(x, 2, -1)
        a, b = a * cos - b * sin, b * cos + a * sin
        return np.stack([a, b], -1).reshape(x.shape) if interleaved else np.concatenate([a, b], -1)

    return turn


def softmax_gain(r):
    """What DeepSeek multiplies the attention scores by, beside 1 / sqrt(head)."""
    if r["rope_type"] == "default" or not r.get("mscale_all_dim"):
        return 1.0
    return yarn_gain(r["factor"], r["mscale_all_dim"]) ** 2
