"""The program as a user meets it: answers, topologies, back-ends, bad input.

    program_test.py PROGRAM
"""
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from quadrant import MODEL, PROFILES, ROOT, call, check, main, run_json

QUESTION = "What is a violin?"


def topologies_agree(program):
    """run gives the same tokens and logits from one worker, from many, and from seven processes, greedy and sampled"""
    for flags in ([], ["--temperature", 0.8, "--seed", 7, "--top-p", 0.9]):
        answers = [run_json(program, QUESTION, "--topology", PROFILES / f"{name}.toml", *flags)
                   for name in ("one", "pp2-tp2-ep2", "pp2-tp2-ep2-processes", "tp4-kv2")]
        for a in answers[1:]:
            for key in ("token_ids", "logits_digest", "text", "finish_reason", "usage"):
                check(a[key] == answers[0][key], f"{key}: {a[key]} is not {answers[0][key]}")
        check(len(answers[0]["token_ids"]) > 5 and answers[0]["finish_reason"] == "stop", answers[0])


def kv_split_holds_more(program):
    """a sequence too long for the KV blocks of one decode worker is split over two, with the same tokens and logits"""
    with tempfile.TemporaryDirectory() as folder:
        prompt = ",".join(str(7 + i * i % 4000) for i in range(1900))  # 30 blocks
        answers = []
        for split, blocks in ((1, 20), (1, 40), (2, 20)):
            topology = Path(folder) / f"{split}-{blocks}.toml"
            topology.write_text(f"[decode]\ntp = 2\nkv_split = {split}\nkv_blocks = {blocks}\n")
            answers.append(call(program, "run", "--tokens", prompt, "--max-tokens", 8, "--ignore-eos", "--json", "--topology", topology))
        (status, _, err), *both = answers
        check(status > 0 and "can never fit the 20 KV blocks of decode" in err, err)
        whole, split = (json.loads(out) for _, out, _ in both)
        check(whole["token_ids"] == split["token_ids"] and whole["logits_digest"] == split["logits_digest"], (whole, split))


def back_ends_agree(program):
    """every back-end of this processor gives the same tokens and logits in every precision"""
    for precision in ("f32", "bf16", "w8a8", "w4a8"):
        seen = {}
        for isa in ("scalar", "avx2", "avx512"):
            status, out, err = call(program, "run", QUESTION, "--precision", precision, "--max-tokens", 12, "--json", QUADRANT_ISA=isa)
            if status and "this processor has no" in err:
                continue
            check(status == 0, err)
            a = json.loads(out)
            seen[isa] = a["token_ids"], a["logits_digest"]
        check("scalar" in seen and len(set(map(str, seen.values()))) == 1, f"{precision}: {seen}")


def a_seed_is_an_answer(program):
    """sampling with one seed repeats, with another it differs"""
    flags = ("--temperature", 1.5, "--ignore-eos", "--max-tokens", 30)
    a, b = (run_json(program, QUESTION, *flags, "--seed", 1) for _ in range(2))
    c = run_json(program, QUESTION, *flags, "--seed", 2)
    check(a["token_ids"] == b["token_ids"] and a["logits_digest"] == b["logits_digest"], "the same seed gave two answers")
    check(a["token_ids"] != c["token_ids"], "two seeds gave one answer")
    check(len(a["token_ids"]) == 30 and a["finish_reason"] == "length", a)


def tokens_need_no_tokenizer(program):
    """--tokens and logits work on a checkpoint without tokenizer files"""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("config.json", "model.safetensors"):
            shutil.copy(MODEL / name, folder)
        a = run_json(program, "--tokens", "4094,8,9", "--model", folder, "--max-tokens", 4, "--ignore-eos")
        check(len(a["token_ids"]) == 4 and a["usage"]["prompt_tokens"] == 3, a)
        status, out, err = call(program, "logits", "--model", folder, "--tokens", "5,6,7", "--json")
        check(status == 0, err)
        positions = json.loads(out)["positions"]
        check([len(p["top"]) for p in positions] == [5, 5, 5] and list(positions[0]) == ["top"], positions)
        status, _, err = call(program, "run", QUESTION, "--model", folder)
        check(status == 1 and "tokenizer.json" in err, err)


def bad_input_is_one_line(program):
    """a wrong flag, file, port or model gives one clear line and a non-zero exit"""
    with tempfile.TemporaryDirectory() as folder:
        bad = Path(folder) / "bad.toml"
        bad.write_text("[prefill]\npp = 0\n")
        vast = Path(folder) / "vast.toml"
        vast.write_text("[decode]\nkv_blocks = 16777216\n")
        broken = Path(folder) / "broken"
        shutil.copytree(MODEL, broken)
        (broken / "model.safetensors").write_bytes(b"\xff" * 64)
        cases = [
            (["run"], "needs either a prompt"),
            ([], "subcommand"),
            (["walk"], "walk"),
            (["run", QUESTION, "--tokens", "1"], "needs either a prompt"),
            (["run", QUESTION, "--frobnicate"], "frobnicate"),
            (["run", QUESTION, "--max-tokens", "0"], "max-tokens"),
            (["run", QUESTION, "--temperature", "warm"], "temperature"),
            (["run", "--tokens", "1,x"], "--tokens"),
            (["run", "--tokens", "1,99999"], "vocabulary"),
            (["run", QUESTION, "--max-tokens", "5000"], "positions"),
            (["run", QUESTION, "--precision", "w2a2"], "w4a8"),
            (["run", QUESTION, "--model", folder], "config.json"),
            (["run", QUESTION, "--model", str(broken)], "model.safetensors"),
            (["run", QUESTION, "--topology", "nowhere.toml"], "nowhere.toml"),
            (["run", QUESTION, "--topology", str(bad)], "bad.toml:2"),
            (["topology", str(bad)], "bad.toml:2"),
            (["serve", "--port", "99999"], "port"),
            (["serve", "--host", "nowhere.invalid"], "nowhere.invalid"),
            (["serve", "--api-key", "two words"], "API key"),
            (["serve", "--api-key-file", str(folder)], "API keys"),
            (["serve", "--max-connections", "0"], "max-connections"),
            (["serve", "--idle-timeout", "never"], "idle-timeout"),
            (["serve", "--log-format", "xml"], "log-format"),
            (["status", "--connect", "127.0.0.1:1"], "127.0.0.1:1"),
            (["status", "--connect", "here"], "HOST:PORT"),
            (["node", "--join", "127.0.0.1:1"], "127.0.0.1:1"),
            (["node"], "join"),
            (["logits", "--tokens", ""], "--tokens"),
            (["tokenize", folder], "tokenizer.json"),
            (["detokenize", str(bad)], "bad.toml"),
            (["template", folder], "chat_template.jinja"),
        ]
        for arguments, part in cases:
            status, out, err = call(program, *arguments, timeout=60)
            check(status not in (0, 124) and status > 0, f"{arguments}: exit {status}")
            check(out == "" and len(err.splitlines()) == 1, f"{arguments}: not one line: {out!r} {err!r}")
            check(part in err, f"{arguments}: {err!r} does not speak of {part}")
        status, _, err = call(program, "run", QUESTION, "--topology", vast, memory=8 << 30)
        check(status == 1 and len(err.splitlines()) == 1 and "decode.0 cannot have the memory" in err, (status, err))
    status, _, err = call(program, "run", QUESTION, QUADRANT_ISA="neon")
    check(status != 0 and "scalar, avx2 or avx512" in err, err)


def lines_are_answered(program):
    """tokenize, detokenize and template answer a line with a line; a bad one ends them, with its number"""
    text = json.dumps("What is a violin?\n<|im_end|>\u2028\U0001f3bb\0")
    status, ids, err = call(program, "tokenize", MODEL, stdin=f'{text}\n""\n')
    check(status == 0 and ids.startswith("[314,269,257,2125,256,63,10,4095,") and ids.endswith("]\n[]\n"), (ids, err))
    status, back, err = call(program, "detokenize", MODEL / "tokenizer.json", stdin=ids)
    check(status == 0 and [json.loads(line) for line in back.split("\n")[:-1]] == [json.loads(text), ""], (back, err))
    request = {"messages": [{"role": "user", "content": "Hi"}], "add_generation_prompt": True}
    status, out, err = call(program, "template", MODEL, stdin=json.dumps(request) + '\n{"messages": 1}')
    prompts = [json.loads(line) for line in out.splitlines()]
    check(status == 0 and prompts[0] == {"text": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"}, (out, err))
    check(prompts[1] == {"error": "messages are to be a list"}, prompts)

    for command, line, part in [("tokenize", '"a', "JSON"), ("tokenize", "[1]", "JSON string"), ("tokenize", "", "JSON"), ("detokenize", '"a"', "list"),
                                ("detokenize", "[1.5]", "list"), ("detokenize", "[-1]", "list"), ("template", "[]", "object")]:
        good = {"tokenize": '"a"', "detokenize": "[]", "template": '{"messages": []}'}[command]
        status, out, err = call(program, command, MODEL, stdin=f"{good}\n{line}\n{good}\n")
        check(status == 2 and len(out.splitlines()) == 1 and len(err.splitlines()) == 1, (command, line, status, out, err))
        check("line 2 " in err and part in err, err)


def found_from_a_prefix(program):
    """an installed program finds its model and answers"""
    with tempfile.TemporaryDirectory() as prefix:
        done = subprocess.run(["cmake", "--install", str(Path(program).parent), "--prefix", prefix], capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
        a = run_json(str(Path(prefix) / "bin" / "quadrant"), QUESTION)
        check(a["token_ids"] == run_json(program, QUESTION)["token_ids"], "another answer")


if __name__ == "__main__":
    check(ROOT.is_dir(), ROOT)
    main([topologies_agree, kv_split_holds_more, back_ends_agree, a_seed_is_an_answer, tokens_need_no_tokenizer, bad_input_is_one_line, lines_are_answered, found_from_a_prefix], sys.argv[1])
