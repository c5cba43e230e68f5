"""The Prometheus page: names, aliases, and that its numbers are those of what was sent.

    metrics_test.py PROGRAM PROMTOOL [CASE…]      PROMTOOL need not be there: its case says so, and looks no further
"""
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from raw_http import Answers, request
from serving import CHAT, COMPLETIONS, at_once, at_rest, check, equal, main, scripted, user

ALIASES = {  # what dashboards ask for: (its kind, our own names that say the same)
    "vllm:num_requests_running": ("gauge", "quadrant_num_requests_running", "quadrant_requests_running"),
    "vllm:num_requests_waiting": ("gauge", "quadrant_num_requests_waiting", "quadrant_requests_waiting"),
    "vllm:kv_cache_usage_perc": ("gauge",),  # ours are the blocks
    "vllm:prompt_tokens_total": ("counter", "quadrant_prompt_tokens_total"),
    "vllm:generation_tokens_total": ("counter", "quadrant_generation_tokens_total"),
    "vllm:time_to_first_token_seconds": ("histogram", "quadrant_time_to_first_token_seconds"),
    "vllm:inter_token_latency_seconds": ("histogram", "quadrant_inter_token_latency_seconds"),
    "vllm:e2e_request_latency_seconds": ("histogram", "quadrant_e2e_request_latency_seconds", "quadrant_request_latency_seconds"),
    "vllm:request_success_total": ("counter", "quadrant_request_success_total", "quadrant_requests_total"),
    "vllm:prefix_cache_hits_total": ("counter", "quadrant_prefix_cache_hits_total", "quadrant_prefix_cache_hit_tokens_total"),
}
SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')


class Page:
    """One reading of /metrics: kinds by family, values by (name, labels)."""

    def __init__(self, server):
        status, fields, self.text = server.ask("/metrics")
        equal(status, 200)
        check(fields["content-type"].startswith("text/plain; version=0.0.4"), fields)
        self.kinds, self.helped, self.values = {}, set(), {}
        family, ended = None, set()
        check(self.text.endswith("\n"), "the last line has no end")
        for line in self.text.splitlines():
            if line.startswith("# HELP "):
                self.helped.add(line.split(" ", 3)[2])
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                check(name not in self.kinds, f"{name} comes twice")
                self.kinds[name] = kind
                ended.add(family)
                family = name
            else:
                match = SAMPLE.fullmatch(line)
                check(match, f"not a sample: {line!r}")
                name, labels, value = match.groups()
                part = self.kinds.get(family) == "histogram" and name.removeprefix(family or "") in ("_bucket", "_sum", "_count")
                check(name == family or part, f"{name} stands under {family}")
                key = name, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")))
                check(key not in self.values, f"{key} comes twice")
                self.values[key] = float(value)

    def of(self, name, **labels):
        """The sum of the samples that have these labels."""
        found = [v for (n, of), v in self.values.items() if n == name and labels.items() <= dict(of).items()]
        check(found, f"there is no {name} with {labels}")
        return sum(found)

    def own(self, alias):
        """Our own name of what an alias says."""
        names = ALIASES[alias][1:]
        found = [n for n in names if n in self.kinds]
        check(found, f"none of {names}")
        return found[0]


def hello(server, **fields):
    return server.answer(CHAT, {"messages": user("[hello]"), **fields})


def the_page_is_well_formed(server, script, _):
    """families stand together, each with its help and kind, no sample twice, histograms cumulative up to their count"""
    hello(server)
    page = Page(server)
    equal(set(page.kinds) - page.helped, set(), "without help")
    for name, kind in page.kinds.items():
        check(kind in ("counter", "gauge", "histogram"), (name, kind))
        check(name.endswith("_total") == (kind == "counter"), f"{name} is a {kind}")
        if kind != "histogram":
            continue
        series = {}
        for (n, labels), value in page.values.items():
            if n == name + "_bucket":
                rest = tuple(pair for pair in labels if pair[0] != "le")
                series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        check(series, f"{name} has no buckets")
        for rest, buckets in series.items():
            check(buckets == sorted(buckets) and [v for _, v in buckets] == sorted(v for _, v in buckets) and buckets[-1][0] == math.inf, (name, buckets))
            count, total = (page.of(name + end, **dict(rest)) for end in ("_count", "_sum"))
            equal(buckets[-1][1], count, name)
            least = sum((b[1] - a[1]) * a[0] for a, b in zip([(0, 0), *buckets], buckets))
            most = sum((b[1] - a[1]) * b[0] for a, b in zip([(0, 0), *buckets], buckets) if b[1] > a[1])
            check(least <= total + 1e-9 and total <= most + 1e-9, f"{name}: a sum of {total} does not go with {buckets}")


def names_and_aliases(server, script, _):
    """what dashboards ask for is there under both names, of the right kind, with the same numbers"""
    hello(server)
    at_rest(server)
    page = Page(server)
    missing = [alias for alias in ALIASES if alias not in page.kinds]
    check(not missing, f"missing: {' '.join(missing)}")
    equal(page.of("vllm:kv_cache_usage_perc"), page.of("quadrant_kv_blocks_used") / page.of("quadrant_kv_blocks_capacity"))
    for alias, (kind, *names) in ALIASES.items():
        if not names:
            continue
        own = page.own(alias)
        equal((page.kinds[alias], page.kinds[own]), (kind, kind), alias)
        for end in ("_count", "_sum") if kind == "histogram" else ("",):
            if alias == "vllm:request_success_total":
                label = "finish_reason" if own == "quadrant_requests_total" else "finished_reason"
                equal(page.of(alias, finished_reason="stop"), page.of(own, **{label: "stop"}))
            else:
                equal(page.of(alias + end), page.of(own + end), alias)


WHAT_WAS_SENT = ("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_count", "inter_token_latency_seconds_count",
                 "e2e_request_latency_seconds_count", "prefix_cache_hits_total")


def numbers_are_those_of_what_was_sent(server, script, _):
    """tokens, times and ends grow by exactly what clients were told"""
    def numbers():
        page = Page(server)
        return {**{name: page.of("vllm:" + name) for name in WHAT_WAS_SENT},
                **{reason: page.of("vllm:request_success_total", finished_reason=reason) for reason in ("stop", "length", "abort")}}
    hello(server)
    at_rest(server)
    before = numbers()
    bodies = [hello(server) for _ in range(3)]
    bodies += [hello(server, max_tokens=2) for _ in range(2)]
    long = list(range(200))
    bodies += [server.answer(COMPLETIONS, {"prompt": long, "max_tokens": 3, "ignore_eos": True}) for _ in range(2)]
    bodies += [hello(server, n=2, temperature=0.5, seed=1)]
    at_once([lambda: bodies.append(server.answer(COMPLETIONS, {"prompt": "[count]", "max_tokens": 30})) for _ in range(4)])
    for bad in ({"messages": []}, {"messages": user("x"), "temperature": 9}):
        server.ask(CHAT, bad)
    with Answers(server.port) as leaving:
        leaving.send(request(CHAT, {"messages": user("[words]"), "max_tokens": 4000, "stream": True}))
        leaving.until(b"alfa")
    at_rest(server)
    after = numbers()
    grown = {name: after[name] - before[name] for name in after}
    usage = [b["usage"] for b in bodies]
    sequences = [(c["finish_reason"], b["usage"]["completion_tokens"] / len(b["choices"])) for b in bodies for c in b["choices"]]
    left = grown["generation_tokens_total"] - sum(u["completion_tokens"] for u in usage)
    check(left > 0, f"the request that was left made {left} tokens")
    prompt_of_left = len(script.encode("<|im_start|>user\n[words]<|im_end|>\n<|im_start|>assistant\n[words]"))
    equal(grown["prompt_tokens_total"], sum(u["prompt_tokens"] for u in usage) + prompt_of_left)
    reasons = [b["choices"][0]["finish_reason"] for b in bodies]  # a request is counted once, whatever its n
    equal(grown["stop"], reasons.count("stop"))
    equal(grown["length"], reasons.count("length"))
    equal(grown["abort"], 1)
    equal(grown["prefix_cache_hits_total"], sum((u.get("prompt_tokens_details") or {}).get("cached_tokens", 0) for u in usage))
    check(grown["prefix_cache_hits_total"] >= 128 + 64, grown)
    check(len(bodies) <= grown["time_to_first_token_seconds_count"] - 1 <= len(sequences), grown)
    check(len(bodies) <= grown["e2e_request_latency_seconds_count"] <= len(sequences) + 1, grown)
    check(grown["inter_token_latency_seconds_count"] > 0, grown)


def gauges_follow(server, script, _):
    """running, waiting and KV usage rise while answers are made and fall to nothing behind them"""
    at_rest(server)
    quiet = Page(server)
    for name in ("num_requests_running", "num_requests_waiting"):
        equal(quiet.of("vllm:" + name), 0, name)
    held = [Answers(server.port) for _ in range(5)]  # two of them run: see the topology below
    for c in held:
        c.send(request(CHAT, {"messages": user("[words]"), "max_tokens": 4000, "stream": True}))
    most = {"num_requests_running": 0, "num_requests_waiting": 0, "kv_cache_usage_perc": 0}
    for _ in range(40):
        page = Page(server)
        for name in most:
            most[name] = max(most[name], page.of("vllm:" + name))
    for c in held:
        c.socket.close()
    check(most["num_requests_running"] >= 1 and most["num_requests_waiting"] >= 1 and 0 < most["kv_cache_usage_perc"] <= 1, most)
    check(most["num_requests_running"] + most["num_requests_waiting"] <= 10, most)
    at_rest(server)
    for name in ("num_requests_running", "num_requests_waiting"):
        equal(Page(server).of("vllm:" + name), 0, name)


def prometheus_takes_it(server, script, promtool):
    """promtool has nothing against the page but the colon of the aliases, which dashboards want"""
    hello(server)
    if not promtool.is_file():
        return print(f"  not checked: there is no {promtool}; scripts/references says why")
    text = Page(server).text

    def complaints(page):
        done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=60)
        check(done.returncode in (0, 3), f"promtool: {done.returncode} {done.stdout} {done.stderr}")
        return [line for line in (done.stdout + done.stderr).splitlines() if line]
    equal(complaints("".join(line + "\n" for line in text.splitlines() if "vllm:" not in line)), [])
    others = [line for line in complaints(text) if not ("vllm:" in line and "':'" in line)]
    equal(others, [])


CASES = [the_page_is_well_formed, names_and_aliases, numbers_are_those_of_what_was_sent, gauges_follow, prometheus_takes_it]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        narrow = Path(scratch) / "narrow.toml"
        narrow.write_text("[decode]\nmax_sequences = 2\n")
        with scripted(sys.argv[1], "hermes", "--topology", narrow) as (served, model):
            main(CASES, served, model, Path(sys.argv[2]), only=sys.argv[3:])
