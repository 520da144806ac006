"""Recipes and runs: typed YAML in, a folder with everything that happened out."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"run_recipe": "runner", "Recipe": "recipe", "read_recipe": "recipe", "Ledger": "ledger", "Finished": "runner"}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.runs' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.runs.{_HOMES[name]}"), name)
