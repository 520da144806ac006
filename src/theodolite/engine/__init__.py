"""Groups in, TokenLogps out; prompts in, Examples with fresh responses out. Where speed comes from."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "token_logps": "logprobs",
    "opening": "packing",
    "packs": "packing",
    "reference_mode": "reference",
    "ReferenceCache": "reference",
    "LocalSampler": "sampling",
    "Sampler": "sampling",
    "Sampling": "sampling",
    "SamplingInterrupted": "sampling",
    "Unfinished": "sampling",
    "RemoteSampler": "remote",
    "VllmSampler": "vllm",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.engine' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.engine.{_HOMES[name]}"), name)
