"""theodolite: measure how far a language model points from where it should, turn it, and measure again."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Example": "types",
    "Group": "types",
    "Loss": "types",
    "Message": "types",
    "Reading": "types",
    "Response": "types",
    "Role": "types",
    "Span": "types",
    "TokenLogps": "types",
    "TheodoliteError": "errors",
    "load_model": "models",
    "measure": "surveys.measure",
    "read": "data",
    "run_recipe": "runs",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
