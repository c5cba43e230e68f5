"""Every field that says how tokens are chosen, against numpy on logits that are known.

    sampling_test.py PROGRAM [CASE…]

Asks      a scripted model in f32: what may follow a token, and how likely each is, stands in its table
Follows   logit bias, the ban on ends before min_tokens, penalties; then temperature, top-k, top-p, min-p. Logprobs are of the raw logits
"""
import functools
import sys

import numpy as np

from chains import FACES, FACE_LOGITS, NUMBERS
from serving import CHAT, COMPLETIONS, Server, at_once, at_rest, check, choice, equal, main, refused, scripted, user

CLOSE = 2e-4


def complete(server, prompt, **fields):
    return server.answer(COMPLETIONS, {"prompt": prompt, "max_tokens": 40, **fields})


def text(server, prompt, **fields):
    return choice(complete(server, prompt, **fields))["text"]


def faces(said):
    """The faces that a text is made of, as numbers."""
    found = [" " + word for word in said.split(" ")[1:]]
    check("".join(found) == said and all(f in FACES for f in found), f"not faces alone: {said!r}")
    return [FACES.index(f) for f in found]


def throw(server, tokens, **fields):
    """What a die of known logits falls on."""
    return faces(text(server, "[dice]", max_tokens=tokens, **fields))


def greedy(script, prompt, tokens, presence=0.0, frequency=0.0, repetition=1.0):
    """What penalties make of the likeliest tokens."""
    ids = list(prompt)
    for _ in range(tokens):
        logits = script.table[ids[-1]].copy()
        counts = np.bincount(ids[len(prompt):], minlength=len(logits))
        seen = np.bincount(ids, minlength=len(logits)) > 0
        logits[seen] = np.where(logits[seen] > 0, logits[seen] / repetition, logits[seen] * repetition)
        logits -= frequency * counts + presence * (counts > 0)
        ids.append(int(logits.argmax()))
    return script.text(ids[len(prompt):])


# ---- ends


def chains_are_followed(server, script):
    """without a word on sampling the model's own habit, greedy, gives each chain to its end, by text and by ids, in both APIs"""
    for name in ("hello", "count", "violin", "half", "stops"):
        wanted, tokens = script.says(name)
        for prompt in (script.cue(name), [script.id(script.cue(name))]):
            body = complete(server, prompt)
            equal((choice(body)["text"], choice(body)["finish_reason"]), (wanted, "stop"), name)
            equal(body["usage"]["completion_tokens"], tokens, name)
            equal(body["usage"]["prompt_tokens"], 1, name)
        body = server.answer(CHAT, {"messages": user(script.cue(name))})
        equal((choice(body)["message"]["content"], choice(body)["finish_reason"]), (wanted, "stop"), name)


def length_ends(server, script):
    """max_tokens and max_completion_tokens end an answer with the reason length; of both the second counts"""
    for fields, tokens in (({"max_tokens": 3}, 3), ({"max_completion_tokens": 5}, 5), ({"max_tokens": 3, "max_completion_tokens": 4}, 4)):
        body = server.answer(CHAT, {"messages": user("[count]"), **fields})
        equal(choice(body)["message"]["content"], "".join(NUMBERS[:tokens]), fields)
        equal((choice(body)["finish_reason"], body["usage"]["completion_tokens"]), ("length", tokens), fields)


def ignore_eos_goes_on(server, script):
    """ignore_eos treats the end as any token, which shows no text"""
    equal(text(server, "[hello]", ignore_eos=True, max_tokens=9), "Hello, world!! on and on and")


def min_tokens_bans_the_end(server, script):
    """before min_tokens no end is chosen: neither the model's nor one of stop_token_ids"""
    for least, wanted in ((0, ""), (1, " well"), (2, " well then"), (4, " well then so be it")):
        equal(text(server, "[patient]", min_tokens=least), wanted, least)
    ends = [script.id(NUMBERS[2])]
    equal(text(server, "[count]", stop_token_ids=ends), " one two")
    said = text(server, "[count]", stop_token_ids=ends, min_tokens=5)
    check(said.startswith(" one two") and NUMBERS[2] not in said[:len(" one two three")], said)


def stop_token_ids_end(server, script):
    """a token of stop_token_ids ends the answer and is not part of it"""
    for stop in (NUMBERS[0], NUMBERS[4]):
        body = complete(server, "[count]", stop_token_ids=[script.id(stop), script.id(" zulu")])
        equal((choice(body)["text"], choice(body)["finish_reason"]), ("".join(NUMBERS[:NUMBERS.index(stop)]), "stop"))
        equal(body["usage"]["completion_tokens"], NUMBERS.index(stop) + 1)
    equal(text(server, "[count]", stop_token_ids=[script.id(NUMBERS[4])], ignore_eos=True), "".join(NUMBERS[:4]), "ignore_eos spares them not")


def stop_strings_end(server, script):
    """a stop string ends the answer wherever the borders of tokens lie; the first in the text counts; it is kept only where that is asked for"""
    for stop, wanted in (("STOP", "before "), ("TO", "before S"), (["never", " aft", "OP"], "before ST"), ("after!", "before STOP after"), ("b", "")):
        ended = choice(complete(server, "[stops]", stop=stop))
        equal((ended["text"], ended["finish_reason"]), (wanted, "stop"), stop)
    equal(text(server, "[stops]", stop="STOP", include_stop_str_in_output=True), "before STOP")
    equal(text(server, "[stops]", stop=["TO"], include_stop_str_in_output=True), "before STO")
    equal(text(server, "[violin]", stop="\U0001f3bb"), "A violin: ", "a stop string of a character of four tokens")


# ---- shapes of the distribution


def logit_bias_moves(server, script):
    """logit_bias is added to the logits: a ban, a choice, and a nudge that is just enough"""
    face = [str(script.id(f)) for f in FACES]
    equal(throw(server, 6), [0] * 6)
    equal(throw(server, 6, logit_bias={face[0]: -100, face[1]: -100}), [2] * 6)
    equal(throw(server, 6, logit_bias={face[5]: 100}), [5] * 6)
    gap = FACE_LOGITS[0] - FACE_LOGITS[1]
    equal(throw(server, 3, logit_bias={face[1]: gap - 0.01}), [0] * 3)
    equal(throw(server, 3, logit_bias={face[1]: gap + 0.01}), [1] * 3)


def penalties_follow_their_formulas(server, script):
    """presence and frequency penalties count what was made, repetition_penalty the prompt too; greedy answers are as numpy says"""
    dice = [script.id("[dice]")]
    for fields in ({"presence_penalty": 0.75}, {"presence_penalty": 2.0}, {"frequency_penalty": 0.31}, {"frequency_penalty": 1.7},
                   {"presence_penalty": 0.61, "frequency_penalty": 0.23}, {"presence_penalty": -1.0}, {"repetition_penalty": 1.08},
                   {"repetition_penalty": 1.5}, {"repetition_penalty": 0.8}):
        formula = {name.removesuffix("_penalty"): value for name, value in fields.items()}
        for prompt in (dice, [script.id(FACES[0]), script.id(FACES[1]), *dice], [script.id(FACES[3])] * 4):
            equal(text(server, prompt, max_tokens=24, **fields), greedy(script, prompt, 24, **formula), (fields, script.text(prompt)))


def supports_are_cut(server, script):
    """top_k, top_p and min_p leave exactly the tokens that they should, at the temperature that was asked for"""
    p = np.exp(np.array(FACE_LOGITS) - FACE_LOGITS[0])
    share = np.cumsum(p / p.sum())
    cases = [({"top_k": k}, k) for k in (1, 2, 5)] + [({"top_k": -1}, 6), ({"top_k": 0}, 6)]
    cases += [({"top_p": float((share[k - 1] + share[k - 2]) / 2 if k > 1 else share[0] / 2)}, k) for k in (1, 2, 4)]
    cases += [({"min_p": float((p[k - 1] + p[k]) / 2)}, k) for k in (1, 3, 5)]
    # Twice as hot, half as far apart.
    cases += [({"min_p": float((p[k - 1] + p[k]) / 2) ** 0.5, "temperature": 2.0}, k) for k in (2, 4)]
    cases += [({"top_k": 4, "min_p": float((p[1] + p[2]) / 2)}, 2)]
    for fields, wanted in cases:
        seen = throw(server, 400, **{"temperature": 1.0, "seed": 11, **fields})
        equal(set(seen), set(range(wanted)), fields)


def frequencies_are_those_of_the_softmax(server, script):
    """2,000 throws at a temperature come as the softmax says, each face within five standard deviations"""
    for temperature in (0.5, 1.0, 1.5):
        p = np.exp((np.array(FACE_LOGITS) - FACE_LOGITS[0]) / temperature)
        p /= p.sum()
        seen = np.bincount(throw(server, 2000, temperature=temperature, seed=5), minlength=6)
        far = np.abs(seen - 2000 * p) / np.sqrt(2000 * p * (1 - p))
        check(far.max() < 5, f"temperature {temperature}: {seen.tolist()} is not {(2000 * p).round().tolist()}")


# ---- seeds and samples


def a_seed_is_an_answer(server, script):
    """the same seed gives the same answer, also in another API and as text or ids; another seed, or none, another"""
    fields = {"temperature": 1.5, "max_tokens": 60}
    first = text(server, "[dice]", seed=42, **fields)
    equal(text(server, [script.id("[dice]")], seed=42, **fields), first)
    check(text(server, "[dice]", seed=43, **fields) != first, "another seed gave the same")
    equal(text(server, "[dice]", seed=-1, **fields), text(server, "[dice]", seed=-1, **fields), "a negative seed")
    check(text(server, "[dice]", **fields) != text(server, "[dice]", **fields), "no seed gave the same twice")


def samples_are_counted(server, script):
    """n samples share a prompt: sample 0 is the answer that n = 1 gives, the others differ, each ends by itself, and usage counts all"""
    fields = {"temperature": 1.5, "max_tokens": 40, "seed": 9}
    body = complete(server, "[dice]", n=4, **fields)
    equal([c["index"] for c in body["choices"]], [0, 1, 2, 3])
    texts = [c["text"] for c in body["choices"]]
    equal(texts[0], text(server, "[dice]", **fields))
    equal(len(set(texts)), 4, texts)
    equal(body["usage"], {**body["usage"], "prompt_tokens": 1, "completion_tokens": 160, "total_tokens": 161})
    equal([c["text"] for c in complete(server, "[dice]", n=4, **fields)["choices"]], texts, "again")
    chat = server.answer(CHAT, {"messages": user("[dice]"), "n": 3, **fields})
    check(len({c["message"]["content"] for c in chat["choices"]}) == 3, chat)
    alike = complete(server, "[count]", n=2)
    equal([(c["text"], c["finish_reason"]) for c in alike["choices"]], [(script.says("count")[0], "stop")] * 2, "greedy")
    equal(complete(server, "[count]", best_of=1, n=1)["usage"]["completion_tokens"], script.says("count")[1])
    refused(server.ask(COMPLETIONS, {"prompt": "[count]", "n": 1, "best_of": 3}), 400, param="best_of")


def a_crowd_changes_nothing(server, script):
    """the first law: 24 requests with seeds, of all fields and lengths, say the same alone and all at once, on the default model in its own precision"""
    questions = [f"What is {'a ' * (1 + i * 7 % 40)}{word}?" for i, word in enumerate(("violin", "river", "dog", "house", "tree", "car"))]
    fields = [{"temperature": 1.0}, {"temperature": 1.3, "top_k": 50, "n": 2}, {"temperature": 0.8, "top_p": 0.9, "presence_penalty": 0.5},
              {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.1, "logprobs": True, "top_logprobs": 2}]
    requests = [{"messages": user(q), "seed": 100 + i, "max_tokens": 24 + 4 * i, "ignore_eos": True, **fields[i % 4]} for i in range(24)
                for q in [questions[i % len(questions)]]]
    with Server(server.program) as default:
        def ask(request):
            return default.answer(CHAT, request)["choices"]
        alone = [ask(r) for r in requests]
        together = at_once([functools.partial(ask, r) for r in requests])
        for request, a, b in zip(requests, alone, together):
            equal(b, a, request)
        at_rest(default)


# ---- logprobs


def raw(script, before, token):
    return float(script.log_softmax(before)[token])


def check_chat_logprobs(script, before, content, top):
    for one in content:
        token = next(i for i, p in script.pieces.items() if list(script.bytes_of(i)) == one["bytes"])
        check(abs(one["logprob"] - raw(script, before, token)) < CLOSE, (one, raw(script, before, token)))
        equal(set(one), {"token", "logprob", "bytes", "top_logprobs"})
        equal(len(one["top_logprobs"]), top, one)
        best = np.sort(script.log_softmax(before))[::-1][:top]
        check(all(abs(t["logprob"] - b) < CLOSE for t, b in zip(one["top_logprobs"], best)), (one, best))
        for t in one["top_logprobs"]:
            equal(set(t), {"token", "logprob", "bytes"})
            alternatives = [i for i in script.pieces if list(script.bytes_of(i)) == t["bytes"]]
            check(any(abs(raw(script, before, i) - t["logprob"]) < CLOSE for i in alternatives), t)
        before = token
    return before


def logprobs_are_of_the_raw_logits(server, script):
    """each logprob is the log-softmax of the known logits, whatever temperature, penalties, cuts and bias did to the choice"""
    for fields in ({}, {"temperature": 1.7, "seed": 3}, {"temperature": 1.0, "seed": 3, "top_k": 3, "min_p": 0.1},
                   {"presence_penalty": 1.0, "frequency_penalty": 0.5}, {"logit_bias": {str(script.id(FACES[4])): 50}}):
        for top in (0, 5, 20):
            body = server.answer(CHAT, {"messages": user("[dice]"), "max_tokens": 12, "logprobs": True, "top_logprobs": top, **fields})
            content = choice(body)["logprobs"]["content"]
            equal(len(content), 12, fields)
            equal("".join(c["token"] for c in content), choice(body)["message"]["content"])
            check_chat_logprobs(script, script.id("[dice]"), content, top)
    body = server.answer(CHAT, {"messages": user("[violin]"), "logprobs": True})
    content = choice(body)["logprobs"]["content"]
    equal(bytes(b for one in content for b in one["bytes"]).decode().removesuffix(script.end), script.says("violin")[0], "half characters have their bytes")
    equal(choice(server.answer(CHAT, {"messages": user("[count]")}))["logprobs"], None, "not asked for")


def legacy_logprobs(server, script):
    """/v1/completions gives logprobs in its own form, up to 20 of them; a prompt has none"""
    for fields, top in (({"logprobs": 0}, 0), ({"logprobs": 3}, 3), ({"logprobs": 20, "temperature": 1.0, "seed": 4}, 20)):
        c = choice(complete(server, "[dice]", max_tokens=10, **fields))
        found = c["logprobs"]
        equal(set(found), {"tokens", "token_logprobs", "top_logprobs", "text_offset"})
        equal("".join(found["tokens"]), c["text"])
        equal(found["text_offset"], list(np.cumsum([0, *map(len, found["tokens"])])[:-1]))
        before = script.id("[dice]")
        for token, logprob, best in zip(found["tokens"], found["token_logprobs"], found["top_logprobs"] if top else [{}] * 10):
            check(abs(logprob - raw(script, before, script.id(token))) < CLOSE, (token, logprob))
            check(not top or top <= len(best) <= top + 1, f"{len(best)} are not the {top} best and the one that was chosen")
            ranked = np.sort(script.log_softmax(before))[::-1][:top]
            check(all(abs(a - b) < CLOSE for a, b in zip(sorted(best.values(), reverse=True), ranked)), (best, ranked))
            before = script.id(token)
    refused(server.ask(COMPLETIONS, {"prompt": "[dice]", "echo": True, "logprobs": 1}), 400, param="echo")
    refused(server.ask(COMPLETIONS, {"prompt": "[dice]", "logprobs": 21}), 400, param="logprobs")


# ---- grammar


def json_object_is_a_mask(server, script):
    """response_format json_object bans every token that leads out of JSON: a wrong beginning, an early end, words behind the object"""
    plain = choice(server.answer(CHAT, {"messages": user("[json]")}))
    equal(plain["message"]["content"], " Sure thing")
    for fields in ({}, {"temperature": 0.5, "seed": 1}, {"logprobs": True}):
        masked = choice(server.answer(CHAT, {"messages": user("[json]"), "response_format": {"type": "json_object"}, **fields}))
        equal((masked["message"]["content"].strip(), masked["finish_reason"]), ('{"answer": 42}', "stop"), fields)
    text_too = choice(server.answer(CHAT, {"messages": user("[json]"), "response_format": {"type": "text"}}))
    equal(text_too["message"]["content"], " Sure thing")
    logprobs = masked["logprobs"]["content"][0]
    check(abs(logprobs["logprob"] - max(raw(script, script.id("[json]"),
                                            i) for i in script.pieces if script.bytes_of(i) == bytes(logprobs["bytes"]))) < CLOSE,
          f"not of the raw logits: {logprobs}")


CASES = [chains_are_followed, length_ends, ignore_eos_goes_on, min_tokens_bans_the_end, stop_token_ids_end, stop_strings_end, logit_bias_moves,
         penalties_follow_their_formulas, supports_are_cut, frequencies_are_those_of_the_softmax, a_seed_is_an_answer, samples_are_counted,
         a_crowd_changes_nothing, logprobs_are_of_the_raw_logits, legacy_logprobs, json_object_is_a_mask]

if __name__ == "__main__":
    with scripted(sys.argv[1], "hermes") as (served, model):
        main(CASES, served, model, only=sys.argv[2:])
