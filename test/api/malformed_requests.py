"""Requests that are good, and by hand what is wrong with others: fields, heads, chunks."""
import json

from mutations import MARK
from serving import CHAT, COMPLETIONS, WEATHER, user

GOOD_CHAT = {"messages": [{"role": "system", "content": [{"type": "text", "text": f"{MARK}"}]}, *user("[hello]")], "model": "hermes", "max_tokens": 4,
             "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.01, "n": 1, "stop": ["x", "y"], "stream": False, "seed": 7, "logprobs": True, "top_logprobs": 2,
             "min_tokens": 0, "presence_penalty": 0.1, "frequency_penalty": 0.1, "repetition_penalty": 1.1, "logit_bias": {"5": 1},
             "response_format": {"type": "text"}, "ignore_eos": False, "stop_token_ids": [7], "tools": [WEATHER], "tool_choice": "auto", "chat_template_kwargs": {"prefix": ""},
             "include_stop_str_in_output": False, "user": MARK}
GOOD_COMPLETION = {"prompt": "[hello]", "max_tokens": 4, "echo": True, "logprobs": 2, "n": 1, "best_of": 1, "stop": "x", "temperature": 0,
                   "logit_bias": {"5": -1}}
GOOD = {CHAT: GOOD_CHAT, COMPLETIONS: GOOD_COMPLETION, "/tokenize": {"prompt": f"{MARK}"}, "/detokenize": {"tokens": [1, 2, 3]}}

# ---- fields

NUMBERLESS = [f'"{MARK}"', "true", "[]", "{}"]
WRONG = {  # of both APIs: field: values that are refused
    "model": ["5", '""', "[]", "{}", "true"],
    "max_tokens": [*NUMBERLESS, "-1", "1.5", "1e30", "99999999999999999999", "2147483648", "5000"],
    "temperature": [*NUMBERLESS, "-0.1", "2.1", "1e30"],
    "top_p": [*NUMBERLESS, "-0.1", "1.1", "0"],
    "top_k": [*NUMBERLESS, "-2", "1.5", "99999999999999999999"],
    "min_p": [*NUMBERLESS, "-0.1", "1.1"],
    "n": [*NUMBERLESS, "0", "-1", "1.5", "1000000", "99999999999999999999"],
    "stop": ["5", "true", "{}", '""', '["a", ""]', '["a", 5]', '["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"]'],
    "stream": ["1", '"true"', "[]", "{}"],
    "stream_options": ['{"include_usage": true}', "5", "[]"],
    "seed": [*NUMBERLESS, "1.5", "1e30", "99999999999999999999"],
    "presence_penalty": [*NUMBERLESS, "-2.1", "2.1"],
    "frequency_penalty": [*NUMBERLESS, "-2.1", "2.1"],
    "repetition_penalty": [*NUMBERLESS, "0", "-1"],
    "logit_bias": ["5", '"a"', "[]", '{"a": 1}', '{"5": "a"}', '{"5": 101}', '{"5": -101}', '{"-1": 1}', '{"512": 1}', '{"5.5": 1}',
                   '{"99999999999999999999": 1}', '{" 5": 1}', '{"": 1}'],
    "ignore_eos": ["1", '"true"', "[]"],
    "min_tokens": [*NUMBERLESS, "-1", "1.5", "5000"],
    "stop_token_ids": ["5", '"a"', "{}", '["a"]', "[-1]", "[512]", "[1.5]", "[99999999999999999999]"],
    "include_stop_str_in_output": ["1", '"true"', "[]"],
}
WRONG_CHAT = {
    **WRONG,
    "messages": ["null", "5", '"a"', "{}", "[]", "[5]", "[null]", "[[]]"],
    "max_completion_tokens": [*NUMBERLESS, "-1", "0", "1.5"],
    "logprobs": ["5", '"true"', "[]"],
    "top_logprobs": [*NUMBERLESS, "-1", "21", "1.5"],
    "response_format": ["5", '"json"', "[]", "{}", f'{{"type": "{MARK}"}}', '{"type": 5}'],
    "tools": ["5", '"a"', "{}", "[5]", "[{}]", '[{"type": "function"}]', '[{"type": "function", "function": {}}]',
              '[{"type": "function", "function": {"name": 5}}]',
              '[{"type": "function", "function": {"name": "f", "parameters": 5}}]'],
    "tool_choice": ["5", "[]", f'"{MARK}"', '{"type": "function"}', '{"type": "function", "function": {"name": "no_such_tool"}}'],
    "chat_template_kwargs": ["5", '"a"', "[]"],
    "add_generation_prompt": ["5", '"a"', "[]"],
}
WRONG_COMPLETION = {
    **WRONG,
    "prompt": ["null", "5", '""', "[]", "{}", "[[]]", "[1.5]", "[-1]", "[512]", '[1, "a"]', "[[1], 2]", "[[[1]]]", "true"],
    "logprobs": [*NUMBERLESS, "-1", "21", "1.5"],
    "echo": ["5", '"true"', "[]"],
    "best_of": [*NUMBERLESS, "0", "5"],
    "suffix": ['"a"', "5"],
}

# ---- heads

BODY = json.dumps({"messages": user("[hello]"), "max_tokens": 1}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HIDDEN = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


def post(fields, body=BODY, line=b"POST /v1/chat/completions HTTP/1.1\r\n", host=b"Host: x\r\n"):
    return line + host + fields + b"\r\n" + body


def chunks(*parts, end=b"0\r\n\r\n"):
    return post(b"Transfer-Encoding: chunked\r\n", b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + end)


TWO_READINGS = [  # where one server sees one request and another two
    post(LENGTH + b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Transfer-Encoding: chunked\r\n" + LENGTH, b"0\r\n\r\n" + HIDDEN),
    post(b"Content-Length: 0\r\n" + LENGTH, HIDDEN), post(LENGTH + b"Content-Length: 5\r\n", BODY + HIDDEN),
    *(post(b"Transfer-Encoding: " + t + b"\r\n", b"0\r\n\r\n" + HIDDEN) for t in (b"xchunked", b"chunked, identity", b"identity", b"chunked\x0b",
                                                                                  b'"chunked"', b"")),
    post(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"Transfer-Encoding\r\n: chunked\r\n", b"0\r\n\r\n" + HIDDEN),
    post(b"X: y\r\n Transfer-Encoding: chunked\r\n" + b"Transfer-Encoding: cow\r\n", b"0\r\n\r\n" + HIDDEN),
    *(post(b"Content-Length: " + n + b"\r\n", HIDDEN) for n in (b"-1", b"+5", b"0x5", b"5 5", b"5,6", b"", b"1e1", b"99999999999999999999",
                                                                b"18446744073709551617", b"5;", b"\xb2")),
]
CHUNKED = [
    *(post(b"Transfer-Encoding: chunked\r\n", size + b"\r\n" + BODY + b"\r\n0\r\n\r\n") for size in (b"", b"-1", b"+5", b"0x10", b"g",
                                                                                                     b"ffffffffffffffffff", b"5 5", b" ", b"5" * 30)),
    post(b"Transfer-Encoding: chunked\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n"), post(b"Transfer-Encoding: chunked\r\n",
                                                                                 b"5;" + b"x" * 40000 + b"\r\nabcde\r\n0\r\n\r\n"),
    chunks(BODY, end=b"0\r\n" + b"X: y\r\n" * 9000 + b"\r\n"), chunks(BODY, end=b"0\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n"),
    chunks(b"x" * 70000, b"y" * (1 << 20)), chunks(b"{", b"}x"),
]
HEADS = [
    post(b" Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),  # a folded line: the field before goes on
    post(b"Transfer-Encoding: gzip, chunked\r\n", b"2\r\n\x1f\x8b\r\n0\r\n\r\n"),
    b"\r\n\r\n\r\n\r\n\r\nGARBAGE\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/1.1 HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n",
    b"GET / HTTP/0.9\r\n\r\n", b"GET / http/1.1\r\n\r\n",
    b"GET / HTTP/1.10\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b" GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60 + b"\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"G\x00T / HTTP/1.1\r\n\r\n", b"GET /\x00 HTTP/1.1\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://evil.invalid/v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT localhost:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"TRACE /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    b"BREW /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", b"DELETE /v1/models HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nNo colon\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\n: empty\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nA: b\x00c\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nA\x7f: b\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nA: b\rc: d\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nA: " + b"x" * 70000 + b"\r\n\r\n", b"GET /v1/models HTTP/1.1\r\n" + b"A: b\r\n" * 9000 + b"\r\n",
    b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
    b"X" * 70000, b"GET /v1/models/" + MARK.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /%2e%2e/%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    post(b"Content-Length: 2000000\r\n", b"x" * 70000), post(LENGTH + b"Expect: 200-maybe\r\n", b"{" + BODY),
    post(b"Content-Length: 2\r\n", b"{}", line=b"POST /v1/models HTTP/1.1\r\n"), post(b"", b""),
]
