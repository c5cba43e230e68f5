"""Many clients, slow clients, too many clients, clients that come too early.

    crowd_test.py PROGRAM [CASE…]
"""
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from raw_http import Answers, ask, events, request
from serving import CHAT, COMPLETIONS, MODEL, Server, at_rest, call, check, choice, equal, main, refused, scripted, user

IDLE, STREAMS = 1000, 200
SKIPPED = 77
WORDS = ("violin", "river", "dog", "house", "tree", "car", "bread", "music", "stone", "bird")


def resident(server):
    """(now, at most so far) in bytes"""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines())
    return tuple(int(lines[name].split()[0]) << 10 for name in ("VmRSS", "VmHWM"))


def stream_text(server, body):
    return text_of(ask(server.port, request(CHAT, {"stream": True, **body})))


def text_of(streamed):
    """(text, the reason to finish) of an answer of raw_http that is a stream"""
    status, _, answer = streamed
    equal(status, 200, answer[:300])
    found = [c for e in events(answer) for c in e["choices"]]
    return "".join(c["delta"].get("content", "") for c in found), found[-1]["finish_reason"]


def a_thousand_rest_while_two_hundred_stream(program):
    """beside 1,000 idle connections 200 streams say what each says alone, and the idle ones still answer; from the soft limit of files of a shell"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = 2 * (IDLE + STREAMS) + 200
    check(hard == resource.RLIM_INFINITY or hard >= needed, f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    with Server(program) as server:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        bodies = [{"messages": user(f"What is a {WORDS[i % len(WORDS)]}?"), "temperature": 0.9, "seed": i % 20, "max_tokens": 12 + i % 20, "ignore_eos": True}
                  for i in range(20)]
        alone = [stream_text(server, body) for body in bodies]
        before = resident(server)[0]
        resting = [Answers(server.port) for _ in range(IDLE)]
        for c in resting:
            c.send(request("/v1/models"))
        equal([c.answer()[0] for c in resting], [200] * IDLE)
        streams = [Answers(server.port, timeout=30) for _ in range(STREAMS)]
        for i, c in enumerate(streams):
            c.send(request(CHAT, {"stream": True, **bodies[i % len(bodies)]}))
        for i, c in enumerate(streams):
            equal(text_of(c.answer()), alone[i % len(bodies)], f"stream {i}")
        for c in resting[::50]:
            c.send(request("/v1/models"))
            equal(c.answer()[0], 200)
        grown = resident(server)[0] - before
        print(f"  {IDLE} idle connections and {STREAMS} streams: {grown >> 20} MB more")
        check(grown < 200 << 20, f"{grown >> 20} MB for {IDLE} connections")
        for c in resting + streams:
            c.socket.close()
        at_rest(server)
    equal(server.status, 0)


def slow_readers_hold_nothing(program):
    """clients that do not read cost a bounded amount of memory each, and others wait for none of them"""
    slow = 40
    with scripted(program, "hermes") as (server, script):
        wanted = stream_text(server, {"messages": user("[count]")})
        before = resident(server)[0]
        body = {"messages": user("[words]"), "max_tokens": 1500, "stream": True, "logprobs": True, "top_logprobs": 20}
        held = [Answers(server.port) for _ in range(slow)]
        for c in held:
            c.send(request(CHAT, body))
        begun = time.monotonic()
        for _ in range(20):
            equal(stream_text(server, {"messages": user("[count]")}), wanted)
        print(f"  20 answers beside {slow} clients that read nothing: {time.monotonic() - begun:.1f} s")
        deadline = time.monotonic() + 60
        while server.cluster()["books"]["requests_live"] and time.monotonic() < deadline:
            time.sleep(0.2)
        most = resident(server)[1] - before
        print(f"  {most >> 20} MB at most")
        check(most < 100 << 20, f"{slow} slow readers cost {most >> 20} MB")
        for c in held:
            c.socket.close()
        at_rest(server)


def a_full_queue_says_so(program):
    """past the bound of the queue a request gets 429 with Retry-After, a stream too, and later ones are taken when there is room again"""
    with tempfile.TemporaryDirectory() as folder:
        tight = Path(folder) / "tight.toml"
        tight.write_text("[decode]\nmax_sequences = 2\n[cluster]\nmax_queued_requests = 2\n")
        with scripted(program, "hermes", "--topology", tight) as (server, script):
            held = [Answers(server.port) for _ in range(4)]
            for c in held:
                c.send(request(CHAT, {"messages": user("[words]"), "max_tokens": 4000, "stream": True}))
            for _ in range(200):
                if server.cluster()["books"]["requests_live"] == 4:
                    break
                time.sleep(0.02)
            refusals = 0
            for fields in ({}, {"stream": True}):
                answer = server.ask(CHAT, {"messages": user("[hello]"), **fields})
                if answer[0] == 429:  # the four may have ended meanwhile
                    refusals += 1
                    refused(answer, 429)
                    check(int(answer[1]["retry-after"]) >= 1, answer[1])
            equal(refusals, 2)
            answer = server.ask(COMPLETIONS, {"prompt": ["[hello]"] * 3, "max_tokens": 2})
            refused(answer, 429)
            for c in held:
                c.socket.close()
            at_rest(server)
            equal(choice(server.answer(CHAT, {"messages": user("[hello]")}))["finish_reason"], "stop")


def loading_is_said(program):
    """while a model loads, /health and the API say 503, errors in OpenAI's form with Retry-After; then the same port serves"""
    config = {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 1024, "num_hidden_layers": 6, "vocab_size": 4096,
              "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 128, "num_experts": 24, "num_experts_per_tok": 4, "norm_topk_prob": True,
              "moe_intermediate_size": 512, "intermediate_size": 512, "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu",
              "attention_bias": False, "tie_word_embeddings": False, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 2048,
              "torch_dtype": "bfloat16", "bos_token_id": 4093, "eos_token_id": 4095}
    with tempfile.TemporaryDirectory() as folder:
        like, model = Path(folder) / "config.json", Path(folder) / "random"
        like.write_text(json.dumps(config))
        status, _, err = call(program, "make-random", "--like", like, model)
        check(status == 0, err)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (model / name).write_bytes((MODEL / name).read_bytes())
        server, seen, bodies = Server(program, "--model", model), [], []
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and server.process.poll() is None:
                try:
                    health = server.ask("/health")
                except OSError:
                    time.sleep(0.005)
                    continue
                seen.append(health[0])
                if health[0] == 200:
                    break
                refused(health, 503, beside=["status", "progress"])
                check("retry-after" in health[1], health)
                answer = server.ask(CHAT, {"messages": user("Hi"), "max_tokens": 1})
                if answer[0] != 200:
                    refused(answer, 503)
                    bodies.append(answer[1].get("retry-after"))
                time.sleep(0.05)
            print(f"  /health said 503 {seen.count(503)} times before it said 200")
            check(503 in seen and seen[-1] == 200, seen)
            check(bodies and all(b and int(b) >= 1 for b in bodies), f"Retry-After: {bodies}")
            server.answer(CHAT, {"messages": user("Hi"), "max_tokens": 1})
        finally:
            server.__exit__()


def too_many_connections_are_told(program):
    """connections past the bound get 503 and are let go; those before still serve"""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000) if hard != resource.RLIM_INFINITY else 20000, hard))
    with scripted(program, "hermes") as (server, script):
        held, refusal = [], None
        for _ in range(9000):
            c = Answers(server.port, timeout=30)
            held.append(c)
            c.send(request("/v1/models"))
            try:
                status, fields, body = c.answer()
            except (OSError, EOFError):
                status, fields, body = 0, {}, b""
            if status != 200:
                refusal = status, fields, body
                break
        print(f"  {len(held) - 1} connections were taken")
        check(len(held) > IDLE + STREAMS, f"only {len(held)} connections")
        if refusal:
            check(refusal[0] in (503, 0), refusal)
        held[0].send(request("/v1/models"))
        equal(held[0].answer()[0], 200)
        for c in held:
            c.socket.close()
        time.sleep(0.3)
        equal(choice(server.answer(CHAT, {"messages": user("[hello]")}))["finish_reason"], "stop")
        at_rest(server)


def keys_are_asked_for(program):
    """with --api-key and --api-key-file the API wants one of the keys; health, metrics and version do not; no key reaches the log"""
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text("key-of-file-1\n# a comment\n\nkey-of-file-2\n")
        with scripted(program, "hermes", "--api-key", "key-one", "--api-key", "key-two", "--api-key-file", keys) as (server, script):
            body = {"messages": user("[hello]")}
            for key in ("key-one", "key-two", "key-of-file-1", "key-of-file-2"):
                server.answer(CHAT, body, headers={"Authorization": f"Bearer {key}"})
            for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "key-one"}, {"Authorization": "Bearer key-on"},
                          {"Authorization": "Bearer key-one2"},
                          {"Authorization": "Bearer "}, {"Authorization": "Basic key-one"}, {"Authorization": "Bearer # a comment"}):
                for path, what in ((CHAT, body), (COMPLETIONS, {"prompt": "x"}), ("/v1/models", None), ("/tokenize", {"prompt": "x"}),
                                   ("/detokenize", {"tokens": [1]})):
                    answer = server.ask(path, what, headers=wrong)
                    refused(answer, 401, code="invalid_api_key")
            for path in ("/health", "/metrics", "/version"):
                equal(server.ask(path)[0], 200, path)
        check(not any("key-o" in line or "key-t" in line or "wrong" in line for line in server.log), server.log)


CASES = [a_thousand_rest_while_two_hundred_stream, slow_readers_hold_nothing, a_full_queue_says_so, loading_is_said,
         too_many_connections_are_told, keys_are_asked_for]

if __name__ == "__main__":
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4000:
        print(f"crowd: the hard limit of open files is {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}, and 4,000 are needed")
        sys.exit(SKIPPED)
    main(CASES, sys.argv[1], only=sys.argv[2:])
