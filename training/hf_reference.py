#!/usr/bin/env python3
"""Write reference results of transformers for a packed model, to test other implementations against.

For each of 20 prompts OUT/reference.safetensors holds, with NN = 00..19:
  ids.NN     I64 [n]         <|endoftext|> and the prompt's tokens
  logits.NN  F32 [n, vocab]  logits at every position: float32 throughout, eager attention, no cache
  greedy.NN  I64 [m]         the greedy continuation, at most 48 tokens, ending early with <|endoftext|>
  margin.NN  F32 [m]         best minus second-best logit at each of those steps
OUT/prompts.json lists the prompts and the greedy texts.  Another correct implementation may part from
these where an activation lies on a tie of the rounding to int8; a small margin then flips a token.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import hf
from model import EOT

PROMPTS = [
    "Once upon a time", "Once upon a time, there was a little girl named Lily.", "One day, a small rabbit",
    "Tom and his friend Mia went to the park.", "The old king", "\"Where is my ball?\" asked Ben.",
    "In a little house near the forest", "There was once a dragon who", "Grandma smiled and said,",
    "It was raining, and", "The little bird could not fly because", "Sam found a shiny key", "The fox looked at the moon.",
    "\"Thank you!\" said the mouse.", "A long, long time ago", "Lucy was afraid of the dark.", "They all",
    "The cat and the dog", "When the sun came up,", "",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of the packed model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--new-tokens", type=int, default=48)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = hf.load(args.model)
    tensors, texts = {}, []
    for number, prompt in enumerate(PROMPTS):
        ids = [EOT] + tokenizer(prompt, add_special_tokens=False).input_ids
        continuation = hf.greedy(model, ids, args.new_tokens, EOT)
        with torch.no_grad():
            logits = model(torch.tensor([ids + continuation]), use_cache=False).logits[0].float()
        best = logits[len(ids) - 1:-1].topk(2).values
        tensors |= {
            f"ids.{number:02}": torch.tensor(ids), f"greedy.{number:02}": torch.tensor(continuation),
            f"logits.{number:02}": logits[:len(ids)].clone(), f"margin.{number:02}": (best[:, 0] - best[:, 1]).clone(),
        }
        texts.append({"prompt": prompt, "greedy": tokenizer.decode(continuation)})
        print(f"{number:02} {prompt!r} -> {texts[-1]['greedy']!r}")
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, args.out / "reference.safetensors")
    (args.out / "prompts.json").write_text(json.dumps(texts, indent=1) + "\n")


if __name__ == "__main__":
    main()
