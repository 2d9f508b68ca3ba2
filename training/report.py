#!/usr/bin/env python3
"""Measure an export and write the changing parts of its model card.

Writes OUT/loss.svg (training and validation loss from the run's log) and replaces, in OUT/README.md,
what stands between <!-- NAME --> and <!-- /NAME --> for NAME = perplexity, samples.  Samples are
printed as they come, one per prompt and seed.
"""
import argparse
import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from model import EOT, generate
from train import evaluate, load_model, read_recipe

# (prompt, seed)
SAMPLES = [("Once upon a time", 1), ("Once upon a time", 2), ("Once upon a time", 3), ("One day, a little fox", 1),
           ("Lily was sad because", 1), ("There was once a king who", 1), ("Tom and Mia", 1), ("The old clock", 1)]
COLORS = ["#0b6e99", "#c2571a", "#4a7c2c", "#7a4ea3", "#9a1f40", "#6b6b6b", "#b08900"]


def read_log(path):
    """(training points, {validation name: points}), later records replacing repeated steps."""
    train, valid = {}, {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record.get("event") == "valid":
            for name, loss in record.items():
                if name not in ("event", "step"):
                    valid.setdefault(name, {})[record["step"]] = loss
        elif "loss" in record:
            train[record["step"]] = record["loss"]
    return train, valid


def stage_beginnings(recipe):
    beginnings, step = {}, 0
    for stage in recipe["stages"]:
        beginnings[stage["name"]] = step
        step += stage["steps"]
    return beginnings


def draw_svg(train, valid, stages, width=760, height=380):
    left, right, top, bottom = 46, 150, 16, 36
    steps = sorted(train)
    values = list(train.values()) + [v for points in valid.values() for v in points.values()]
    x_min, x_max = steps[0], steps[-1]
    y_min, y_max = math.floor(min(values) * 5) / 5, math.ceil(max(values) * 5) / 5

    def place(step, loss):
        x = left + (step - x_min) / max(1, x_max - x_min) * (width - left - right)
        return f"{x:.1f},{top + (y_max - loss) / (y_max - y_min) * (height - top - bottom):.1f}"

    def x_of(step):
        return place(step, y_min).split(",")[0]

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="#fff"/>']
    tick = 0.2 if y_max - y_min < 2 else 0.5
    for i in range(round((y_max - y_min) / tick) + 1):
        loss = y_min + i * tick
        y = place(x_min, loss).split(",")[1]
        out.append(f'<path d="M{left} {y}H{width - right}" stroke="#e4e4e4"/>'
                   f'<text x="{left - 6}" y="{y}" dy="4" text-anchor="end">{loss:.1f}</text>')
    for step in range(math.ceil(x_min / 1000) * 1000, x_max + 1, 1000 if x_max - x_min < 9000 else 2000):
        out.append(f'<text x="{x_of(step)}" y="{height - bottom + 16}" text-anchor="middle">{step}</text>')
    for name, step in stages.items():
        if x_min < step:
            out.append(f'<path d="M{x_of(step)} {top}V{height - bottom}" stroke="#999" stroke-dasharray="4 3"/>'
                       f'<text x="{x_of(step)}" y="{top + 10}" dx="4" fill="#666">{name}</text>')
    series = [("training", train)] + sorted(valid.items())
    for i, (name, points) in enumerate(series):
        color = "#bbb" if name == "training" else COLORS[(i - 1) % len(COLORS)]
        line = " ".join(place(s, points[s]) for s in sorted(points))
        weight = 1 if name == "training" else 1.8
        out.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="{weight}"/>'
                   f'<path d="M{width - right + 10} {top + 14 + 18 * i}h16" stroke="{color}" stroke-width="3"/>'
                   f'<text x="{width - right + 31}" y="{top + 18 + 18 * i}">{name.replace("_", " ")}</text>')
    middle = height / 2
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 4}" text-anchor="middle">step</text>'
               f'<text x="12" y="{middle}" transform="rotate(-90 12 {middle})" text-anchor="middle">'
               'nats per token</text></svg>')
    return "\n".join(out) + "\n"


def replace_section(text, name, content):
    pattern = rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)"
    if not re.search(pattern, text, re.S):
        sys.exit(f"the card has no <!-- {name} --> section")
    return re.sub(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", text, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="folder with bf16/ (export.py)")
    parser.add_argument("--data", type=Path, required=True, help="folder with the encoded validation files")
    parser.add_argument("--log", type=Path, required=True, help="RUN/log.jsonl")
    parser.add_argument("--recipe", type=Path, default=Path(__file__).resolve().parent / "recipe.json")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder with its README.md")
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--top-k", type=int, default=40)
    parser.add_argument("--new-tokens", type=int, default=300)
    args = parser.parse_args()
    card = args.out / "README.md"
    if not card.is_file():
        sys.exit(f"no model card at {card}")

    torch.set_num_threads(1)
    model = load_model(args.export / "bf16").eval()
    rows = ["| held-out part | tokens | nats per token | perplexity | nats per character |", "|---|--:|--:|--:|--:|"]
    tokenizer = Tokenizer.from_file(str(args.export / "bf16" / "tokenizer.json"))
    for path in sorted(args.data.glob("valid_*.npz")):
        with np.load(path) as file:
            tokens = file["tokens"].astype(np.int64)
        loss = evaluate(model, tokens, model.config.max_position_embeddings)
        characters = len(tokenizer.decode(tokens.tolist())) / len(tokens)
        name = path.stem.removeprefix("valid_").replace("_", " ")
        rows.append(f"| {name} | {len(tokens)} | {loss:.3f} | {math.exp(loss):.2f} | {loss / characters:.3f} |")
    print("\n".join(rows))

    model.eval()
    samples = []
    for prompt, seed in SAMPLES:
        generator = torch.Generator().manual_seed(seed)
        ids = generate(model, [EOT] + tokenizer.encode(prompt).ids, args.new_tokens, args.temperature, args.top_k, generator)
        ended = "it ended the story itself" if ids[-1] == EOT else "cut off"
        text = tokenizer.decode(ids).replace("\n", "\n> ")
        samples.append(f"**{prompt!r}, seed {seed}** ({len(ids)} tokens, {ended})\n\n> {text}\n")
        print(samples[-1], flush=True)

    (args.out / "loss.svg").write_text(draw_svg(*read_log(args.log), stage_beginnings(read_recipe(args.recipe))))
    text = replace_section(card.read_text(), "perplexity", "\n".join(rows))
    card.write_text(replace_section(text, "samples", "\n".join(samples)))


if __name__ == "__main__":
    main()
