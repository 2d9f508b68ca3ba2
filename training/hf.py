"""Load an export with transformers, in float32 throughout and without compiled kernels."""
import sys
from pathlib import Path

import torch


def load(folder):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (Path(folder) / "config.json").is_file():
        sys.exit(f"no model folder at {folder}")
    torch.compiler.set_stance("force_eager")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    # from_pretrained leaves the embeddings and norms of a packed checkpoint in bf16
    torch.nn.Module.float(model)  # transformers forbids model.float() here
    return model.eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def greedy(model, ids, new_tokens, stop):
    """Greedy continuation, every step computed over the whole sequence; ends after `stop`."""
    ids = list(ids)
    first = len(ids)
    while len(ids) < first + new_tokens:
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == stop:
            break
    return ids[first:]
