#!/usr/bin/env python3
"""Write a checkpoint as Hugging Face model folders: OUT/packed (two bits a weight) and OUT/bf16.

Both load with transformers' own BitNetForCausalLM.  packed: every projection as U8 [rows/4, columns],
byte (r, c) holding rows r, r+R, r+2R, r+3R of the matrix from its low bits up (R = rows/4), each as
trit + 1, and an F32 `weight_scale` that multiplies the product.  bf16: the training weights, which
transformers rounds to ternary itself.  Embeddings and norms are bf16 in both.
"""
import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import END_OF_TEXT, EOT
from train import load_model


def ternary(weight):
    """(trits, scale) of a matrix, exactly as the forward pass sees it."""
    weight = weight.float()
    inverse = 1.0 / weight.abs().mean().clamp_min(1e-5)
    return (weight * inverse).round().clamp(-1, 1), (1.0 / inverse).view(1)


def pack(trits):
    codes = (trits + 1).to(torch.uint8)
    quarter = codes.shape[0] // 4
    a, b, c, d = codes.split(quarter)
    return (a | b << 2 | c << 4 | d << 6).contiguous()


def hugging_face_config(config, mode):
    return {
        "architectures": ["BitNetForCausalLM"], "model_type": "bitnet", "hidden_act": "relu2", "attention_bias": False,
        "tie_word_embeddings": True, "bos_token_id": EOT, "eos_token_id": EOT, "initializer_range": 0.02, "use_cache": True,
        **config.to_dict(),
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "dtype": "bfloat16",
        "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": mode},
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_model(folder, tensors, config, mode, tokenizer):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # save_file makes it private
    write_json(folder / "config.json", hugging_face_config(config, mode))
    write_json(folder / "generation_config.json", {
        "bos_token_id": EOT, "eos_token_id": EOT, "do_sample": True, "temperature": 0.5, "top_k": 40})
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "add_bos_token": True,
        "clean_up_tokenization_spaces": False, "model_max_length": config.max_position_embeddings})
    shutil.copyfile(tokenizer, folder / "tokenizer.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="RUN/last.pt")
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if not args.tokenizer.is_file():
        sys.exit(f"no tokenizer at {args.tokenizer}")
    model = load_model(args.checkpoint)
    dense = {f"model.{k}": v.bfloat16().contiguous() for k, v in model.state_dict().items()}
    packed = {}
    for name, tensor in dense.items():
        if name.endswith("_proj.weight"):
            trits, scale = ternary(tensor)
            packed[name], packed[f"{name}_scale"] = pack(trits), scale
        else:
            packed[name] = tensor
    write_model(args.out / "bf16", dense, model.config, "online", args.tokenizer)
    write_model(args.out / "packed", packed, model.config, "offline", args.tokenizer)
    for name in ("bf16", "packed"):
        print(f"{args.out / name}: {(args.out / name / 'model.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    main()
