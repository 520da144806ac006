"""Judges: compare two answers or grade one; a parsed verdict, its probability where known, and the raw text.

from theodolite.judges import Comparison, build, compare_both
judge = build("longer")
both = compare_both(judge, [Comparison.of("Name a colour.", "Blue.", "Seven, I think.")])   # both orders, always
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Answer": "verdict",
    "Comparison": "verdict",
    "Verdict": "verdict",
    "Judge": "verdict",
    "BothOrders": "orders",
    "compare_both": "orders",
    "Rubric": "rubric",
    "read_rubric": "rubric",
    "Means": "making",
    "build": "making",
    "local_means": "making",
    "remote_means": "making",
    "Jury": "jury",
    "parse_winner": "parse",
    "parse_grade": "parse",
    "read_trials": "trials",
    "judge_trials": "evaluation",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.judges' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.judges.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
