#!/usr/bin/env python3
"""Train the model of model.py on encoded text parts, following the stages of a recipe file.

  train.py --data DIR --run DIR                    the whole recipe from scratch
  train.py --data DIR --run DIR --resume           go on from RUN/last.pt
  train.py ... --init MODEL_DIR --first-stage NAME take the weights of a bf16 export and start later

A recipe (recipe.json) is a list of stages, each with a number of steps, a learning rate at its start
and end (linear between, after `warmup` steps), weight decay, dropout, a batch of `rows` sequences of
`context` tokens, and `mix`: how often each text part is drawn.  The recipe is read again at --resume,
so the stages still to come may be changed; what was really run is in RUN/log.jsonl.  Data depend only
on the seed, the step number and the rank, so a resumed run sees what an uninterrupted one would have.

Everything counts steps, never the clock: the processes may be stopped (SIGSTOP) and continued at
will; their ids are in RUN/pids.  SIGTERM or Ctrl-C saves a checkpoint and ends the run.
"""
import argparse
import json
import math
import os
import signal
import sys
import time
from pathlib import Path

# glibc must keep freed memory: returning it to the system costs page faults worth several steps.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184", "MALLOC_TOP_PAD_": "268435456"}
if __name__ == "__main__" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable] + sys.argv)

import numpy as np
import torch
import torch.multiprocessing as multiprocessing

from model import EOT, BitLinear, Config, Model

STAGE_KEYS = {"name", "steps", "rows", "context", "lr_start", "lr_end", "warmup", "weight_decay", "dropout", "mix"}


# ---------------------------------------------------------------- data
class Part:
    """One encoded text part: documents of token ids."""

    def __init__(self, path):
        with np.load(path) as file:
            self.tokens, self.starts = file["tokens"].astype(np.int64), file["starts"]
        self.ends = np.append(self.starts[1:], len(self.tokens))

    def piece(self, rng, longest):
        """A whole document, or, when it is too long, up to `longest` tokens from a random place in it."""
        i = rng.integers(len(self.starts))
        start, end = self.starts[i], self.ends[i]
        if end - start > longest and rng.random() < 0.9:
            start = rng.integers(start, end - longest // 2)
        return self.tokens[start:min(end, start + longest)]


def make_batch(parts, mix, rng, rows, length):
    """Rows of length+1 tokens: documents one after the other, the first one from its beginning."""
    names = list(mix)
    weights = np.array([mix[n] for n in names], dtype=float)
    weights /= weights.sum()
    batch = np.empty((rows, length + 1), dtype=np.int64)
    for row in batch:
        part, filled = parts[names[rng.choice(len(names), p=weights)]], 0
        while filled <= length:
            piece = part.piece(rng, length + 1)
            if filled and piece[0] != EOT:
                continue  # a piece from inside a long document may only come first
            piece = piece[:length + 1 - filled]
            row[filled:filled + len(piece)] = piece
            filled += len(piece)
    batch = torch.from_numpy(batch)
    return batch[:, :-1].contiguous(), batch[:, 1:].contiguous()


@torch.no_grad()
def evaluate(model, tokens, length, rows=8, limit=None):
    """Mean loss in nats per token over consecutive windows; every token but the first is predicted once."""
    model.eval()
    tokens = torch.from_numpy(tokens)
    windows = (len(tokens) - 1) // length
    windows = min(windows, limit) if limit else windows
    total = count = 0
    for at in range(0, windows, rows):
        n = min(rows, windows - at)
        ids = tokens[at * length:(at + n) * length].view(n, length)
        targets = tokens[at * length + 1:(at + n) * length + 1].view(n, length)
        total += model.loss(ids, targets).item() * n
        count += n
    model.train()
    return total / max(1, count)


# ---------------------------------------------------------------- recipe
def read_recipe(path):
    try:
        recipe = json.loads(Path(path).read_text())
    except OSError as error:
        sys.exit(f"cannot read the recipe {path}: {error.strerror}")
    except json.JSONDecodeError as error:
        sys.exit(f"{path} is not valid JSON: {error}")
    for stage in recipe["stages"]:
        if set(stage) != STAGE_KEYS:
            sys.exit(f"{path}: stage {stage.get('name', '?')!r}: missing {sorted(STAGE_KEYS - set(stage))}, "
                     f"unknown {sorted(set(stage) - STAGE_KEYS)}")
    return recipe


def stage_at(stages, step):
    """(stage, learning rate) at a step counted from the beginning of the recipe."""
    for stage in stages:
        if step < stage["steps"]:
            rate = stage["lr_start"] + (stage["lr_end"] - stage["lr_start"]) * step / stage["steps"]
            return stage, rate * min(1.0, (step + 1) / max(1, stage["warmup"]))
        step -= stage["steps"]
    return None, 0.0


# ---------------------------------------------------------------- checkpoints
def save(path, **state):
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_model(path, dropout=0.0):
    """A model from a checkpoint (.pt) or from a folder with a bf16 export."""
    path = Path(path)
    if path.is_dir():
        from safetensors.torch import load_file
        given = json.loads((path / "config.json").read_text())
        config = Config(**{k: given[k] for k in Config().to_dict() if k in given})
        weights = {k.removeprefix("model."): v.float() for k, v in load_file(path / "model.safetensors").items()}
    elif path.is_file():
        state = torch.load(path, map_location="cpu")
        config, weights = Config(**state["config"]), state["model"]
    else:
        sys.exit(f"no checkpoint or model folder at {path}")
    model = Model(config, dropout)
    model.load_state_dict(weights)
    return model


# ---------------------------------------------------------------- one training process
def worker(rank, args, shared, barrier):
    """A single-threaded data-parallel process. On a busy machine several of these beat one process with
    several threads: they wait for each other once a step instead of once a kernel."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    stop = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.append(True))
    recipe = read_recipe(args.recipe)
    stages = recipe["stages"]
    total_steps = sum(s["steps"] for s in stages)
    wanted = sorted({name for stage in stages for name in stage["mix"]})
    parts = {n: Part(args.data / f"{n}.npz") for n in wanted if (args.data / f"{n}.npz").is_file()}
    validation = {p.stem: Part(p).tokens for p in sorted(args.data.glob("valid_*.npz"))}

    step = 0
    if args.resume:
        state = torch.load(args.run / "last.pt", map_location="cpu")
        model = Model(Config(**state["config"]))
        model.load_state_dict(state["model"])
        step = state["step"]
    elif args.init:
        model = load_model(args.init)
        names = [s["name"] for s in stages]
        if args.first_stage not in names:
            sys.exit(f"--first-stage must be one of {names}")
        step = sum(s["steps"] for s in stages[:names.index(args.first_stage)])
    else:
        model = Model(Config(**recipe["model"]))
    matrices = [m.weight for m in model.modules() if isinstance(m, BitLinear)]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": others, "weight_decay": 0.0}],
                                  lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
    if args.resume:
        optimizer.load_state_dict(state["optimizer"])
    parameters = list(model.parameters())

    log_file = open(args.run / "log.jsonl", "a") if rank == 0 else None

    def log(**record):
        if rank == 0:
            line = json.dumps({k: round(v, 5) if isinstance(v, float) else v for k, v in record.items()})
            print(line, flush=True)
            log_file.write(line + "\n")
            log_file.flush()

    def checkpoint():
        if rank == 0:
            save(args.run / "last.pt", model=model.state_dict(), optimizer=optimizer.state_dict(), step=step,
                 config=model.config.to_dict())

    def validate(limit):
        with torch.autocast("cpu", torch.bfloat16):
            losses = {n.removeprefix("valid_"): evaluate(model, t, length, limit=limit) for n, t in validation.items()}
        log(event="valid", step=step, **losses)

    log(event="start", step=step, recipe=recipe, seed=args.seed, ranks=args.ranks, torch=torch.__version__,
        ternary=model.ternary_weights(), parameters=sum(p.numel() for p in parameters),
        tokens={n: len(p.tokens) for n, p in parts.items()})
    current = compiled = None
    loss_sum, tokens, began, cpu_began, since = 0.0, 0, time.time(), time.process_time(), step
    model.train()
    while step < total_steps:
        stage, rate = stage_at(stages, step)
        if stage is not current:
            missing = [n for n in stage["mix"] if n not in parts]
            if missing:
                raise SystemExit(f"stage {stage['name']!r} wants parts {missing}, not in {args.data}")
            current, model.dropout = stage, stage["dropout"]
            rows, length = stage["rows"] // args.ranks, stage["context"]
            torch._dynamo.reset()
            compiled = torch.compile(model.loss, dynamic=False) if args.compile else model.loss
            log(event="stage", step=step, name=stage["name"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.param_groups[0]["weight_decay"] = stage["weight_decay"]

        ids, targets = make_batch(parts, stage["mix"], np.random.default_rng([args.seed, step, rank]), rows, length)
        with torch.autocast("cpu", torch.bfloat16):
            loss = compiled(ids, targets)
        loss.backward()
        torch.cat([p.grad.reshape(-1) for p in parameters], out=shared["gradients"][rank])
        shared["stop"][rank] = bool(stop)
        barrier.wait()
        mean = shared["gradients"].mean(0)
        stopping = bool(shared["stop"].any())
        barrier.wait()
        norm = mean.norm().item()
        if not math.isfinite(norm):
            raise SystemExit(f"step {step}: the gradient is not finite")
        mean *= min(1.0, 1.0 / (norm + 1e-6))
        at = 0
        for p in parameters:
            p.grad.copy_(mean[at:at + p.numel()].view_as(p))
            at += p.numel()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        loss_sum += loss.item()
        tokens += stage["rows"] * length
        step += 1

        if step % args.log_every == 0:
            log(step=step, stage=stage["name"], loss=loss_sum / (step - since), lr=rate, norm=norm,
                tokens_s=round(tokens / (time.time() - began)),
                tokens_cpu_s=round(tokens / args.ranks / (time.process_time() - cpu_began)))
            loss_sum, tokens, began, cpu_began, since = 0.0, 0, time.time(), time.process_time(), step
        if rank == 0 and step % args.valid_every == 0:
            validate(limit=12)
        if stopping or step % args.save_every == 0:
            checkpoint()
        if stopping:
            log(event="stopped", step=step)
            return
    checkpoint()
    if rank == 0:
        validate(limit=None)
    log(event="done", step=step)


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the encoded parts (tokenizer.py)")
    parser.add_argument("--run", type=Path, required=True, help="folder for the checkpoint and the log")
    parser.add_argument("--recipe", type=Path, default=here / "recipe.json")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true", help="go on from RUN/last.pt")
    parser.add_argument("--init", type=Path, help="start from the weights of this bf16 export or checkpoint")
    parser.add_argument("--first-stage", help="with --init: the stage to begin with")
    parser.add_argument("--ranks", type=int, default=2, help="training processes, one core each")
    parser.add_argument("--log-every", type=int, default=25)
    parser.add_argument("--valid-every", type=int, default=500)
    parser.add_argument("--save-every", type=int, default=250)
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="do without torch.compile (slower)")
    args = parser.parse_args()

    recipe = read_recipe(args.recipe)
    if not args.data.is_dir():
        sys.exit(f"no data folder {args.data}: run prepare.py and tokenizer.py first")
    if args.ranks < 1 or any(stage["rows"] % args.ranks for stage in recipe["stages"]):
        sys.exit("--ranks must divide the rows of every stage in the recipe")
    if bool(args.init) != bool(args.first_stage):
        sys.exit("--init and --first-stage belong together")
    if args.resume and not (args.run / "last.pt").is_file():
        sys.exit(f"nothing to resume: {args.run / 'last.pt'} does not exist")
    if not args.resume and (args.run / "last.pt").exists():
        sys.exit(f"{args.run} already holds a run: give --resume or another --run")
    args.run.mkdir(parents=True, exist_ok=True)

    # fork keeps the command line of the parent, so that all ranks are easy to find and stop
    context = multiprocessing.get_context("fork")
    size = sum(p.numel() for p in Model(Config(**recipe["model"])).parameters())
    shared = {"gradients": torch.zeros(args.ranks, size).share_memory_(),
              "stop": torch.zeros(args.ranks, dtype=torch.bool).share_memory_()}
    barrier = context.Barrier(args.ranks)

    def run(rank):
        try:
            worker(rank, args, shared, barrier)
        except BaseException:
            barrier.abort()  # or the other ranks would wait for ever
            raise

    torch.set_num_threads(1)
    processes = [context.Process(target=run, args=(rank,)) for rank in range(1, args.ranks)]
    for process in processes:
        process.start()
    (args.run / "pids").write_text(" ".join(str(p) for p in [os.getpid()] + [p.pid for p in processes]) + "\n")
    try:
        run(0)
    finally:
        for process in processes:
            process.join()


if __name__ == "__main__":
    main()
