"""The references that scripts/references installs, and how a test asks them."""
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SKIPPED = 77  # ctest's SKIP_RETURN_CODE


def missing(name, modules, packages):
    """True, with the reason printed, where a test must be skipped."""
    absent = [p for p in packages if not (modules / p).is_dir()]
    if absent:
        print(f"{name}: {absent[0]} is not in {modules}; scripts/references says why")
    return bool(absent)


def lines_of(command, asked=()):
    """The values that a command prints, given others; both as JSON, one a line."""
    text = "".join(json.dumps(value) + "\n" for value in asked)
    done = subprocess.run(list(map(str, command)), input=text, stdout=subprocess.PIPE, text=True, encoding="utf-8", timeout=300)
    if done.returncode:
        raise SystemExit(f"exit {done.returncode}: {' '.join(map(str, command))}")
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def ask(command, asked):
    """The same, one answer for each that was asked."""
    answers = lines_of(command, asked)
    if len(answers) != len(asked):
        raise SystemExit(f"{len(answers)} answers to {len(asked)} lines: {' '.join(map(str, command))}")
    return answers
