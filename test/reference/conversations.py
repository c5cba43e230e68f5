"""Requests that a chat template may meet; the same ones for the same seed. No number in them is 2.0, which JavaScript cannot tell from 2."""
import random

SEED = 1

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather \"now\" at a <place> & time's end — für Köln 🌧",
    "parameters": {"type": "object", "required": ["place"], "properties": {
        "place": {"type": "string", "description": "a city,\nor two"},
        "unit": {"type": "string", "enum": ["c", "f"], "default": "c"},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "exact": {"type": "boolean", "default": False, "nullable": True},
        "near": {"type": "array", "items": {"type": "number", "multipleOf": 0.5}},
        "more": {"type": "object", "properties": {"x": {"type": ["string", "null"]}}, "additionalProperties": {"type": "string"}}}}}}
NOW = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}

TEXTS = ["Hi", "  spaces around \n", "", "line\nline\n\n", "{{ x }} {% if %} {# c #}", "äöü 你好 👍🏽 e\u0301", "<|im_end|></s>[INST]<think>a</think>",
         "<think>\nsteps\n</think>\n\nanswer", "\n \n</think>\n  x", "it's \"quoted\" \\ back", "<tool_response>\nx\n</tool_response>", "\0\t\u2028 end"]
ARGUMENTS = [{"place": "Köln", "days": 3}, {}, {"x": {"y": [1, 0.5, None, True]}}, {"code": "a\nb 'c' \"d\""}, '{"place": "Köln"}']
VARIABLES = {
    "enable_thinking": [True, False], "thinking": [True, False], "reasoning_effort": ["low"], "builtin_tools": [["code_interpreter"]],
    "documents": [[{"title": "T", "text": "x\ny"}, {"title": "U", "text": "é"}]], "custom_tools": [[NOW]], "date_string": ["26 Jul 2024"],
    "tools_in_user_message": [True, False], "functions": ["[]"], "datetime": ["now"], "guideline": ["\"No Harm\""], "controls": [{"length": "LONG"}],
}


class conversations:
    def __init__(self, seed, parts):
        """`parts`: contents are lists of parts now and then."""
        self.random, self.parts = random.Random(seed), parts

    def chance(self, probability):
        return self.random.random() < probability

    def text(self):
        return self.random.choice(TEXTS)

    def content(self):
        if self.parts and self.chance(0.3):
            return [{"type": "text", "text": self.text()} for _ in range(self.random.randint(1, 3))]
        return self.text()

    def tool_turn(self):
        """Calls and what came of them."""
        calls = [{"id": f"call{i:05}", "type": "function", "function": {"name": self.random.choice(["get_weather", "now"]),
                                                                       "arguments": self.random.choice(ARGUMENTS)}}
                 for i in range(self.random.randint(1, 2))]
        message = {"role": "assistant", "content": self.random.choice([None, "", self.text()]), "tool_calls": calls}
        if self.chance(0.2):
            del message["content"]
        yield message
        for call in calls:
            yield {"role": "tool", "tool_call_id": call["id"], "name": call["function"]["name"], "content": self.random.choice(['{"t": 3}', self.text()])}

    def messages(self, tools):
        if self.chance(0.5):
            yield {"role": self.random.choice(["system", "system", "system", "developer"]), "content": self.content()}
        for _ in range(self.random.randint(0, 3)):
            yield {"role": "user", "content": self.content()}
            if tools and self.chance(0.7):
                yield from self.tool_turn()
            thought = {"reasoning_content": self.text()} if self.chance(0.2) else {}
            yield {"role": "assistant", "content": self.content(), **thought}
        if self.chance(0.8):
            yield {"role": "user", "content": self.content()}

    def request(self):
        tools = self.random.choice([[WEATHER], [WEATHER, NOW], []]) if self.chance(0.4) else None
        request = {"messages": list(self.messages(tools)), "add_generation_prompt": self.chance(0.6)}
        if tools is not None:
            request["tools"] = tools
        request.update({name: self.random.choice(values) for name, values in VARIABLES.items() if self.chance(0.4)})
        return request
