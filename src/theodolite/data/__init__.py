"""Data: read Examples from the formats people have, shape them into views, select, split, write.

from theodolite.data import read, views
found = read("pairs.jsonl")                        # ReadResult: examples, bad rows with reasons, format
kept, left_out = views.pairs(found.examples)       # what an objective trains on
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from theodolite.data import views as views
    from theodolite.data.reading import BadRow as BadRow
    from theodolite.data.reading import ReadResult as ReadResult
    from theodolite.data.reading import read as read
    from theodolite.data.views import pairs as pairs
    from theodolite.data.write import write_jsonl as write_jsonl

_HOMES = {"read": "reading", "ReadResult": "reading", "BadRow": "reading", "write_jsonl": "write", "pairs": "views"}

__all__ = ["BadRow", "ReadResult", "pairs", "read", "views", "write_jsonl"]


def __getattr__(name: str) -> Any:
    if name == "views":
        return importlib.import_module("theodolite.data.views")
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.data.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
