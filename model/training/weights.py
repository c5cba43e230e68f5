"""The weights of a net in memory that two processes share, and AdamW over them, half by half.

Each process runs its own batch over the same weights and leaves its gradient here; after a barrier each
steps its part of the flat array over the sum. So nothing is sent, and no state is kept twice.
The net may compute with int4 experts while the steps go to the exact ones (straight-through).
"""
import mmap

import numpy as np
import torch

from quantise import CLIPS

CHUNK = 1 << 17  # values: what one pass of the update keeps in the cache


def shared(size):
    """Zeros that processes forked later share."""
    return torch.from_numpy(np.frombuffer(mmap.mmap(-1, size * 4), np.float32))


def rounded(groups, clip):
    """The nearest int4 values [groups, size], the scale being clip [groups, 1] * max / 7 in bf16."""
    scale = (groups.abs().amax(1, keepdim=True).clamp(min=1e-12) * clip / 7).bfloat16().float()
    return (groups / scale).round_().clamp_(-8, 7).mul_(scale)


def best_clips(groups):
    """The clip of each group with the least squared error [groups, 1]."""
    errors = torch.stack([(rounded(groups, torch.tensor(c)) - groups).square().sum(1) for c in CLIPS])
    return torch.tensor(CLIPS)[errors.argmin(0)][:, None]


class SharedWeights:
    """Holds: the net's parameters are views of `live`; `exact` is what AdamW steps."""

    def __init__(self, net, processes, group, betas=(0.9, 0.97), decay=0.02):
        named = sorted(net.named_parameters(), key=lambda np_: np_[1].dim() != 3)  # experts first
        size = sum(p.numel() for _, p in named)
        self.num_expert_values = sum(p.numel() for _, p in named if p.dim() == 3)
        self.group, self.betas, self.decay = group, betas, decay
        self.live, self.exact, self.mean, self.square = (shared(size) for _ in range(4))
        self.grads = [shared(size) for _ in range(processes)]
        self.norms = shared(processes)
        self.decayed = torch.ones(size, dtype=torch.bool)
        self.views, at = {}, 0
        for name, p in named:
            span = slice(at, at + p.numel())
            self.views[name] = (p, span)
            self.exact[span] = p.detach().reshape(-1)
            self.decayed[span] = p.dim() > 1
            p.data = self.live[span].view(p.shape)
            at = span.stop
        self.live.copy_(self.exact)
        self.clips = {}

    def attach(self, rank):
        """Directs this process's gradients into its array, and takes its part of the weights."""
        for p, span in self.views.values():
            p.grad = self.grads[rank][span].view(p.shape)
        size, n = len(self.live), len(self.grads)
        bounds = [size * r // n // self.group * self.group for r in range(n)] + [size]
        self.rank, self.part = rank, (bounds[rank], bounds[rank + 1])

    def _chunks(self):
        begin, end = self.part
        edges = [*range(begin, end, CHUNK), end]
        if begin < self.num_expert_values < end:
            edges = sorted({*edges, self.num_expert_values})
        return [slice(a, b) for a, b in zip(edges, edges[1:])]

    def sum_gradients(self):
        """After every process's backward pass; the square of the norm goes to `norms`."""
        begin, end = self.part
        total = self.grads[0][begin:end]
        for other in self.grads[1:]:
            total += other[begin:end]
        total /= len(self.grads)
        self.norms[self.rank] = total.dot(total)

    def step(self, number, rate, int4):
        """AdamW with the norm clipped to 1. `int4`: the live experts are the rounded ones."""
        scale = min(1.0, 1.0 / (self.norms.sum().sqrt().item() + 1e-6))
        b1, b2 = self.betas
        unbias, unbias_square = 1 - b1 ** number, 1 - b2 ** number
        for c in self._chunks():
            g, w, m, v = self.grads[0][c] * scale, self.exact[c], self.mean[c], self.square[c]
            m.lerp_(g, 1 - b1)
            v.mul_(b2).addcmul_(g, g, value=1 - b2)
            w.mul_(1 - rate * self.decay * self.decayed[c] if not self.decayed[c].all() else 1 - rate * self.decay)
            w.addcdiv_(m, (v / unbias_square).sqrt_().add_(1e-8), value=-rate / unbias)
            if int4 and c.stop <= self.num_expert_values:
                groups = w.view(-1, self.group)
                if number % 100 == 0 or c.start not in self.clips:
                    self.clips[c.start] = best_clips(groups)
                self.live[c] = rounded(groups, self.clips[c.start]).view(-1)
            else:
                self.live[c] = w

    def state(self):
        return {k: getattr(self, k) for k in ("exact", "mean", "square")}

    def load(self, state):
        for k, t in state.items():
            getattr(self, k).copy_(t)
        self.live.copy_(self.exact)

    def tensors(self):
        """name -> the exact values, in numpy."""
        return {n: self.exact[span].view(p.shape).numpy() for n, (p, span) in self.views.items()}
