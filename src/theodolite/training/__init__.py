"""Turning a model: offline training on groups of responses, and the checks that a run makes of itself."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"Align": "config", "prepare": "bundles", "train": "offline", "Trained": "offline"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.training' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.training.{_HOMES[name]}"), name)
