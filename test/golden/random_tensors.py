"""Random tensors for a configuration, such that logits, routes and attention are far from flat."""
import numpy as np

from families import FAMILIES


class Tensors:
    """name -> f64; a linear layer keeps the scale of its input, so nothing dies or explodes."""

    def __init__(self, c, draw, bias):
        self.c, self.draw, self.bias, self.by_name = c, draw, bias, {}

    def matrix(self, name, out, inputs, gain=1.0, bias=False):
        self.by_name[name + ".weight"] = self.draw.normal(0, gain / np.sqrt(inputs), (out, inputs))
        if bias:
            self.by_name[name + ".bias"] = self.draw.normal(0, self.bias, out)

    def matrix_to_sum(self, name, out, inputs, bias=False):
        """Its output is added to x, which a strong bias would make the same for all tokens."""
        self.matrix(name, out, inputs)
        if bias:
            self.by_name[name + ".bias"] = self.draw.normal(0, 0.1, out)

    def norm(self, name, size):
        self.by_name[name + ".weight"] = 1 + self.draw.normal(0, 0.1, size)

    def ffn(self, at, width, names=("gate_proj", "up_proj", "down_proj"), bias=False):
        hidden = self.c["hidden_size"]
        for name in names[:2]:
            self.matrix(f"{at}.{name}", width, hidden, 1.5, bias)
        self.matrix_to_sum(f"{at}.{names[2]}", hidden, width, bias)

    def grouped_attention(self, at):
        c, dim = self.c, self.c["head_dim"]
        q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
        bias = c.get("attention_bias", False)
        for name, out in (("q", q), ("k", kv), ("v", kv)):
            self.matrix(f"{at}.{name}_proj", out, c["hidden_size"], bias=c.get("qkv_bias", bias))
        self.matrix_to_sum(f"{at}.o_proj", c["hidden_size"], q, bias)
        if c["model_type"] in ("qwen3", "qwen3_moe", "olmoe"):
            for name, width in (("q", q), ("k", kv)):
                self.norm(f"{at}.{name}_norm", width if c["model_type"] == "olmoe" else dim)

    def latent_attention(self, at):
        c, heads, hidden, bias = self.c, self.c["num_attention_heads"], self.c["hidden_size"], self.c["attention_bias"]
        q, v = heads * (c["qk_nope_head_dim"] + c["qk_rope_head_dim"]), heads * c["v_head_dim"]
        if c["q_lora_rank"] is None:
            self.matrix(f"{at}.q_proj", q, hidden)
        else:
            self.matrix(f"{at}.q_a_proj", c["q_lora_rank"], hidden, bias=bias)
            self.norm(f"{at}.q_a_layernorm", c["q_lora_rank"])
            self.matrix(f"{at}.q_b_proj", q, c["q_lora_rank"])
        self.matrix(f"{at}.kv_a_proj_with_mqa", c["kv_lora_rank"] + c["qk_rope_head_dim"], hidden, bias=bias)
        self.norm(f"{at}.kv_a_layernorm", c["kv_lora_rank"])
        self.matrix(f"{at}.kv_b_proj", heads * c["qk_nope_head_dim"] + v, c["kv_lora_rank"])
        self.matrix_to_sum(f"{at}.o_proj", hidden, v, bias)

    def experts(self, at, names):
        c = self.c
        count = next(c[k] for k in ("num_experts", "num_local_experts", "n_routed_experts") if k in c)
        width = c.get("moe_intermediate_size", c["intermediate_size"])
        sigmoid = c["model_type"] == "deepseek_v3"
        self.matrix(f"{at}.gate", count, c["hidden_size"], 2.5 if sigmoid else 1.5)
        if sigmoid:
            self.by_name[f"{at}.gate.e_score_correction_bias"] = self.draw.normal(0, 0.1, count)
        for e in range(count):
            self.ffn(f"{at}.experts.{e}", width, names)
        if c.get("n_shared_experts"):
            self.ffn(f"{at}.shared_experts", width * c["n_shared_experts"])
        if "shared_expert_intermediate_size" in c:
            self.ffn(f"{at}.shared_expert", c["shared_expert_intermediate_size"])
            self.matrix(f"{at}.shared_expert_gate", 1, c["hidden_size"], 1.5)

    def layer(self, n, sparse):
        at, family = f"model.layers.{n}", FAMILIES[self.c["model_type"]]
        self.norm(at + ".input_layernorm", self.c["hidden_size"])
        self.norm(at + ".post_attention_layernorm", self.c["hidden_size"])
        (self.latent_attention if "kv_lora_rank" in self.c else self.grouped_attention)(f"{at}.self_attn")
        if sparse:
            self.experts(f"{at}.{family.block}", family.expert)
        else:
            self.ffn(f"{at}.{family.block}", self.c["intermediate_size"], bias=self.c.get("mlp_bias", False))

    def guessing_layer(self, n):
        """DeepSeek-V3's layer for the token after next, with an embedding and a head of its own: not to be run."""
        hidden, at = self.c["hidden_size"], f"model.layers.{n}"
        self.layer(n, True)
        for name in ("enorm", "hnorm", "shared_head.norm"):
            self.norm(f"{at}.{name}", hidden)
        self.matrix(f"{at}.eh_proj", hidden, 2 * hidden)
        for name in ("embed_tokens", "shared_head.head"):
            self.matrix(f"{at}.{name}", self.c["vocab_size"], hidden, 2.0)


def random_tensors(c, draw, bias=0.1):
    """`bias` is the scale of those on q, k, v, gate and up."""
    t, is_sparse, layers = Tensors(c, draw, bias), FAMILIES[c["model_type"]].is_sparse, c["num_hidden_layers"]
    t.matrix("model.embed_tokens", c["vocab_size"], c["hidden_size"], 2.0)
    for n in range(layers):
        t.layer(n, is_sparse(c, n))
    t.norm("model.norm", c["hidden_size"])
    if not c["tie_word_embeddings"]:
        t.matrix("lm_head", c["vocab_size"], c["hidden_size"], 2.0)
    for n in range(layers, layers + c.get("num_nextn_predict_layers", 0)):
        t.guessing_layer(n)
    return t.by_name
