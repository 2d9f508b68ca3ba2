#!/usr/bin/env python3
"""Check that transformers loads both exports unchanged and finds the losses that training computes.

The losses of our own model and of transformers on the bf16 and the packed form must agree to 0.002
nats (single tokens differ where a rounding to int8 is a tie).  Exit status 1 when they do not.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import hf
from train import load_model

TOLERANCE = 0.002


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--export", type=Path, required=True, help="folder with bf16/ and packed/ (export.py)")
    parser.add_argument("--valid", type=Path, required=True, help="an encoded validation file (.npz)")
    parser.add_argument("--rows", type=int, default=16)
    args = parser.parse_args()

    own = load_model(args.export / "bf16").eval()
    length = own.config.max_position_embeddings
    with np.load(args.valid) as file:
        tokens = torch.from_numpy(file["tokens"].astype(np.int64))
    rows = min(args.rows, (len(tokens) - 1) // length)
    if rows < 1:
        sys.exit(f"{args.valid} is shorter than one window of {length} tokens")
    ids, targets = (tokens[at:at + rows * length].view(rows, length) for at in (0, 1))

    with torch.no_grad():
        reference = own(ids)
        losses = {"own model": F.cross_entropy(reference.flatten(0, 1), targets.flatten()).item()}
        for form in ("bf16", "packed"):
            model, _ = hf.load(args.export / form)
            logits = model(ids).logits
            losses[f"transformers, {form}"] = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
            same = (logits.argmax(-1) == reference.argmax(-1)).float().mean().item()
            print(f"{type(model).__name__} from {form}: same best token as our model "
                  f"at {same:.2%} of {rows * length} positions")
    for name, loss in losses.items():
        print(f"{name:22s} loss {loss:.5f}")
    if max(losses.values()) - min(losses.values()) > TOLERANCE:
        sys.exit("the losses differ: the export is wrong")


if __name__ == "__main__":
    main()
