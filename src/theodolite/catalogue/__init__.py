"""The index: taxonomies that order what is measured, and the papers whose methods are or will be here.

taxonomies()              four trees of keys such as trust:hallucination
papers()                  the papers, each with what it is for, its facets, its link and the methods that run it
search("noisy labels")    papers by meaning where the sentence encoder is installed, else by words
coverage(readings)        which parts of each taxonomy a run's readings cover
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Taxonomy": "trees",
    "taxonomies": "trees",
    "tags": "trees",
    "Paper": "index",
    "papers": "index",
    "search": "ranking",
    "coverage": "cover",
    "write": "page",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.catalogue' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.catalogue.{_HOMES[name]}"), name)
