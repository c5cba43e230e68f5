"""Qwen3-MoE in PyTorch, for training on a CPU; the names of its parameters are those of the checkpoint.

Each layer keeps its experts stacked: gate_up [experts, 2 * width, hidden] (gate rows first),
down [experts, hidden, width]; export.py cuts them apart.
"""
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Shape:
    vocab: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    experts: int = 32
    top_k: int = 4
    expert_width: int = 128
    eps: float = 1e-6
    theta: float = 10000.0


class RmsNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, cos, sin):
    """RoPE over the halves of the last dimension."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.o_proj = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.q_norm, self.k_norm = RmsNorm(s.head_dim, s.eps), RmsNorm(s.head_dim, s.eps)

    def forward(self, x, cos, sin, mask):
        b, t, _ = x.shape
        q, k, v = (p(x).view(b, t, -1, self.s.head_dim) for p in (self.q_proj, self.k_proj, self.v_proj))
        q = rotate(self.q_norm(q).transpose(1, 2), cos, sin)
        k = rotate(self.k_norm(k).transpose(1, 2), cos, sin).repeat_interleave(self.s.heads // self.s.kv_heads, 1)
        v = v.transpose(1, 2).repeat_interleave(self.s.heads // self.s.kv_heads, 1)
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.s.head_dim) + mask
        return self.o_proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, t, -1))


class ExpertSum(torch.autograd.Function):
    """y[t] = sum_k route[t,k] * down[e] (silu(gate[e] x[t]) * up[e] x[t]), e = chosen[t,k]

    x [T, hidden], route and chosen [T, K]. Rows are sorted by expert, so each expert is one GEMM; the
    backward pass is written out because autograd's own would clear and add a whole stack per expert.
    """

    @staticmethod
    def forward(ctx, x, route, chosen, gate_up, down):
        tokens, top_k = chosen.shape
        width = down.shape[2]
        order = chosen.reshape(-1).argsort()
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        ends = torch.bincount(chosen.reshape(-1), minlength=len(down)).cumsum(0).tolist()
        spans = list(zip([0, *ends], ends))
        rows = x.index_select(0, order // top_k)
        h, y = rows.new_empty(len(rows), 2 * width), torch.empty_like(rows)
        for e, (a, b) in enumerate(spans):
            torch.mm(rows[a:b], gate_up[e].t(), out=h[a:b])
        act = F.silu(h[:, :width]) * h[:, width:]
        for e, (a, b) in enumerate(spans):
            torch.mm(act[a:b], down[e].t(), out=y[a:b])
        picked = y.index_select(0, place).view(tokens, top_k, -1)
        ctx.save_for_backward(rows, h, act, picked, route, order, place, gate_up, down)
        ctx.spans = spans
        return (picked * route[:, :, None]).sum(1)

    @staticmethod
    def backward(ctx, grad):
        rows, h, act, picked, route, order, place, gate_up, down = ctx.saved_tensors
        tokens, top_k, hidden = picked.shape
        width = down.shape[2]
        d_route = (picked * grad[:, None]).sum(2)
        d_y = (grad[:, None] * route[:, :, None]).view(-1, hidden).index_select(0, order)
        d_gate_up, d_down = torch.empty_like(gate_up), torch.empty_like(down)
        d_act = torch.empty_like(act)
        for e, (a, b) in enumerate(ctx.spans):
            torch.mm(d_y[a:b], down[e], out=d_act[a:b])
            torch.mm(d_y[a:b].t(), act[a:b], out=d_down[e])
        gate, up = h[:, :width], h[:, width:]
        s = torch.sigmoid(gate)
        d_h = torch.cat([d_act * up * (s + gate * s * (1 - s)), d_act * gate * s], 1)
        d_rows = torch.empty_like(rows)
        for e, (a, b) in enumerate(ctx.spans):
            torch.mm(d_h[a:b], gate_up[e], out=d_rows[a:b])
            torch.mm(d_h[a:b].t(), rows[a:b], out=d_gate_up[e])
        d_x = d_rows.index_select(0, place).view(tokens, top_k, hidden).sum(1)
        return d_x, d_route, None, d_gate_up, d_down


class Experts(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.gate = nn.Linear(s.hidden, s.experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(s.experts, 2 * s.expert_width, s.hidden))
        self.down = nn.Parameter(torch.empty(s.experts, s.hidden, s.expert_width))
        self.balance = torch.zeros(())  # of the last call; 1 when the load is even

    def forward(self, x):
        flat = x.reshape(-1, self.s.hidden)
        p = self.gate(flat).softmax(-1)
        route, chosen = p.topk(self.s.top_k, -1)
        load = torch.bincount(chosen.reshape(-1), minlength=self.s.experts) / chosen.numel()
        self.balance = self.s.experts * (load * p.mean(0)).sum()
        route = route / route.sum(-1, keepdim=True)
        return ExpertSum.apply(flat, route, chosen, self.gate_up, self.down).view(x.shape)


class Layer(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = RmsNorm(s.hidden, s.eps), RmsNorm(s.hidden, s.eps)
        self.self_attn, self.mlp = Attention(s), Experts(s)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Net(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.s = s
        self.embed_tokens = nn.Embedding(s.vocab, s.hidden)
        self.layers = nn.ModuleList(Layer(s) for _ in range(s.layers))
        self.norm = RmsNorm(s.hidden, s.eps)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                into_residual = name.endswith(("o_proj.weight", "mlp.down"))
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * s.layers) if into_residual else 1))

    def hidden(self, ids):
        """ids [B, T] -> the normalised state before the head [B, T, hidden]."""
        t, half = ids.shape[1], self.s.head_dim // 2
        angle = torch.arange(t)[:, None] * self.s.theta ** (-torch.arange(half) / half)
        mask = torch.full((t, t), -1e9).triu(1)
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, angle.cos(), angle.sin(), mask)
        return self.norm(x)

    def logits(self, state):
        return state @ self.embed_tokens.weight.t()

    def balance(self):
        return sum(layer.mlp.balance for layer in self.layers) / len(self.layers)
