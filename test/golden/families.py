"""How the model families differ, each difference a function; FAMILIES at the end puts them together.

`c` is a configuration (forward.configuration), `w` weights by name, `at` the name of a module, x its input [T, hidden].
"""
from dataclasses import dataclass, field
from typing import Callable, Optional

import numpy as np

from rope import rotation, softmax_gain


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + eps) * weight


def linear(w, name, x, bias=False):
    y = x @ w[name + ".weight"].T
    return y + w[name + ".bias"] if bias else y


def ffn(w, at, x, names=("gate_proj", "up_proj", "down_proj"), bias=False):
    """down(silu(gate x) * up x)"""
    gate, up = (linear(w, f"{at}.{name}", x, bias) for name in names[:2])
    return linear(w, f"{at}.{names[2]}", gate * sigmoid(gate) * up, bias)


# Attention

def attend(q, k, v, scale):
    """Causal; q [T, heads, d], k [T, kv_heads, d], v [T, kv_heads, d_v] -> [T, heads * d_v]"""
    tokens, share = len(q), q.shape[1] // k.shape[1]
    k, v = np.repeat(k, share, 1), np.repeat(v, share, 1)
    scores = np.einsum("thd,shd->hts", q, k) * scale
    scores[:, np.triu(np.ones((tokens, tokens), bool), 1)] = -np.inf
    return np.einsum("hts,shd->thd", softmax(scores), v).reshape(tokens, -1)


def grouped_attention(split):
    """Grouped queries; `split` makes heads of the projected q, k, v, and normalises them where the family does."""
    def attention(c, w, at, x):
        bias = c.get("qkv_bias", c.get("attention_bias", False))
        q, k, v = split(c, w, at, *(linear(w, f"{at}.{p}_proj", x, bias) for p in "qkv"))
        turn = rotation(c["rope"], c["head_dim"], len(x))
        y = attend(turn(q), turn(k), v, c["head_dim"] ** -0.5)
        return linear(w, f"{at}.o_proj", y, c.get("attention_bias", False))
    return attention


def plain_heads(c, w, at, q, k, v):
    counts = c["num_attention_heads"], c["num_key_value_heads"], c["num_key_value_heads"]
    return [x.reshape(len(x), n, c["head_dim"]) for x, n in zip((q, k, v), counts)]


def heads_normalised(c, w, at, q, k, v):
    q, k, v = plain_heads(c, w, at, q, k, v)
    q, k = (rms_norm(y, w[f"{at}.{n}_norm.weight"], c["rms_norm_eps"]) for y, n in ((q, "q"), (k, "k")))
    return q, k, v


def width_normalised_and_clipped(c, w, at, q, k, v):
    """RMSNorm over all heads of a token at once; then q, k and v are clamped, v too although it has no norm."""
    q, k = (rms_norm(y, w[f"{at}.{n}_norm.weight"], c["rms_norm_eps"]) for y, n in ((q, "q"), (k, "k")))
    if c["clip_qkv"] is not None:
        q, k, v = (np.clip(y, -c["clip_qkv"], c["clip_qkv"]) for y in (q, k, v))
    return plain_heads(c, w, at, q, k, v)


LATENT_EPS = 1e-6  # of the norms inside MLA, whatever rms_norm_eps says


def latent_attention(c, w, at, x):
    """MLA: q and (k, v) go through low ranks; the end of each q and k head turns, and that of k serves all heads."""
    tokens, heads, bias = len(x), c["num_attention_heads"], c["attention_bias"]
    nope, turned, v_dim = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    turn = rotation(c["rope"], turned, tokens, c["rope_interleave"])

    if c["q_lora_rank"] is None:
        q = linear(w, f"{at}.q_proj", x)
    else:
        q = rms_norm(linear(w, f"{at}.q_a_proj", x, bias), w[f"{at}.q_a_layernorm.weight"], LATENT_EPS)
        q = linear(w, f"{at}.q_b_proj", q)
    q, q_turned = np.split(q.reshape(tokens, heads, nope + turned), [nope], -1)

    latent, k_turned = np.split(linear(w, f"{at}.kv_a_proj_with_mqa", x, bias), [c["kv_lora_rank"]], -1)
    latent = rms_norm(latent, w[f"{at}.kv_a_layernorm.weight"], LATENT_EPS)
    k, v = np.split(linear(w, f"{at}.kv_b_proj", latent).reshape(tokens, heads, nope + v_dim), [nope], -1)
    k_turned = np.broadcast_to(turn(k_turned.reshape(tokens, 1, turned)), (tokens, heads, turned))

    q, k = np.concatenate([q, turn(q_turned)], -1), np.concatenate([k, k_turned], -1)
    y = attend(q, k, v, (nope + turned) ** -0.5 * softmax_gain(c["rope"]))
    return linear(w, f"{at}.o_proj", y, bias)


# Routers: (experts [T, k], weights [T, k]); a lower number wins a tie

def largest(scores, k):
    return np.argsort(-scores, axis=-1, kind="stable")[:, :k]


def softmax_router(c, w, at, x):
    p = softmax(linear(w, f"{at}.gate", x))
    chosen = largest(p, c["num_experts_per_tok"])
    weight = np.take_along_axis(p, chosen, -1)
    return chosen, weight / weight.sum(-1, keepdims=True) if c["norm_topk_prob"] else weight


def mixtral_router(c, w, at, x):
    return softmax_router({**c, "norm_topk_prob": True}, w, at, x)


def within_best_groups(c, scores, value):
    """`scores` of the experts in the topk_group groups with the largest value(scores [T, n_group, size]), and -inf for
    the others: 0 would win against a biased score below it."""
    groups = scores.reshape(len(scores), c["n_group"], -1)
    mask = np.full(groups.shape, -np.inf)
    np.put_along_axis(mask, largest(value(groups), c["topk_group"])[:, :, None], 0.0, 1)
    return (groups + mask).reshape(scores.shape)


def deepseek_choice(c, scores, candidates):
    """Chosen by `candidates`, weighted by `scores`."""
    chosen = largest(candidates, c["num_experts_per_tok"])
    weight = np.take_along_axis(scores, chosen, -1)
    if c["norm_topk_prob"]:
        weight = weight / (weight.sum(-1, keepdims=True) + 1e-20)
    return chosen, weight * c["routed_scaling_factor"]


def deepseek_v2_router(c, w, at, x):
    p = softmax(linear(w, f"{at}.gate", x))
    limited = {"greedy": False, "group_limited_greedy": True}[c["topk_method"]]
    return deepseek_choice(c, p, within_best_groups(c, p, lambda g: g.max(-1)) if limited else p)


def deepseek_v3_router(c, w, at, x):
    p = sigmoid(linear(w, f"{at}.gate", x))
    biased = p + w[f"{at}.gate.e_score_correction_bias"]
    return deepseek_choice(c, p, within_best_groups(c, biased, lambda g: np.sort(g, -1)[..., -2:].sum(-1)))


# Shared experts, and which layers have experts at all

def no_shared(c, w, at, x):
    return 0.0


def gated_shared_expert(c, w, at, x):
    return sigmoid(linear(w, f"{at}.shared_expert_gate", x)) * ffn(w, f"{at}.shared_expert", x)


def shared_experts(c, w, at, x):
    """One FFN as wide as n_shared_experts of them."""
    return ffn(w, f"{at}.shared_experts", x) if c["n_shared_experts"] else 0.0


def every_step(c, layer):
    return (layer not in c["mlp_only_layers"] and c["num_experts"] > 0
            and (layer + 1) % c["decoder_sparse_step"] == 0)


def after_dense(c, layer):
    return layer >= c["first_k_dense_replace"] and layer % c["moe_layer_freq"] == 0


@dataclass(frozen=True)
class Family:
    attention: Callable
    is_sparse: Callable = lambda c, layer: False
    router: Optional[Callable] = None
    shared: Callable = no_shared
    block: str = "mlp"
    expert: tuple = ("gate_proj", "up_proj", "down_proj")
    defaults: dict = field(default_factory=dict)  # of what config.json may leave out
    fixed: tuple = ("hidden_act",)  # of these, only the default is known here


def expert_sum(w, at, x, chosen, weight, names):
    y = np.zeros_like(x)
    for e in np.unique(chosen):
        t, k = np.nonzero(chosen == e)
        y[t] += weight[t, k, None] * ffn(w, f"{at}.experts.{e}", x[t], names)
    return y


def feed_forward(c, w, layer, at, x):
    family = FAMILIES[c["model_type"]]
    at = f"{at}.{family.block}"
    if not family.is_sparse(c, layer):
        return ffn(w, at, x, bias=c.get("mlp_bias", False))
    chosen, weight = family.router(c, w, at, x)
    return expert_sum(w, at, x, chosen, weight, family.expert) + family.shared(c, w, at, x)


COMMON = {"rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu"}
STEPS = {"decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": False}
MLA = {"q_lora_rank": 1536, "attention_bias": False, "moe_layer_freq": 1, "rope_interleave": True}

FAMILIES = {
    "llama": Family(grouped_attention(plain_heads), defaults={**COMMON, "attention_bias": False, "mlp_bias": False}),
    "qwen3": Family(grouped_attention(heads_normalised),
                    defaults={**COMMON, "attention_bias": False, "head_dim": 128}),
    "qwen3_moe": Family(grouped_attention(heads_normalised), every_step, softmax_router,
                        defaults={**COMMON, **STEPS, "attention_bias": False}),
    "qwen2_moe": Family(grouped_attention(plain_heads), every_step, softmax_router, gated_shared_expert,
                        defaults={**COMMON, **STEPS, "qkv_bias": True}),
    "mixtral": Family(grouped_attention(plain_heads), lambda c, layer: True, mixtral_router,
                      block="block_sparse_moe", expert=("w1", "w3", "w2"),
                      defaults={**COMMON, "rms_norm_eps": 1e-5, "rope_theta": 1e6}),
    "olmoe": Family(grouped_attention(width_normalised_and_clipped), lambda c, layer: True, softmax_router,
                    defaults={**COMMON, "rms_norm_eps": 1e-5, "attention_bias": False, "clip_qkv": None,
                              "norm_topk_prob": False}),
    "deepseek_v2": Family(latent_attention, after_dense, deepseek_v2_router, shared_experts,
                          defaults={**COMMON, **MLA, "first_k_dense_replace": 0, "n_shared_experts": 2,
                                    "norm_topk_prob": False, "routed_scaling_factor": 1.0, "topk_method": "greedy",
                                    "scoring_func": "softmax"},
                          fixed=("hidden_act", "scoring_func", "rope_interleave")),
    "deepseek_v3": Family(latent_attention, after_dense, deepseek_v3_router, shared_experts,
                          defaults={**COMMON, **MLA, "first_k_dense_replace": 3, "n_shared_experts": 1,
                                    "norm_topk_prob": True, "routed_scaling_factor": 2.5, "n_group": 8, "topk_group": 4,
                                    "topk_method": "noaux_tc", "scoring_func": "sigmoid"},
                          fixed=("hidden_act", "scoring_func", "topk_method")),
}
