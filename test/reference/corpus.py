"""5,000 strings that tokenizers have come to grief over; the same ones for the same seed and the same added tokens.

    corpus.py [--seed N] [--count N] TOKENIZER.json...     one JSON string a line; the files lend their added tokens

A character is one that Unicode 14 assigns or that no version ever will, and a mark is one of Unicode 9: of what came later, program and
references know as much as their tables do (PCRE2 10.42: Unicode 14; utf8proc 2.8: 15; NFC of the Rust library: 9, all else there: 16).
"""
import argparse
import itertools
import json
import random
import sys
import unicodedata
from pathlib import Path

COUNT, SEED = 5000, 1
LONGEST = 20_000  # characters

SCRIPTS = {  # ranges of code points, ends included
    "latin": [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x1E00, 0x1EFF)],
    "greek and cyrillic": [(0x370, 0x3FF), (0x1F00, 0x1FFF), (0x400, 0x52F)],
    "hebrew": [(0x591, 0x5F4)],
    "arabic": [(0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDC7), (0xFE70, 0xFEFC)],
    "devanagari": [(0x900, 0x97F)],
    "bengali, tamil, sinhala": [(0x980, 0x9FB), (0xB82, 0xBFA), (0xD81, 0xDF4)],
    "thai, lao, khmer, burmese": [(0xE01, 0xE5B), (0xE81, 0xEB9), (0xEBB, 0xEDF), (0x1780, 0x17F9), (0x1000, 0x109F)],
    "tibetan": [(0xF00, 0xFDA)],
    "georgian, armenian, ethiopic": [(0x10A0, 0x10FF), (0x531, 0x58F), (0x1200, 0x1399)],
    "han": [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0xF900, 0xFAD9)],
    "kana": [(0x3041, 0x3096), (0x3099, 0x30FF), (0x31F0, 0x31FF), (0xFF65, 0xFF9F)],
    "hangul": [(0xAC00, 0xD7A3), (0x1100, 0x11FF), (0x3131, 0x318E)],
    "full width": [(0xFF01, 0xFF5E), (0x3000, 0x303F)],
    "beyond the first plane": [(0x10330, 0x1034A), (0x10400, 0x1044F), (0x1D400, 0x1D7FF), (0x1E900, 0x1E959), (0x12000, 0x12399)],
    "signs": [(0x2000, 0x206F), (0x20A0, 0x20C0), (0x2100, 0x214F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2500, 0x257F), (0x2600, 0x27BF)],
    "cases of one letter": [(0x17F, 0x17F), (0x130, 0x131), (0x212A, 0x212B), (0x1C4, 0x1CC), (0xDF, 0xDF), (0x1E9E, 0x1E9E), (0xFB00, 0xFB06)],
}
MARKS = [(0x300, 0x36F), (0x483, 0x487), (0x591, 0x5BD), (0x610, 0x61A), (0x64B, 0x65F), (0x6D6, 0x6DC), (0x730, 0x74A), (0x93C, 0x94D),
         (0xE38, 0xE3A), (0xE48, 0xE4B), (0xF71, 0xF84), (0x1DC0, 0x1DE6), (0x20D0, 0x20DC), (0x302A, 0x302D), (0x3099, 0x309A), (0xFE20, 0xFE26),
         (0x1D165, 0x1D169)]
NEVER_ASSIGNED = [0x378, 0x379, 0xFFFE, 0xFFFF, 0x1FFFE, 0x40000, 0x7ABCD, 0xDFFFD, 0x10FFFF]
PRIVATE = [0xE000, 0xF8FF, 0xF0000, 0x10FFFD]
SPACES = list("          \t\n\r\v\f\u0085\u00a0\u1680\u180e\u2002\u2009\u200b\u2028\u2029\u202f\u205f\u3000\ufeff") + ["\r\n", "\n\n"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'M", "'lL", "'D", "\u2019s", "'\u017f", "'x", "''s", "' s", "'"]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "1️⃣", "👨🏿‍🚒", "❤️‍🔥", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
         "☃", "☃️", "🧑🏻‍🤝‍🧑🏾", "\u200d", "\ufe0f", "🏿"]
WORDS = """the quick brown Fox jumps OVER lazy dogs I'm you're isn't WE'VE rock'n'roll don't HTTPServer camelCase snake_case kebab-case
 naïve façade Ærøskøbing Straße ÅNGSTRÖM привет Ελλάδα שלום مرحبا नमस्ते สวัสดี 你好世界 こんにちは 안녕하세요 xin chào İstanbul""".split()
CODE = [
    "def f(x):\n\treturn {k: v for k, v in x.items() if v is not None}\n\n\n# end\n",
    "int main(int argc, char** argv) {\r\n  std::vector<int> v{1, 2, 3};\r\n  return v[0] << 2 | ~argc;\r\n}\r\n",
    "SELECT a.*, COUNT(*) FROM `t` a WHERE a.id <> 'x''y' GROUP BY 1; -- done",
    "fn main() { let s: &'static str = r#\"raw\"#; println!(\"{s:?}\"); }",
    "for i in $(seq 1 10); do echo \"$i\" >> /tmp/x.$$; done && exit ${?:-0}",
    "const f = async ({a, b = 2}) => `${a}-${b}`; // ✓\nf?.({a: 1})?.catch(e => {});",
    "<div class=\"a b\" data-x='{\"k\":[1,2]}'>&nbsp;&amp;<!-- c --></div>",
    "\\begin{align} \\frac{\\partial f}{\\partial x} &= \\sum_{i=0}^{n} x_i^2 \\end{align}",
    "{\"a\": [1.5e-10, null, true], \"b\": \"\\u00e9\\n\"}", "0x1F 0b1010 1_000_000 1e-9 .5 5. 0o17 1,234,567.89 ١٢٣ १२३ ½ ² Ⅷ ㊿ 𝟘",
    "package main\n\nfunc (s *S) Do(ctx context.Context) (<-chan int, error) {\n\t\treturn nil, nil\n}\n",
]
PLACES = ["https://example.org:8080/a/b%20c?d=e&f=g#h", "user.name+tag@sub.example.co.uk", "C:\\Users\\x\\y.txt", "/usr/lib/x86_64-linux-gnu/",
          "192.0.2.1:443", "[2001:db8::1]", "2024-02-29T23:59:59.999Z", "+49 (0)30 123-456", "$1,234.56", "50%", "v1.2.3-rc.4+b5", "#hash @at"]


def characters(ranges):
    return [c for low, high in ranges for c in map(chr, range(low, high + 1)) if unicodedata.category(c) != "Cn"]


class strings:
    def __init__(self, added, seed):
        self.added, self.random = added, random.Random(seed)
        self.scripts = list(map(characters, SCRIPTS.values()))
        self.marks = list(filter(unicodedata.combining, characters(MARKS)))
        self.kinds = [self.one_script, self.any_characters, self.marked, self.words, self.code, self.emoji, self.run, self.runs, self.spaces,
                      self.numbers, self.contractions, self.places, self.tokens, self.broken_tokens, self.controls, self.mixture]

    def pick(self, choices, count):
        return "".join(self.random.choices(choices, k=count))

    def script(self):
        return self.random.choice(self.scripts)

    def one_script(self):
        return self.pick(self.script() + [" "], self.random.randint(1, 40))

    def any_characters(self):
        """A character of any plane, some of them assigned to nothing."""
        blocks = [self.script() for _ in range(6)] + [[chr(c) for c in NEVER_ASSIGNED + PRIVATE]]
        return "".join(self.random.choice(self.random.choice(blocks)) for _ in range(self.random.randint(1, 40)))

    def marked(self):
        """Letters under piles of marks in any order, composed, decomposed or neither."""
        text = "".join(self.random.choice(self.script()) + self.pick(self.marks, self.random.choice([0, 0, 1, 1, 2, 5]))
                       for _ in range(self.random.randint(1, 15)))
        text = self.random.choice([text, unicodedata.normalize("NFD", text), unicodedata.normalize("NFC", text)])
        return self.random.choice(["", self.random.choice(self.marks), " "]) + text

    def words(self):
        return " ".join(self.random.choices(WORDS, k=self.random.randint(1, 30)))

    def code(self):
        text = self.random.choice(CODE)
        begin = self.random.randrange(len(text))
        return self.random.choice([text, text[begin:], text.replace("\n", "\r\n"), text.replace("    ", "\t"), text * 3])

    def emoji(self):
        return self.pick(EMOJI + [" ", "a", "\n"], self.random.randint(1, 12))

    def run(self, longest=300):
        """One character, again and again; between two words, perhaps."""
        character = self.random.choice([" ", " ", "\n", "\t", "\r\n", "a", "A", "é", "0", "7", "=", "-", ".", "好", "\u0301", "👍", "\u00a0", " \n", "ab"])
        count = int(longest ** self.random.random())
        return self.random.choice(["", "a", "1", "."]) + character * count + self.random.choice(["", "b", "2", "!"])

    def runs(self):
        return "".join(self.run(20) for _ in range(self.random.randint(2, 8)))

    def spaces(self):
        return "".join(self.random.choice(SPACES) if self.random.random() < 0.7 else self.random.choice(WORDS) for _ in range(self.random.randint(1, 20)))

    def numbers(self):
        number = str(self.random.randrange(10 ** self.random.randint(1, 30)))
        digits = {ord(str(d)): chr(self.random.choice([0x30, 0x30, 0x30, 0x660, 0x966, 0xFF10, 0x1D7D8]) + d) for d in range(10)}
        grouped = self.random.choice(["", ",", ".", " ", "_", "'"]).join(number[i:i + 3] for i in range(0, len(number), 3))
        return self.random.choice(["", "-", "$", "+", "v", " "]) + grouped.translate(digits) + self.random.choice(["", "%", "€", "km", "e10", "½", "²"])

    def contractions(self):
        return self.random.choice(["", " "]).join(self.random.choice(WORDS + ["", "IT", "é"]) + self.random.choice(CONTRACTIONS)
                                                for _ in range(self.random.randint(1, 12)))

    def places(self):
        return self.random.choice([" ", "\n", ""]).join(self.random.choices(PLACES, k=self.random.randint(1, 5)))

    def tokens(self):
        """Added tokens with text around them, or none."""
        text = [self.random.choice(self.added) if self.random.random() < 0.5 else self.random.choice([" ", "", "\n", "  ", "x", "_", "é", self.words()])
                for _ in range(self.random.randint(1, 12))]
        return "".join(text)

    def broken_tokens(self):
        """Added tokens, each with one character lost, doubled, replaced or decorated; tokens inside tokens."""
        text = ""
        for _ in range(self.random.randint(1, 6)):
            token = self.random.choice(self.added)
            at = self.random.randrange(len(token))
            other = self.random.choice(["", token[at] * 2, " ", "\u0301", token[at].swapcase(), self.random.choice(self.added), "|", "<"])
            text += token[:at] + other + token[at + 1:]
        return text

    def controls(self):
        return self.pick(list(map(chr, range(0x20))) + list(map(chr, range(0x7F, 0xA0))) + list("\0\0\0aé "), self.random.randint(1, 20))

    def mixture(self):
        return "".join(self.random.choice(self.kinds[:-1])() for _ in range(self.random.randint(2, 5)))

    def longest(self):
        """As long as a prompt gets, where a quadratic step shows."""
        for piece in [" ", "\n", "a", "A", "0", "é", "好", "👍🏽", "\u0301", "<|", "a b", "ab\n", "\t \r\n", self.words() + " "]:
            yield (piece * LONGEST)[:LONGEST]
        mixed = ""
        while len(mixed) < LONGEST:
            mixed += self.mixture()
        yield mixed[:LONGEST]

    def generate(self, count):
        fixed = ["", " ", "\0", "\u0301", "\ufeff", "\ufeffa", "a\ufeff", "�", "\u2581", "\u2581\u2581a", "<0x0A>", "<unk>", *CONTRACTIONS, *CODE, *WORDS, *EMOJI]
        fixed += [*self.random.sample(self.added, min(200, len(self.added))), *self.longest()]
        texts = dict.fromkeys(fixed[:count])
        for kind in itertools.cycle(self.kinds):
            if len(texts) == count:
                return list(texts)
            texts.setdefault(kind())


def added_tokens(files):
    """The added tokens of the files, each once; of a family of numbered ones (<|reserved_17|>) the first."""
    families = {}
    for file in files:
        for token in json.loads(Path(file).read_text(encoding="utf-8"))["added_tokens"]:
            families.setdefault(token["content"].rstrip("0123456789|>｜]"), token["content"])
    return sorted(families.values()) or ["<|none|>"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("files", nargs="*")
    given = parser.parse_args()
    for text in strings(added_tokens(given.files), given.seed).generate(given.count):
        print(json.dumps(text))


if __name__ == "__main__":
    sys.exit(main())
