"""WordNet 3.0 to question and answer pairs: one line a head word, its most used sense.

    prepare.py --out WORK/pairs.tsv [--wordnet /usr/share/wordnet] [--words 5500]

Columns   split, head word, part of speech, hypernym (or empty), answer; the split is
          train   a head word the model learns
          held    a head word it must never see: 1 % of all candidates
          other   less used; only the tokenizer reads these
Holds     which words are held out depends on WordNet alone, not on --words.
"""
import argparse
import random
import re
from pathlib import Path

PART = {"n": "noun", "v": "verb", "a": "adjective", "s": "adjective", "r": "adverb"}
SENSE_KEY = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "s"}  # ss_type in index.sense
HELD_SHARE, HELD_SEED = 100, 7
GLOSS_CHARS = 110  # a longer gloss keeps whole clauses up to here


def sense_counts(index):
    """(lemma, synset offset, type) -> (sense number, how often the tagged corpora use it)."""
    counts = {}
    for line in index.open(encoding="utf8"):
        key, offset, number, tagged = line.split()
        lemma, rest = key.split("%")
        counts[lemma, offset, SENSE_KEY[rest[0]]] = int(number), int(tagged)
    return counts


def synsets(folder):
    """Yields (offset, type, words, hypernym keys, gloss) of every data file."""
    for name in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{name}").open(encoding="utf8"):
            if line.startswith("  "):  # the licence, at the head of each file
                continue
            head, gloss = line.split("|", 1)
            t = head.split()
            n = int(t[3], 16)
            words = [re.sub(r"\(.*\)$", "", w).replace("_", " ") for w in t[4:4 + 2 * n:2]]
            at = 4 + 2 * n
            pointers = [t[at + 1 + 4 * i:at + 4 + 4 * i] for i in range(int(t[at]))]
            yield t[0], t[2], words, [(o, p) for s, o, p in pointers if s in ("@", "@i")], gloss.strip()


def short(gloss):
    """The definition without its examples, whole clauses up to GLOSS_CHARS."""
    clauses = re.split(r';\s*(?=")', gloss)[0].strip().strip(";").split("; ")
    kept = clauses[0]
    for clause in clauses[1:]:
        if len(kept) + len(clause) + 2 > GLOSS_CHARS:
            break
        kept += "; " + clause
    return kept.strip()


def answer(word, kind, gloss, hypernym):
    text = f"{word} ({PART[kind]}): {gloss}."
    if hypernym:
        text += f" It is a kind of {hypernym}." if kind == "n" else f" It is a way to {hypernym}."
    return text


def candidates(folder):
    """head word -> (times used, type, hypernym, answer): the most used of its first senses."""
    counts = sense_counts(folder / "index.sense")
    rows = list(synsets(folder))
    first_word = {(offset, kind): words[0] for offset, kind, words, _, _ in rows}
    best = {}
    for offset, kind, words, above, gloss in rows:
        hypernym = next((first_word[key] for key in above if key in first_word), "")
        for word in words:
            if not (word.isascii() and word.isalpha() and word.islower() and len(word) > 2):
                continue
            number, used = counts.get((word, offset, kind), (9, 0))
            if number != 1 or (used == 0 and len(word) > 6):
                continue
            if word not in best or used > best[word][0]:
                best[word] = used, kind, hypernym, answer(word, kind, short(gloss), hypernym)
    return best


def split(best, words, everyday):
    """head word -> train, held or other."""
    heads = sorted(best)
    random.Random(HELD_SEED).shuffle(heads)
    held = set(heads[:len(heads) // HELD_SHARE])
    ranked = sorted(best.keys() - held, key=lambda w: (w not in everyday, -best[w][0], len(w), w))
    chosen = set(ranked[:words])
    return {w: "held" if w in held else "train" if w in chosen else "other" for w in best}


def main():
    here = Path(__file__).parent
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--wordnet", type=Path, default=Path("/usr/share/wordnet"))
    p.add_argument("--words", type=int, default=5500, help="head words, the most used first")
    p.add_argument("--everyday", type=Path, default=here / "everyday.txt", help="words to take in any case")
    a = p.parse_args()
    best = candidates(a.wordnet)
    splits = split(best, a.words, set(a.everyday.read_text().split()))
    a.out.parent.mkdir(parents=True, exist_ok=True)
    with a.out.open("w", encoding="utf8") as f:
        for word in sorted(best):
            _, kind, hypernym, text = best[word]
            f.write("\t".join((splits[word], word, PART[kind], hypernym, text)) + "\n")
    sizes = {s: sum(v == s for v in splits.values()) for s in ("train", "held", "other")}
    print("pairs", sizes, "->", a.out)


if __name__ == "__main__":
    main()
