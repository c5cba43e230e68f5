"""A config.json drawn at random: each word that changes the arithmetic of a family, in tiny sizes the engine takes.

    c, storage = draw_config("olmoe", seed, {"clip_qkv": 0.5})   all of it, with "rope" for what is said of positions
    as_written(c, storage, seed)                                 as a release of the reference library would write it
"""
import numpy as np

from families import FAMILIES

CLASSES = {"llama": "Llama", "qwen3": "Qwen3", "qwen3_moe": "Qwen3Moe", "qwen2_moe": "Qwen2Moe", "mixtral": "Mixtral",
           "olmoe": "Olmoe", "deepseek_v2": "DeepseekV2", "deepseek_v3": "DeepseekV3"}
EXPERTS = {"mixtral": "num_local_experts", "deepseek_v2": "n_routed_experts", "deepseek_v3": "n_routed_experts"}
TORCH = {"bf16": "bfloat16", "f16": "float16", "f32": "float32", "fp8": "bfloat16"}


class Draw:
    """c[key] = one of `choices`, or what was given for it; each pick takes one number of the stream either way."""

    def __init__(self, seed, stream, given):
        self.random, self.given, self.c = np.random.default_rng([seed, *stream]), dict(given), {}

    def one_of(self, *choices):
        return choices[int(self.random.random() * len(choices))]

    def __call__(self, key, *choices):
        choice = self.one_of(*choices)
        self.c[key] = self.given.pop(key, choice)
        return self.c[key]


def sizes(d):
    d("hidden_size", 64, 128, 192, 256)
    d("num_hidden_layers", 2, 3, 4)
    d("vocab_size", 300, 512, 1000)
    d("intermediate_size", 64, 128, 192, 256)
    d("rms_norm_eps", 1e-6, 1e-5, 1e-3)
    d("tie_word_embeddings", False, True)
    d("max_position_embeddings", 2048, 4096)


def kv_heads(d):
    """One, or an even number, so that two ranks can share them."""
    heads = d.c["num_attention_heads"]
    d("num_key_value_heads", *(n for n in (1, 2, 4, 6, 8) if heads % n == 0))


def grouped(d):
    d("num_attention_heads", *(n for n in (2, 4, 6, 8) if d.c["hidden_size"] % n == 0))
    kv_heads(d)
    d("head_dim", 32, 64, *((128,) if d.c["num_attention_heads"] == 2 else ()))


def grouped_as_wide_as_hidden(d):
    dim = d("head_dim", *(n for n in (32, 64, 128) if d.c["hidden_size"] % (2 * n) == 0))
    d("num_attention_heads", d.c["hidden_size"] // dim)
    kv_heads(d)


def latent(d):
    heads = d("num_attention_heads", 2, 4, 8)
    d("num_key_value_heads", heads)
    d("qk_nope_head_dim", 32, 64, 128)
    d("qk_rope_head_dim", 16, 32, 64)
    d("v_head_dim", 32, 64, 128)
    d("kv_lora_rank", 64, 128, 192, 512)
    d("q_lora_rank", None, 64, 192)
    d("attention_bias", False, True)


def flag(key, *choices):
    return lambda d: d(key, *(choices or (False, True)))


def rope(*kinds):
    def draw(d):
        d("rope_theta", 10000.0, 500000.0, 1000000.0)
        d("rope", RULES[d.one_of(*kinds)](d))
    return draw


def original_context(d):
    return {"original_max_position_embeddings": d.one_of(256, 1024)}


def llama3(d):
    return {"rope_type": "llama3", "factor": d.one_of(4.0, 8.0), "low_freq_factor": 1.0,
            "high_freq_factor": d.one_of(2.0, 4.0), **original_context(d)}


def yarn(d):
    r = {"rope_type": "yarn", "factor": d.one_of(4.0, 8.0, 40.0), **original_context(d)}
    return {**r, **d.one_of({}, {"beta_fast": 16.0, "beta_slow": 2.0}), **d.one_of({}, {"attention_factor": 1.3})}


def deepseek_yarn(d):
    r = {"rope_type": "yarn", "factor": d.one_of(4, 40), "beta_fast": d.one_of(16, 32), "beta_slow": 1}
    gains = d.one_of({}, {"mscale": 1.0, "mscale_all_dim": 1.0}, {"mscale": 0.707, "mscale_all_dim": 0.707},
                     {"mscale": 1.0, "mscale_all_dim": 0.5})
    return {**r, **gains, **original_context(d)}


RULES = {"default": lambda d: {"rope_type": "default"}, "llama3": llama3, "yarn": yarn, "deepseek_yarn": deepseek_yarn,
         "linear": lambda d: {"rope_type": "linear", "factor": d.one_of(2.0, 8.0)}}


def experts(d):
    count = d(EXPERTS.get(d.c["model_type"], "num_experts"), 4, 6, 8, 16)
    d("num_experts_per_tok", *range(1, min(4, count - 1) + 1))


def expert_width(d):
    d("moe_intermediate_size", 64, 128, 192)
    d("norm_topk_prob", False, True)


def steps(d):
    """At least one layer keeps its experts."""
    step = d("decoder_sparse_step", 1, 2)
    d("mlp_only_layers", [], [0], *([[1]] if step == 1 or d.c["num_hidden_layers"] == 4 else []))


def no_window(d):
    d("use_sliding_window", False)
    d("sliding_window", None, 32768)


def deepseek_layers(d):
    d("first_k_dense_replace", 0, 1)
    d("moe_layer_freq", *((1, 2) if d.c["num_hidden_layers"] > 2 else (1,)))


def deepseek_experts(d):
    """Fewer groups than all, and fewer than experts that are chosen: otherwise V2's limit would never bind."""
    count = d("n_routed_experts", 8, 16)
    v3 = d.c["model_type"] == "deepseek_v3"
    method = d("topk_method", *(("noaux_tc",) if v3 else ("greedy", "group_limited_greedy")))
    groups = d("n_group", *{"noaux_tc": (1, 2, 4), "greedy": (None, 1), "group_limited_greedy": (2, 4)}[method])
    kept = d("topk_group", *(range(1, groups or 1) or (groups,)))
    d("num_experts_per_tok", *range((kept or 1) + 1, min(4, (kept or 1) * count // (groups or 1)) + 1))
    d("routed_scaling_factor", 1.0, 1.5, 2.5)
    d("scoring_func", "sigmoid" if v3 else "softmax")


DRAWN = {
    "llama": (grouped, flag("attention_bias"), flag("mlp_bias"), rope("default", "linear", "llama3", "llama3")),
    "qwen3": (grouped, flag("attention_bias"), no_window, rope("default", "yarn")),
    "qwen3_moe": (grouped, flag("attention_bias"), no_window, rope("default", "yarn"), experts, expert_width, steps),
    "qwen2_moe": (grouped_as_wide_as_hidden, flag("qkv_bias", True, True, False), no_window, rope("default", "yarn"),
                  experts, expert_width, steps, flag("shared_expert_intermediate_size", 64, 128, 192)),
    "mixtral": (grouped, flag("sliding_window", None), rope("default"), experts),
    "olmoe": (grouped_as_wide_as_hidden, flag("attention_bias"), flag("clip_qkv", None, 0.5, 1.0), rope("default"),
              experts, flag("norm_topk_prob")),
    "deepseek_v2": (latent, rope("default", "deepseek_yarn", "deepseek_yarn"), deepseek_layers, deepseek_experts,
                    expert_width, flag("n_shared_experts", None, 1, 2)),
    "deepseek_v3": (latent, rope("default", "deepseek_yarn", "deepseek_yarn"), flag("rope_interleave", True, False),
                    deepseek_layers, deepseek_experts, expert_width, flag("n_shared_experts", 1, 2),
                    flag("num_nextn_predict_layers", 0, 1)),
}


def draw_storage(d):
    """How the tensors lie in the files: dtype, int4 (the group of the experts, or None), shards."""
    has_experts, v3 = FAMILIES[d.c["model_type"]].router is not None, d.c["model_type"] == "deepseek_v3"
    dtype = d("dtype", "bf16", "f16", "f32", *(("fp8", "fp8") if v3 else ()))
    widths = d.c["hidden_size"], d.c.get("moe_intermediate_size", d.c["intermediate_size"])
    groups = [g for g in (64, 128) if all(width % g == 0 for width in widths)]
    d("int4", None, None, *(groups if has_experts and dtype != "fp8" else ()))
    d("shards", 1, 1, 2, 3)
    return {key: d.c.pop(key) for key in ("dtype", "int4", "shards")}


def draw_config(family, seed, given):
    """(configuration, storage). `given` holds values for keys of config.json, "rope", "dtype", "int4" or "shards"."""
    d = Draw(seed, family.encode(), given)
    d.c = {"architectures": [CLASSES[family] + "ForCausalLM"], "model_type": family, "hidden_act": "silu"}
    sizes(d)
    for part in DRAWN[family]:
        part(d)
    storage = draw_storage(d)
    if d.given:
        raise SystemExit(f"make_random.py: {family} has no {', '.join(d.given)}")
    return d.c, storage


def as_written(c, storage, seed):
    """In the style of v4 or v5, and without some of the words that only repeat a default."""
    d, c = Draw(seed, c["model_type"].encode() + b" written", {}), dict(c)
    v5, word = d.one_of(False, True), d.one_of("type", "rope_type")
    positions = dict(c.pop("rope"))
    if v5:
        c["rope_parameters"] = {"rope_theta": c.pop("rope_theta"), **positions}
        if c["model_type"] == "qwen3_moe":
            c["num_local_experts"] = c.pop("num_experts")
    else:
        positions[word] = positions.pop("rope_type")
        c["rope_scaling"] = None if positions[word] == "default" else positions
    defaults = {"head_dim": c["hidden_size"] // c["num_attention_heads"], **FAMILIES[c["model_type"]].defaults}
    if c["model_type"] in ("llama", "olmoe"):
        defaults["num_key_value_heads"] = c["num_attention_heads"]
    left_out = [key for key in c if d.one_of(False, True) and key in defaults and c[key] == defaults[key]]
    c = {key: value for key, value in c.items() if key not in left_out}
    end = c["vocab_size"] - 1
    c.update({"bos_token_id": end - 2, "eos_token_id": d.one_of(end, [end, end - 1]),
              "dtype" if v5 else "torch_dtype": TORCH[storage["dtype"]]})
    return c
