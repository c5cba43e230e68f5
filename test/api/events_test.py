"""The bytes of answers: server-sent events, whole answers, header fields, request ids.

    events_test.py PROGRAM [CASE…]
"""
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from chains import NUMBERS
from raw_http import Answers, ask, events, request
from serving import CHAT, COMPLETIONS, Server, at_rest, check, choice, equal, main, refused, scripted, user


def streamed(server, path, version="1.1", **fields):
    """The events of a stream, its head checked."""
    status, head, body = ask(server.port, request(path, {"stream": True, **fields}, version=version))
    equal(status, 200, body)
    check(head["content-type"].split(";")[0] == "text/event-stream" and head["cache-control"] == "no-cache", head)
    equal(head.get("transfer-encoding"), "chunked" if version == "1.1" else None)
    return events(body)


def chat(server, cue, **fields):
    return streamed(server, CHAT, messages=user(cue), **fields)


def one_stream(all_events):
    """What all events of a stream have in common is said in each."""
    first = all_events[0]
    for e in all_events:
        equal([e[k] for k in ("id", "object", "created", "model")], [first[k] for k in ("id", "object", "created", "model")], e)
    check(abs(time.time() - first["created"]) < 600 and isinstance(first["created"], int), first)
    return first


def deltas(all_events, index=0):
    return [c for e in all_events for c in e["choices"] if c["index"] == index]


def a_stream_is_exact(server, script):
    """a role, the text in pieces, one reason to finish, [DONE]: each in its own event, in this order, and nothing else"""
    found = chat(server, "[count]")
    first = one_stream(found)
    check(first["object"] == "chat.completion.chunk" and first["id"].startswith("chatcmpl-") and first["model"] == "hermes", first)
    opening, *middle, closing = deltas(found)
    equal(len(found), len(middle) + 2, "an event has one choice")
    equal((opening["delta"], opening["finish_reason"]), ({"role": "assistant", "content": ""}, None))
    for c in middle:
        check(set(c["delta"]) == {"content"} and c["delta"]["content"] and c["finish_reason"] is None and c["logprobs"] is None, c)
    equal((closing["delta"], closing["finish_reason"]), ({}, "stop"))
    equal("".join(c["delta"]["content"] for c in middle), "".join(NUMBERS))
    check(len(middle) > 5, f"a stream in {len(middle)} pieces is none")
    check(all("usage" not in e for e in found), "usage was not asked for")


def usage_comes_last(server, script):
    """include_usage adds one event without choices before [DONE]; in the others usage is null; false adds nothing"""
    for path, fields in ((CHAT, {"messages": user("[count]")}), (COMPLETIONS, {"prompt": "[count]", "max_tokens": 40})):
        whole = server.answer(path, fields)["usage"]
        *others, last = streamed(server, path, stream_options={"include_usage": True}, **fields)
        equal((last["choices"], last["usage"]), ([], whole))
        check(all(e["usage"] is None and e["choices"] for e in others), others)
        one_stream([*others, last])
        check(all("usage" not in e for e in streamed(server, path, stream_options={"include_usage": False}, **fields)), "usage: false")


def a_completion_stream_is_exact(server, script):
    """/v1/completions streams text_completion objects: pieces of text, the reason with the last"""
    found = streamed(server, COMPLETIONS, prompt="[count]", max_tokens=40)
    first = one_stream(found)
    check(first["object"] == "text_completion" and first["id"].startswith("cmpl-"), first)
    equal("".join(c["text"] for c in deltas(found)), "".join(NUMBERS))
    equal([c["finish_reason"] for c in deltas(found)], [None] * (len(found) - 1) + ["stop"])
    check(all(set(c) == {"index", "text", "logprobs", "finish_reason"} for c in deltas(found)), found)


def whole_answers_are_exact(server, script):
    """an answer that is no stream has its length, its type, and the fields that clients know"""
    status, head, body = ask(server.port, request(CHAT, {"messages": user("[hello]")}))
    check(status == 200 and head["content-type"].startswith("application/json") and int(head["content-length"]) == len(body), head)
    value = server.answer(CHAT, {"messages": user("[hello]"), "model": "hermes"})
    check({"id", "object", "created", "model", "choices", "usage"} <= set(value) and value["object"] == "chat.completion", value)
    message = choice(value)["message"]
    equal((message["role"], message["content"], choice(value)["logprobs"]), ("assistant", "Hello, world!!", None))
    check(not message.get("tool_calls"), message)
    status, _, version = server.ask("/version")
    check(status == 200 and isinstance(version["version"], str) and version["version"], version)
    value = server.answer(COMPLETIONS, {"prompt": "[hello]", "max_tokens": 40})
    check(value["object"] == "text_completion" and set(choice(value)) >= {"index", "text", "logprobs", "finish_reason"}, value)


def characters_are_whole(server, script):
    """a character of four tokens comes in one piece; half of one, at the end, as U+FFFD, in a stream as in a whole answer"""
    for name in ("violin", "half"):
        pieces = [c["delta"].get("content", "") for c in deltas(chat(server, script.cue(name)))]
        equal("".join(pieces), script.says(name)[0], name)
        check(name == "half" or not any("\ufffd" in p for p in pieces), pieces)
        for path, fields in ((CHAT, {"messages": user(script.cue(name))}), (COMPLETIONS, {"prompt": script.cue(name)})):
            c = choice(server.answer(path, {"max_tokens": 40, **fields}))
            equal(c["text"] if path == COMPLETIONS else c["message"]["content"], script.says(name)[0], name)


def stops_are_held_back(server, script):
    """no piece of a stop string leaves before it is sure that it is none"""
    for stop, wanted, reason in (("STOP", "before ", "stop"), (["OP after", "zzz"], "before ST", "stop"), ("STOP!", "before STOP after", "stop")):
        found = deltas(chat(server, "[stops]", stop=stop))
        equal("".join(c["delta"].get("content", "") for c in found), wanted, stop)
        equal(found[-1]["finish_reason"], reason)


def samples_share_a_stream(server, script):
    """n samples in one stream: each has its role, its text and its reason, and the text is that of the whole answer"""
    fields = {"messages": user("[dice]"), "n": 3, "seed": 5, "temperature": 1.2, "max_tokens": 20}
    whole = server.answer(CHAT, fields)
    found = streamed(server, CHAT, stream_options={"include_usage": True}, **fields)
    for i in range(3):
        opening, *rest, closing = deltas(found, i)
        equal(opening["delta"], {"role": "assistant", "content": ""})
        equal("".join(c["delta"]["content"] for c in rest), whole["choices"][i]["message"]["content"])
        equal(closing["finish_reason"], "length")
    equal(found[-1]["usage"]["completion_tokens"], 60)


def logprobs_are_streamed(server, script):
    """the logprobs of a stream, joined, are those of the whole answer, and belong to the text that they come with"""
    for path, prompt in ((CHAT, {"messages": user("[violin]"), "logprobs": True, "top_logprobs": 2}), (COMPLETIONS, {"prompt": "[violin]", "logprobs": 2})):
        whole = choice(server.answer(path, {"max_tokens": 30, **prompt}))["logprobs"]
        found = [c["logprobs"] for c in deltas(streamed(server, path, max_tokens=30, **prompt)) if c["logprobs"]]
        for key in ("content",) if path == CHAT else ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            equal([one for part in found for one in part[key]], whole[key], key)


def an_old_client_is_served(server, script):
    """HTTP/1.0 gets no chunks: the end of the connection is the end of the stream"""
    equal("".join(c["delta"].get("content", "") for c in deltas(streamed(server, CHAT, version="1.0", messages=user("[hello]")))), "Hello, world!!")


def connections_are_kept(server, script):
    """a connection carries streams, whole answers and errors one after another, pipelined too"""
    with Answers(server.port) as connection:
        wanted = []
        for i in range(12):
            kind = i % 4
            connection.send((request(CHAT, {"messages": user("[count]"), "stream": True}), request(CHAT, {"messages": user("[hello]")}),
                             request(CHAT, b"{"), request("/v1/models"))[kind])
            wanted.append((200, 200, 400, 200)[kind])
        for status in wanted:
            found, head, body = connection.answer()
            check(found == status and head.get("connection", "keep-alive").lower() == "keep-alive", (found, head, body[:200]))


def errors_are_openais(server, script):
    """errors before a stream begins have their own status, and the form of OpenAI's errors"""
    for fields, status, param in (({"messages": []}, 400, "messages"), ({"messages": user("x"), "temperature": -1}, 400, "temperature"),
                                  ({"messages": user("x"), "model": "other"}, 404, "model"), ({}, 400, "messages"),
                                  ({"messages": user("x"), "max_tokens": 99999}, 400, "max_tokens"), ({"messages": user("word " * 5000)}, 400, "messages")):
        for stream in (False, True):
            error = refused(server.ask(CHAT, {"stream": stream, **fields}), status, param=param)
            equal(error["type"], "invalid_request_error" if status == 400 else error["type"])
    refused(server.ask(COMPLETIONS, {"prompt": "x", "suffix": "y"}), 400, param="suffix")
    refused(server.ask(COMPLETIONS, {}), 400, param="prompt")
    refused(server.ask("/v1/nothing"), 404)
    refused(server.ask(CHAT), 405)
    refused(server.ask("/v1/models", {}), 405)


def unknown_fields_are_ignored(server, script):
    """fields that nobody knows change nothing, and their values reach no log"""
    body = server.answer(CHAT, {"messages": user("[hello]"), "user": "me", "secretword": "hiddenvalue", "metadata": {"a": "b"}, "store": False})
    equal(choice(body)["message"]["content"], "Hello, world!!")
    check(not any("secretword" in line or "hiddenvalue" in line for line in server.log), server.log)


def request_ids_go_through(server, script):
    """X-Request-Id comes back as it came, and stands in the log; without one there is one, new each time; a hostile one is not sent back"""
    for path, body, status in ((CHAT, {"messages": user("[hello]")}, 200), (CHAT, {"messages": user("[hello]"), "stream": True}, 200), (CHAT, {}, 400),
                               ("/v1/models", None, 200), ("/nowhere", None, 404)):
        name = f"test-{status}.{len(path)}_Ab"
        found, head, _ = ask(server.port, request(path, body, fields=[("X-Request-Id", name)]))
        equal((found, head.get("x-request-id")), (status, name), path)
        made = {ask(server.port, request(path, body))[1].get("x-request-id") for _ in range(2)}
        check(len(made) == 2 and all(made), made)
    check(any("test-200" in line for line in server.log), "a request id should stand in the log")
    for bad in ("x" * 5000, "a\tb", "caf\u00e9", "a b\x7f", '"},{"x":"'):
        status, head, body = ask(server.port, request("/v1/models", fields=[("X-Request-Id", bad)]).replace(b"\xc3\xa9", b"\xe9"))
        back = head.get("x-request-id", "")
        check(status in (200, 400) and len(back) <= 256 and re.fullmatch(r"[\x21-\x7e]*", back), (status, back[:300]))


def a_break_is_told(server, script):
    """a worker that dies in mid-stream ends the stream with an error event in OpenAI's form"""
    with tempfile.TemporaryDirectory() as folder:
        two = Path(folder) / "two.toml"
        two.write_text('[[process]]\nname = "p"\nruns = ["prefill.0.0"]\n[[process]]\nname = "d"\nruns = ["decode.0"]\n')
        with Server(server.program, "--topology", two) as other, Answers(other.port) as connection:
            connection.send(request(CHAT, {"messages": user("What is a river?"), "stream": True, "ignore_eos": True, "max_tokens": 1900}))
            equal(connection.head()[0], 200)
            body, killed = b"", False
            for piece in connection.pieces():
                body += piece
                if not killed and body.count(b"data: ") > 3:
                    os.kill(other.child("d"), signal.SIGKILL)
                    killed = True
            data = [e for e in body.decode().split("\n\n") if e and e != "data: [DONE]"]
            last = data[-1].removeprefix("data: ")
            check(last.startswith('{"error":{'), last)
            check(all(f'"{key}":' in last for key in ("message", "type", "param", "code")), last)


CASES = [a_stream_is_exact, usage_comes_last, a_completion_stream_is_exact, whole_answers_are_exact, characters_are_whole, stops_are_held_back,
         samples_share_a_stream, logprobs_are_streamed, an_old_client_is_served, connections_are_kept, errors_are_openais, unknown_fields_are_ignored,
         request_ids_go_through, a_break_is_told]

if __name__ == "__main__":
    with scripted(sys.argv[1], "hermes") as (served, model):
        main(CASES, served, model, only=sys.argv[2:])
        at_rest(served)
