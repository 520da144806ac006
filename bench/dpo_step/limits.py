"""What is the most that a step could reach? The model's own products alone, and tokens that prompts have in common.

    python bench/dpo_step/limits.py [--json limits.json] [--rows 128 256 1024] [--repeats 5]

`products`: every linear layer of the model in turn, so that each weight comes cold from memory as it does in a step, and
nothing else: the share of the matmul peak that forward products reach, alone and with adapters of rank 16, and backward.
`openings`: tokens of hh-rlhf prompts and answers that a row computes twice although two prompts begin alike, as a share:
what a stem (the opening all prompts of a step have in common) saves and what a trie of all common beginnings would
save beyond it, in steps of 8 and 16 shuffled groups. Let the machine be idle for the products.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cases
import torch
from common import matmul_peak
from run import SHARED
from torch.nn import functional as F

from theodolite.engine import opening
from theodolite.engine.packing import computed_tokens
from theodolite.models import load_model
from theodolite.types import Group

RANK = 16


def products(model: Any, rows: int, repeats: int, peak: float) -> dict[str, float]:
    """Share of the peak by kind of product; `rows` is the number of tokens."""
    weights = [m.weight.detach() for m in model.model.modules() if isinstance(m, torch.nn.Linear)]
    x = {n: torch.randn(rows, n) for n in {n for w in weights for n in w.shape}}
    down = {n: torch.randn(RANK, n) for n in x}
    up = {n: torch.randn(n, RANK) for n in x}

    def forward() -> None:
        for w in weights:
            F.linear(x[w.shape[1]], w)

    def adapted() -> None:
        for w in weights:
            y = F.linear(x[w.shape[1]], w)
            y.addmm_(x[w.shape[1]] @ down[w.shape[1]].T, up[w.shape[0]].T)

    def backward() -> None:
        for w in weights:
            x[w.shape[0]] @ w

    flops = 2 * rows * sum(w.numel() for w in weights)
    low = 2 * rows * RANK * sum(sum(w.shape) for w in weights)
    done = {"forward": (forward, flops), "with adapters": (adapted, flops + low), "backward": (backward, flops)}
    return {name: work / seconds(run, repeats) / 1e9 / peak for name, (run, work) in done.items()}


def seconds(run: Callable[[], None], repeats: int) -> float:
    run()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def openings(groups: Sequence[Group], per_step: int, draws: int = 20) -> dict[str, float]:
    """Shares of the computed tokens that a stem saves, and that a trie would save beyond it."""
    saved = {"stem": 0, "trie beyond it": 0}
    total = 0
    for seed in range(draws):
        order = random.Random(seed).sample(range(len(groups)), len(groups))
        for start in range(0, len(order) - per_step + 1, per_step):
            step = [groups[i] for i in order[start : start + per_step]]
            stem = opening(step) * (len(step) - 1)
            total += sum(map(computed_tokens, step))
            saved["stem"] += stem
            saved["trie beyond it"] += twice(step) - stem
    return {name: n / total for name, n in saved.items()}


def twice(groups: Sequence[Group]) -> int:
    """Prompt tokens that stand behind the same beginning as in an earlier prompt."""
    seen: set[tuple[int, ...]] = set()
    again = 0
    for g in groups:
        own = {g.prompt[: i + 1] for i in range(len(g.prompt) - 1)}  # the last token always has a place of its own
        again += len(own & seen)
        seen |= own
    return again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--rows", nargs="+", type=int, default=[128, 256, 1024])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="smollm2-135m-instruct", help="a name or a folder")
    args = parser.parse_args()
    loaded = load_model(args.model)
    peak = matmul_peak()
    found: dict[str, Any] = {"matmul_peak_gflops": peak, "products": {}, "openings": {}}
    for rows in args.rows:
        found["products"][rows] = shares = products(loaded.model, rows, args.repeats, peak)
        print(f"{rows:5} rows: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()), flush=True)
    case = cases.hh(SHARED, loaded.tokenizer, 800)
    groups = [Group(tuple(g["prompt"]), tuple(map(tuple, g["responses"]))) for g in case["groups"]]
    for per_step in (8, 16):
        found["openings"][per_step] = shares = openings(groups, per_step)
        told = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
        print(f"hh-rlhf, steps of {per_step}: {told} of the tokens", flush=True)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
