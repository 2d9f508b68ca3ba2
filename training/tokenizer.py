#!/usr/bin/env python3
"""Train the byte-level BPE tokenizer (or take a given one) and encode text parts for train.py.

Each FILE.txt becomes OUT/FILE.npz with `tokens` (uint16) and `starts` (where each document begins).
Every document begins with <|endoftext|>, which therefore also ends the one before it.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model import END_OF_TEXT, EOT
from prepare import read_documents


def train_tokenizer(documents, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(documents, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[END_OF_TEXT], min_frequency=2, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return tokenizer


def encode(tokenizer, documents):
    tokens, starts = [], []
    for encoding in tokenizer.encode_batch(documents):
        starts.append(len(tokens))
        tokens.append(EOT)
        tokens.extend(encoding.ids)
    return np.array(tokens, dtype=np.uint16), np.array(starts, dtype=np.int64)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="training parts and validation files")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--use", type=Path, help="an existing tokenizer.json instead of training one")
    args = parser.parse_args()
    if args.vocab_size > 65536:
        sys.exit("--vocab-size must be at most 65536: tokens are stored in 16 bits")

    documents = {path: read_documents(path) for path in args.files}
    if args.use:
        if not args.use.is_file():
            sys.exit(f"no tokenizer at {args.use}")
        tokenizer = Tokenizer.from_file(str(args.use))
    else:
        training = [d for path, ds in documents.items() if not path.name.startswith("valid") for d in ds]
        if not training:
            sys.exit("no training text: every file given is named valid*")
        tokenizer = train_tokenizer(training, args.vocab_size)
    if tokenizer.token_to_id(END_OF_TEXT) != EOT:
        sys.exit(f"the tokenizer must give {END_OF_TEXT} the id {EOT}")
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(args.out / "tokenizer.json"))
    for path, ds in documents.items():
        tokens, starts = encode(tokenizer, ds)
        np.savez(args.out / f"{path.stem}.npz", tokens=tokens, starts=starts)
        characters = sum(map(len, ds))
        print(f"{path.stem:28s} {len(ds):6d} documents {len(tokens):9d} tokens "
              f"{characters / len(tokens):.2f} characters each")


if __name__ == "__main__":
    main()
