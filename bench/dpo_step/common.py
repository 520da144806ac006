"""What both sides share: the adapter's shape and start, the memory and the peak of this machine."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors.torch import load_file, save_file


def lora_config() -> peft.LoraConfig:
    """LoRA of rank 16 on all linear layers but the head."""
    return peft.LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


def lora(model: Any) -> Any:
    return peft.get_peft_model(model, lora_config())


@dataclass
class Adapter:
    """A start that both sides take. B is not zero, so that already the first loss tells the sides apart."""

    weights: dict[str, torch.Tensor]

    @classmethod
    def draw(cls, model: Any, seed: int = 0) -> Adapter:
        generator = torch.Generator().manual_seed(seed)
        made = {}
        for name, p in model.named_parameters():
            if "lora_" in name:
                scale = 0.02 if "lora_A" in name else 0.002
                made[name] = torch.randn(p.shape, generator=generator) * scale
        return cls(made)

    def write(self, path: Path) -> None:
        save_file(self.weights, path)

    @classmethod
    def read(cls, path: str) -> Adapter:
        return cls(load_file(path))

    def put_on(self, model: Any) -> None:
        there = {n: p for n, p in model.named_parameters() if "lora_" in n}
        if there.keys() != self.weights.keys():
            raise SystemExit("the two sides put adapters on different layers; the comparison would mean nothing")
        with torch.no_grad():
            for name, p in there.items():
                p.copy_(self.weights[name])


def memory() -> float:
    """Largest resident memory of this process so far, in GB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e9 if sys.platform == "darwin" else 1e6)


def matmul_peak(size: int = 2048, repeats: int = 5) -> float:
    """GFLOP/s of the best of a few square float32 products."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - begun)
    return 2 * size**3 / best / 1e9
