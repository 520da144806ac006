"""The only place that knows where models come from: resolve, load, chat templates, adapters."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Loaded": "load",
    "load_model": "load",
    "attach_lora": "adapters",
    "Lora": "adapters",
    "resolve": "locate",
    "home": "locate",
    "prompt_ids": "chat",
    "end_ids": "chat",
    "group_of": "chat",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.models' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.models.{_HOMES[name]}"), name)
