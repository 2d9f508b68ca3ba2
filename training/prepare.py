#!/usr/bin/env python3
"""Sort a text collection into the parts that the recipe weights separately.

Input: text files of documents, each document ended by a line <|endoftext|>.
  --text FILE         documents that occur more than once are the "simple modern" ones (the collection
                      marks them so); the others are literary ("books").  Repeats are dropped.
  --part NAME=FILE    a further part, taken as it is (for example made=... from storygen.py).
The simple documents are split again: those that are short and use only common words go to "easy",
the rest to "simple".  Output: OUT/NAME.txt, one file per part, in the same format.
"""
import argparse
import collections
import random
import re
import sys
from pathlib import Path

from model import END_OF_TEXT


def read_documents(path):
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"cannot read {path}: {error.strerror}")
    documents = [d.strip() for d in text.split(END_OF_TEXT)]
    documents = [d for d in documents if d]
    if not documents:
        sys.exit(f"{path} holds no document")
    return documents


def write_documents(path, documents):
    path.write_text("".join(f"{d}\n{END_OF_TEXT}\n" for d in documents), encoding="utf-8")


def words_of(document):
    return re.findall(r"[a-z']+", document.lower())


def split_easy(documents, common_words, max_rare, max_chars):
    """(easy, harder): easy ones are short and have at most `max_rare` of their words outside the common ones.

    Words that are capitalised inside a sentence are names; they do not count as rare.
    """
    counts = collections.Counter(w for d in documents for w in words_of(d))
    common = {w for w, _ in counts.most_common(common_words)}
    easy, harder = [], []
    for document in documents:
        names = {n.lower() for n in re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", document)}
        words = words_of(document)
        rare = sum(w not in common and w not in names for w in words) / max(1, len(words))
        (easy if rare <= max_rare and len(document) <= max_chars else harder).append(document)
    return easy, harder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, help="the collection")
    parser.add_argument("--part", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--common-words", type=int, default=2000)
    parser.add_argument("--max-rare", type=float, default=0.10, help="largest share of uncommon words in an easy document")
    parser.add_argument("--max-chars", type=int, default=1700, help="longest easy document")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    seen = collections.Counter(read_documents(args.text))
    simple = [d for d, n in seen.items() if n > 1]
    parts = {"books": [d for d, n in seen.items() if n == 1]}
    parts["easy"], parts["simple"] = split_easy(simple, args.common_words, args.max_rare, args.max_chars)
    for item in args.part:
        name, _, path = item.partition("=")
        if not path or not name.isidentifier():
            sys.exit(f"--part wants NAME=FILE, not {item!r}")
        parts[name] = read_documents(path)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, documents in parts.items():
        random.Random(args.seed).shuffle(documents)
        write_documents(args.out / f"{name}.txt", documents)
        print(f"{name:10s} {len(documents):6d} documents {sum(map(len, documents)):10d} characters")


if __name__ == "__main__":
    main()
