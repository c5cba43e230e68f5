"""Servers for the tests of this folder, on scripted models or the default one, and what every test asks of them."""
import contextlib
import os
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / folder) for folder in ("integration", "golden", "reference")]
from quadrant import MODEL, PROFILES, Server, at_once, call, check, main  # noqa: E402, F401
from scripted_checkpoint import Scripted  # noqa: E402

os.environ["QUADRANT_LOG"] = "info"  # a line a request: what must not be in a log would be here

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "What the weather is in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


@contextlib.contextmanager
def scripted(program, form, *arguments, precision="f32"):
    """(a server, what its model says)"""
    script = Scripted(form)
    with tempfile.TemporaryDirectory() as folder:
        script.write(Path(folder) / form)
        with Server(program, "--model", Path(folder) / form, "--precision", precision, *arguments) as server:
            yield server, script
        check(server.status == 0, f"the server ended with {server.status}: {''.join(server.log)[-2000:]}")


def user(text):
    return [{"role": "user", "content": text}]


def choice(body):
    check(len(body["choices"]) == 1, body)
    return body["choices"][0]


def equal(found, wanted, what=""):
    check(found == wanted, f"{what}: {found!r} is not {wanted!r}")


def refused(answer, status, param=None, code=None, words="", beside=()):
    """An answer of Server.ask that is an error, in the one form that errors have; `beside` may stand beside it."""
    found, fields, body = answer
    equal(found, status, body)
    check(isinstance(body, dict) and set(body) - set(beside) == {"error"}, f"not an error's body: {body!r}")
    error = body["error"]
    equal(set(error), {"message", "type", "param", "code"}, error)
    check(isinstance(error["message"], str) and error["message"] and isinstance(error["type"], str), error)
    check(all(error[k] is None or isinstance(error[k], str) for k in ("param", "code")), error)
    for name, wanted in (("param", param), ("code", code)):
        check(wanted is None or error[name] == wanted, f"{name} should be {wanted}: {error}")
    check(words in error["message"], f"{error['message']!r} does not speak of {words!r}")
    return error


def at_rest(server):
    """The books are at zero once nobody asks for anything; a prefix cache may keep blocks, but nobody holds them."""
    state = server.settled()
    books = state["books"]
    held = {name: books[name] for name in ("requests_live", "blocks_used", "leases", "credits_out")}
    check(not any(held.values()), held)
    check(books["blocks_free"] + books.get("blocks_cached", 0) == books["blocks_total"], books)
    check(not [a for a in state["actors"] if a["role"] in ("request", "kv transfer")], state["actors"])
