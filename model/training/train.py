"""Trains the net on the pairs for a given time; may be stopped and resumed at any moment.

    train.py --work DIR --minutes 105 [--init CHECKPOINT_DIR] [--seed 1]

Reads     DIR/pairs.tsv, DIR/tokenizer.json; --init begins from a checkpoint's weights, int4 ones too
Writes    DIR/state.pt (everything a resumed run needs), DIR/loss.csv, DIR/shape.json
Schedule  in shares of the time: a short warm-up, then the rate falls linearly to 1 % of --rate; from
          --int4-from on, the experts of the forward pass are rounded to int4 (straight-through)
"""
import argparse
import ctypes
import dataclasses
import json
import math
import multiprocessing
import os
import random
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # before torch: one thread a process

import torch
import torch.nn.functional as F

import checkpoint
import questions
from net import Net, Shape
from quantise import plain_checkpoint
from tokenizer import Tokenizer
from weights import SharedWeights

LENGTH, BATCH = 128, 8  # of one process: memory comes of many small steps
PROCESSES = 2
BALANCE_WEIGHT = 0.01


def keep_freed_memory():
    """Stops malloc from returning each large tensor to the system, whose pages cost more than the sums."""
    trim_threshold, mmap_max, arena_max = -1, -4, -8
    libc = ctypes.CDLL("libc.so.6")
    for option, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (arena_max, 1)):
        libc.mallopt(option, value)


def conversations(pairs, chat, draw):
    """One pass: every pair once, freshly asked, several to a conversation of at most LENGTH + 1 tokens."""
    waiting = [chat.pair(questions.ask(p, draw), p.answer) for p in draw.sample(pairs, len(pairs))]
    system = chat.message("system", questions.SYSTEM)
    while waiting:
        ids = list(system) if draw.random() < questions.SYSTEM_SHARE else []
        learned = [False] * len(ids)
        for i in range(min(len(waiting), 60), 0, -1):  # the last ones; deleting them is cheap
            pair = waiting[len(waiting) - i]
            if len(ids) + len(pair[0]) <= LENGTH + 1 or not any(learned):
                ids, learned = ids + pair[0], learned + pair[1]
                del waiting[len(waiting) - i]
            if len(ids) > LENGTH - 25:
                break
        yield ids[:LENGTH + 1], learned[:LENGTH + 1]


def tensors(batch):
    """ids [B, longest] and which of them are learned."""
    longest = max(len(ids) for ids, _ in batch)
    return (torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in batch]),
            torch.tensor([learned + [False] * (longest - len(learned)) for _, learned in batch]))


def batches(pairs, chat, seed, rank, passed):
    """Endless batches of one process: (pass, ids, learned). Both draw the same passes and share each out."""
    while True:
        draw = random.Random(f"{seed}/{passed}")
        rows = list(conversations(pairs, chat, draw))
        draw.shuffle(rows)
        stride = BATCH * PROCESSES
        for at in range(0, len(rows) - stride + 1, stride):
            yield passed, *tensors(rows[at + rank:at + stride:PROCESSES])
        passed += 1


def answer_loss(net, ids, learned):
    """Mean cross-entropy of the learned tokens; the head runs for these only."""
    state = net.hidden(ids[:, :-1])[learned[:, 1:]]
    return F.cross_entropy(net.logits(state), ids[:, 1:][learned[:, 1:]])


@torch.no_grad()
def held_loss(net, rows):
    total = count = 0
    for at in range(0, len(rows), 32):
        ids, learned = tensors(rows[at:at + 32])
        n = int(learned[:, 1:].sum())
        total, count = total + answer_loss(net, ids, learned).item() * n, count + n
    return total / count


def save(path, weights, **progress):
    torch.save({**weights.state(), **progress}, f"{path}.new")
    os.replace(f"{path}.new", path)


def train(rank, a, net, weights, progress, barrier, clock):
    """One of the processes. clock[0] is the share of the time that is over, as process 0 sees it."""
    torch.set_num_threads(1)
    keep_freed_memory()
    weights.attach(rank)
    tokenizer = Tokenizer(a.work / "tokenizer.json")
    chat = questions.Chat(tokenizer)
    held = [chat.pair(questions.forms(p)[0], p.answer) for p in questions.read_pairs(a.work / "pairs.tsv", "held")]
    source = batches(questions.read_pairs(a.work / "pairs.tsv", "train"), chat, a.seed, rank, progress["passes"])
    step, tokens, before, shown = progress["step"], progress["tokens"], progress["elapsed"], None
    since = start = saved = checked = time.monotonic()
    log = (a.work / "loss.csv").open("a" if step else "w") if rank == 0 else None
    if log and not step:
        log.write("minutes,step,tokens,loss,held_out\n")
    held_out = ""
    for passes, ids, learned in source:
        weights.grads[rank].zero_()
        loss = answer_loss(net, ids, learned)
        (loss + BALANCE_WEIGHT * net.balance()).backward()
        if rank == 0:
            clock[0] = (before + time.monotonic() - start) / (a.minutes * 60)
        barrier.wait()
        share = clock[0].item()
        weights.sum_gradients()
        barrier.wait()
        if share >= 1:
            break
        step += 1
        rate = a.rate * min(1, step / 150) * (1 - 0.99 * share)
        weights.step(step, rate, int4=share >= a.int4_from)
        tokens += ids.numel() * PROCESSES
        barrier.wait()
        if rank:
            continue
        now = time.monotonic()
        shown = loss.item() if shown is None else 0.98 * shown + 0.02 * loss.item()
        if now - checked > 240:
            checked, held_out = now, f"{held_loss(net, held):.4f}"
        if step % 50 == 0:
            elapsed = before + now - start
            speed, since = 50 * ids.numel() * PROCESSES / (now - since), now
            log.write(f"{elapsed / 60:.2f},{step},{tokens},{shown:.4f},{held_out}\n")
            log.flush()
            print(f"step {step}  pass {passes}  loss {shown:.4f}  held-out {held_out or '-'}  "
                  f"balance {net.balance().item():.2f}  rate {rate:.1e}  {speed:.0f} tokens/s  "
                  f"{a.minutes - elapsed / 60:.1f} min left", flush=True)
            held_out = ""
        if now - saved > 180:
            saved = now
            save(a.work / "state.pt", weights, step=step, tokens=tokens, passes=passes + 1,
                 elapsed=before + now - start)
    if rank == 0:
        save(a.work / "state.pt", weights, step=step, tokens=tokens, passes=passes, elapsed=a.minutes * 60)
        final = held_loss(net, held)
        if shown is not None:
            log.write(f"{a.minutes:.2f},{step},{tokens},{shown:.4f},{final:.4f}\n")
        print(f"done: {step} steps, {tokens / 1e6:.1f} M tokens, {passes} passes, loss {shown or math.nan:.4f}, "
              f"held-out {final:.4f} (perplexity {math.exp(final):.1f})")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=180)
    p.add_argument("--init", type=Path, help="a checkpoint folder of the same shape and tokenizer")
    p.add_argument("--rate", type=float, default=2.0e-3, help="highest learning rate")
    p.add_argument("--int4-from", type=float, default=0.7, help="share of the time")
    p.add_argument("--group", type=int, default=128, help="inputs that share an int4 scale")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    shape = Shape()
    (a.work / "shape.json").write_text(json.dumps(dataclasses.asdict(shape)))
    net = Net(shape)
    if a.init:
        stacked = checkpoint.stack_experts(plain_checkpoint(checkpoint.read(a.init / "model.safetensors")))
        net.load_state_dict({n: torch.from_numpy(t.copy()) for n, t in stacked.items()})
    weights = SharedWeights(net, PROCESSES, a.group)
    progress = {"step": 0, "tokens": 0, "passes": 0, "elapsed": 0.0}
    if (a.work / "state.pt").exists():
        state = torch.load(a.work / "state.pt")
        progress = {k: state.pop(k) for k in progress}
        weights.load(state)
        if progress["elapsed"] >= a.minutes * 60:
            print(f"trained already: {progress['elapsed'] / 60:.1f} minutes, {progress['step']} steps")
            return
        print("resumed at", progress, flush=True)
    fork = multiprocessing.get_context("fork")
    barrier, clock = fork.Barrier(PROCESSES, timeout=600), torch.zeros(1).share_memory_()
    others = [fork.Process(target=train, args=(r, a, net, weights, progress, barrier, clock), daemon=True)
              for r in range(1, PROCESSES)]
    for o in others:
        o.start()
    train(0, a, net, weights, progress, barrier, clock)
    for o in others:
        o.join()


if __name__ == "__main__":
    main()
