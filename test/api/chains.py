"""What the scripted models say: chains of tokens, each found by the token that begins it.

    [count] ─▶ " one" ─▶ " two" ─▶ … ─▶ end        a piece is one token; what follows it is known, whatever came before it

A chain begins where a prompt ends with its cue, "[NAME]", or with one of CUES. A piece stands in one place of all chains of a
format, for a model without memory knows nothing but its last token: what two chains must both say is cut in two ways.
"""

END = object()  # the format's end-of-answer token
NUMBERS = [" " + w for w in "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen "
           "twenty".split()]
WORDS = [" " + w for w in "alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango "
         "uniform victor whiskey xray yankee zulu".split()]
FACES = [" I", " II", " III", " IV", " V", " VI"]
FACE_LOGITS = [8.0, 7.5, 7.0, 6.5, 6.0, 5.5]  # of each face after each face, and after the cue

RESULT = '{"celsius": 18}'  # what the tool of the tests says

# The same for every format.
PLAIN = {
    "hello": ["Hello", ", ", "world", "!!", END],
    "count": [*NUMBERS, END],
    "violin": ["A violin: ", b"\xf0", b"\x9f", b"\x8e", b"\xbb", " it is.", END],
    "half": ["Half: ", b"\xe2", b"\x82", END],
    "stops": ["before ", "ST", "OP", " after", END],
    RESULT: ["It is ", "18 °C", " there.", END],
}
# (name, first pieces, loop)
LOOPS = {"words": WORDS, "on": [" on", " and"]}

# Rows of their own: token -> {next: logit}. BEST is what a chain's next piece gets; the rest of the vocabulary is below FLOOR.
BEST, FLOOR = 12.0, -20.0
PREFERENCES = {
    "[patient]": {END: 12, " well": 8}, " well": {END: 12, " then": 8}, " then": {END: 12, " so": 8}, " so": {END: 12, " be it": 8}, " be it": {END: 12},
    "[json]": {" Sure": 12, '{"answer":': 8}, " Sure": {" thing": 12}, " thing": {END: 12},
    '{"answer":': {END: 13, " 42}": 12}, " 42}": {" truly": 12, END: 8}, " truly": {END: 12},
    END: {" on": 12},
    "[dice]": dict(zip(FACES, FACE_LOGITS)), **{face: dict(zip(FACES, FACE_LOGITS)) for face in FACES},
}

CALL, CALLS = ["Paris"], ["Paris", "Rome"]  # the cities that get_weather is asked for

FORMATS = {
    "hermes": {
        "call": ["<tool_call>", '\n{"name": "get_weather", ', '"arguments": {"city": ', '"Paris"', "}}\n", "</tool_call>", END],
        "calls": ["<tool_c", 'all>\n{"name": "get_weather", "argum', 'ents": {"city": "Par', 'is"}}\n</tool', "_call>\n", '<tool_call>\n{"name"',
                  ': "get_weather", "arguments": {"city"', ': "Rome"}}', "\n</tool_call>", END],
        "talk": ["Let me ", "see. ", '<tool_call>\n{"na', 'me": "get_weather", "arguments": {"city": "Paris"}}\n</tool_cal', "l>", END],
        "torn": ["<tool_ca", 'll>\n{"name": "get_weather", "arguments": {"ci', END],
    },
    "mistral": {
        "call": ["[TOOL_CALLS]", ' [{"name": "get_weather", ', '"arguments": {"city": ', '"Paris"}', "}]", END],
    },
    "mistral_two": {
        "calls": ["[TOOL_CALLS]", '[{"name": "get_weather", ', '"arguments": {"city": "Par', 'is"}}, {"name": "get_weather", ', '"arguments": {"city": ',
                  '"Rome"}}', "]", END],
    },
    "llama": {
        "call": ['{"name": ', '"get_weather", ', '"parameters": ', '{"city": "Paris"', "}}", END],
        "tagged": ["<|python_tag|>", '{"type": "function", "name": "get_weather", ', '"parameters": {"city": "Paris"}}', END],
        "torn": ['{"name": "get_weather", "para', END],
        "brace": ["{ is a ", "brace.", END],
    },
    "deepseek": {
        "call": ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>", "get_weather\n", "```json\n", '{"city": ', '"Paris"}',
                 "\n```", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", END],
        "calls": ["<｜tool▁calls▁beg", 'in｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"city": "Paris"}\n```<｜tool▁call',
                  "▁end｜>\n<｜tool▁call▁beg",
                  'in｜>function<｜tool▁sep｜>get_weather\n```json\n{"city": "Ro', 'me"}\n```<｜tool▁call▁end｜>', "<｜tool▁calls▁e", "nd｜>", END],
        "talk": ["Let me ", "see. ",
                 '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{"city": "Par',
                 'is"}\n```<｜tool▁call▁end｜>', "<｜tool▁calls▁end｜>\n", END],
    },
}

# Of each format: the tokens that its tokenizer calls special, the begin and the end of an answer's text first.
SPECIAL = {
    "hermes": ["<|endoftext|>", "<|im_end|>", "<|im_start|>"],
    "mistral": ["<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]"],
    "llama": ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>"],
    "deepseek": ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"],
}
SPECIAL["mistral_two"] = SPECIAL["mistral"]


def template_of(form):
    return form.removesuffix("_two")
