#!/usr/bin/env python3
"""Write simple stories from the plot templates in plots.txt (text for the "made" part).

The templates give a tiny model what a small slice of real stories cannot: as many different stories as
it can read, in which a name, a thing or a wish of the first sentence still matters in the last.

In a template {a|b|c} is one of the alternatives (they may be nested, or empty) and [slot] a word that
stays the same through the story.  A slot is drawn from the list of that name; [toy2] is another member
of the list of [toy].  Characters: [N] the hero, [F] the friend, [P] a parent or grandparent; each has
pronouns: [N.he] [N.him] [N.his] (write [N.He] for a capital), and [N.kind] says girl, boy or an animal.
[P.name] is how the parent is addressed.
"""
import argparse
import random
import re
import sys
from pathlib import Path

from prepare import write_documents

PRONOUNS = {"f": ("she", "her", "her"), "m": ("he", "him", "his")}
GIRLS = """Lily Mia Anna Lucy Sue Emma Sara Rose Ella Molly Amy Zoe Nina Lola Kate Jane Daisy Grace Ruby Maya Lena Nora
Ada Ivy Tara Lulu Penny Polly Sally Betty Mary""".split()
BOYS = """Tim Tom Ben Sam Max Jack Leo Bob Joe Dan Finn Adam Luke Noah Toby Billy Timmy Tommy Jim Mark Peter Oscar Hugo
Rob Nick Ravi Kofi Paul Andy Henry Charlie""".split()
ANIMALS = """rabbit bear fox mouse squirrel cat dog duck frog pig hedgehog monkey lamb turtle bird puppy kitten owl
elephant goat pony chick lion penguin""".split()
PARENTS = [("mom", "Mom", "f"), ("dad", "Dad", "m"), ("grandma", "Grandma", "f"), ("grandpa", "Grandpa", "m"),
           ("mommy", "Mommy", "f"), ("daddy", "Daddy", "m"), ("mother", "Mother", "f"), ("father", "Father", "m")]
PARENT_ODDS = [8, 6, 4, 3, 3, 2, 1, 1]


def read_templates(path):
    """({list name: [items]}, [(plot name, options, text)]) from plots.txt."""
    lists, plots = {}, []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            continue
        if line.startswith("@list "):
            name, _, items = line[6:].partition(":")
            lists[name.strip()] = [i.strip() for i in items.split(";") if i.strip()]
        elif line.startswith("@plot "):
            name, *options = line[6:].split()
            plots.append((name, set(options), []))
        elif line.strip():
            if not plots:
                sys.exit(f"{path}:{number}: text before the first @plot")
            if line.count("{") != line.count("}") or line.count("[") != line.count("]"):
                sys.exit(f"{path}:{number}: brackets do not match")
            plots[-1][2].append(line.strip())
    return lists, [(n, o, "\n".join(t)) for n, o, t in plots]


class Story:
    def __init__(self, rng, lists, options):
        self.rng, self.lists, self.values, self.drawn = rng, lists, {}, {}
        self.names = set()
        hero = "animal" if "animal" in options or ("any" in options and rng.random() < 0.35) else "child"
        self.character("N", hero)
        self.character("F", hero if rng.random() < 0.8 else "child" if "people" in options else hero)
        word, name, sex = rng.choices(PARENTS, PARENT_ODDS)[0]
        self.values.update({"P": word, "P.name": name})
        self.pronouns("P", sex)

    def pronouns(self, key, sex):
        for word, value in zip(("he", "him", "his"), PRONOUNS[sex]):
            self.values[f"{key}.{word}"] = value
            self.values[f"{key}.{word.capitalize()}"] = value.capitalize()

    def character(self, key, sort):
        sex = self.rng.choice("fm")
        name = self.rng.choice([n for n in (GIRLS if sex == "f" else BOYS) if n not in self.names])
        self.names.add(name)
        kind = self.draw("animal kind", ANIMALS) if sort == "animal" else "girl" if sex == "f" else "boy"
        self.values.update({key: name, f"{key}.kind": kind})
        self.pronouns(key, sex)

    def draw(self, name, items):
        used = self.drawn.setdefault(name, set())
        choice = self.rng.choice([i for i in items if i not in used])
        used.add(choice)
        return choice

    def slot(self, match):
        key = match[1]
        if key not in self.values:
            name = key.rstrip("0123456789")
            if name not in self.lists:
                raise KeyError(f"no list or character for [{key}]")
            self.values[key] = self.fill(self.draw(name, self.lists[name]))
        return self.values[key]

    def fill(self, text):
        """Choose alternatives from the inside out, then fill the slots."""
        while "{" in text:
            text = re.sub(r"\{([^{}]*)\}", lambda m: self.rng.choice(m[1].split("|")), text)
        return re.sub(r"\[([A-Za-z.0-9_]+)\]", self.slot, text)


def polish(text):
    text = re.sub(r" {2,}", " ", text)
    text = re.sub(r" ([.,!?])", r"\1", text)
    text = re.sub(r"\b([Aa]) (?=[aeio]|u(?!ni|se))", r"\1n ", text)
    text = re.sub(r'((?:^|\n|[.!?] )"?|(?<=[^,]\s)")([a-z])', lambda m: m[1] + m[2].upper(), text)
    return "\n".join(line.strip() for line in text.split("\n") if line.strip())


def write_story(rng, lists, plots):
    name, options, text = rng.choice(plots)
    return polish(Story(rng, lists, options).fill(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, default=Path(__file__).resolve().parent / "plots.txt")
    parser.add_argument("--stories", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="training stories")
    parser.add_argument("--valid", type=Path, help="where to put the first stories, held out")
    parser.add_argument("--valid-stories", type=int, default=150)
    args = parser.parse_args()
    if not args.templates.is_file():
        sys.exit(f"no templates at {args.templates}")
    lists, plots = read_templates(args.templates)
    rng = random.Random(args.seed)
    stories = list(dict.fromkeys(write_story(rng, lists, plots) for _ in range(args.stories)))
    for path in filter(None, (args.out, args.valid)):
        path.parent.mkdir(parents=True, exist_ok=True)
    if args.valid:
        write_documents(args.valid, stories[:args.valid_stories])
        stories = stories[args.valid_stories:]
    write_documents(args.out, stories)
    print(f"{len(stories)} stories from {len(plots)} plots, {sum(map(len, stories))} characters")


if __name__ == "__main__":
    main()
