"""Tool calls out of what a model wrote, and back into its next prompt, in each format that a chat template can have.

    tool_calls_test.py PROGRAM [CASE…]
"""
import json
import sys

from chains import CALL, CALLS, FORMATS, RESULT
from raw_http import ask, events, request
from serving import CHAT, WEATHER, at_rest, check, choice, equal, main, scripted, user
import jinja2_reference  # noqa: E402: serving says where it is

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else ""
BESIDE = {"talk": "Let me see. "}  # what a chain says before its call


def gathered(server, **fields):
    """(text, calls, the reason to finish) of a stream, its deltas put together as clients do."""
    status, _, body = ask(server.port, request(CHAT, {"stream": True, **fields}))
    equal(status, 200, body)
    text, calls, reason = "", {}, None
    for e in events(body):
        for c in e["choices"]:
            text += c["delta"].get("content") or ""
            reason = c["finish_reason"] or reason
            for part in c["delta"].get("tool_calls") or []:
                check(reason is None, "a call after the reason to finish")
                if part["index"] not in calls:
                    check(part["id"] and part["type"] == "function" and part["function"]["name"], f"a call opens with its id, type and name: {part}")
                    calls[part["index"]] = {"id": part["id"], "type": "function", "function": {"name": part["function"]["name"], "arguments": ""}}
                else:
                    check("name" not in part["function"] and not part.get("id"), f"a name or an id comes twice: {part}")
                calls[part["index"]]["function"]["arguments"] += part["function"].get("arguments") or ""
    equal(list(calls), list(range(len(calls))), "indices")
    return text, list(calls.values()), reason


def whole(server, **fields):
    c = choice(server.answer(CHAT, fields))
    return c["message"]["content"], c["message"].get("tool_calls") or [], c["finish_reason"]


def check_calls(calls, cities):
    equal([(c["type"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls],
          [("function", "get_weather", {"city": city}) for city in cities], calls)
    check(all(isinstance(c["function"]["arguments"], str) and c["id"] for c in calls) and len({c["id"] for c in calls}) == len(calls), calls)


def calls_come_out(form):
    """each chain of this format that calls gives its calls, whole and streamed, with the text beside them"""
    with scripted(PROGRAM, form) as (server, script):
        for name in script.chains:
            if name in ("call", "calls", "talk", "tagged"):
                for how in (whole, gathered):
                    content, calls, reason = how(server, messages=user(script.cue(name)), tools=[WEATHER])
                    check_calls(calls, CALLS if name == "calls" else CALL)
                    equal(((content or "").strip(), reason), (BESIDE.get(name, "").strip(), "tool_calls"), (name, how.__name__))
        at_rest(server)


def hermes_calls(_):
    """Hermes and Qwen: JSON between <tool_call> marks, whose letters come in tokens of any cut"""
    calls_come_out("hermes")


def mistral_calls(_):
    """Mistral: a JSON list after [TOOL_CALLS], a special token"""
    calls_come_out("mistral")
    calls_come_out("mistral_two")


def llama_calls(_):
    """Llama 3.1: a bare JSON object, or one after <|python_tag|>"""
    calls_come_out("llama")


def deepseek_calls(_):
    """DeepSeek-V3: names and fenced JSON between marks of their own"""
    calls_come_out("deepseek")


def what_is_no_call_is_text(_):
    """without tools, or with tool_choice none, the same words are text; so is what only begins like a call"""
    for form in ("hermes", "llama"):
        with scripted(PROGRAM, form) as (server, script):
            for fields in ({}, {"tools": [WEATHER], "tool_choice": "none"}):
                for how in (whole, gathered):
                    equal(how(server, messages=user("[call]"), **fields), (script.says("call")[0], [], "stop"), (form, fields))
            for name in ("hello", "count", *(["brace", "torn"] if form == "llama" else [])):
                for how in (whole, gathered):
                    content, calls, reason = how(server, messages=user(script.cue(name)), tools=[WEATHER])
                    equal((calls, reason), ([], "stop"), (form, name))
                    equal(content, script.says(name)[0], (form, name))
            at_rest(server)


def cut_calls_are_as_they_are(_):
    """a call that ends in its middle, by itself or by max_tokens, is text or the call as far as it came, streamed as whole; nothing is made up"""
    with scripted(PROGRAM, "hermes") as (server, script):
        for how in (whole, gathered):
            content, calls, reason = how(server, messages=user("[torn]"), tools=[WEATHER])
            found = [(c["function"]["name"], c["function"]["arguments"]) for c in calls]
            check((content, found, reason) == (script.says("torn")[0], [], "stop") or (found, reason) == ([("get_weather", '{"ci')], "tool_calls"),
                  (content, calls, reason))
    for form in FORMATS:
        with scripted(PROGRAM, form) as (server, script):
            name = "call" if "call" in script.chains else "calls"
            for tokens in range(1, len(script.chains[name]) - 2):
                for how in (whole, gathered):
                    content, calls, reason = how(server, messages=user(script.cue(name)), tools=[WEATHER], max_tokens=tokens)
                    equal(reason, "length", (form, tokens, how.__name__))
                    for call in calls:
                        equal(call["function"]["name"], "get_weather")
                        check('{"city": "Paris"}'.startswith(call["function"]["arguments"].strip()), call)


def conversation(script, arguments):
    """A call, its result, and the request that goes on from there; `arguments` as clients write them, or as templates take them."""
    call = {"id": "call12345", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    return [{"role": "system", "content": "Be brief."}, *user("Is it warm in Paris?"), {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call12345", "content": RESULT}]


def calls_go_in(_):
    """tools and past calls reach the template: its prompt has the tokens that Jinja2 and the known vocabulary make of it, and the answer follows the result"""
    for form in FORMATS:
        with scripted(PROGRAM, form) as (server, script):
            config = {"chat_template": script.template(), "bos_token": script.begin, "eos_token": script.end}
            cases = [({"messages": user("[hello]"), "tools": [WEATHER]},) * 2, ({"messages": user("[hello]")},) * 2]
            for written in ('{"city": "Paris"}', '{"city":"Par\\u00eds", "days": [1, 2.5, null], "deep": {"a": true}}'):
                given, taken = ({"messages": conversation(script, a), "tools": [WEATHER]} for a in (written, json.loads(written)))
                cases.append((given, taken))
            for given, taken in cases:
                rendered = jinja2_reference.render(config, [{"add_generation_prompt": True, **taken}])[0]
                check("text" in rendered, rendered)
                body = server.answer(CHAT, given)
                equal(body["usage"]["prompt_tokens"], len(script.encode(rendered["text"])), (form, rendered["text"]))
                equal(choice(body)["message"]["content"], script.says(RESULT if len(given["messages"]) > 1 else "hello")[0], form)


CASES = [hermes_calls, mistral_calls, llama_calls, deepseek_calls, what_is_no_call_is_text, cut_calls_are_as_they_are, calls_go_in]

if __name__ == "__main__":
    main(CASES, PROGRAM, only=sys.argv[2:])
