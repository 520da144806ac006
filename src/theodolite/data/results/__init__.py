"""Results of evaluations, ours and the neighbours', item by item, and what a comparison of them must hold equal.

from theodolite.data.results import compare, read_results
base, tuned = read_results("base/samples_gsm8k_2025-01-01.jsonl"), read_results("tuned/samples_gsm8k_2025-01-02.jsonl")
found = compare([*base, *tuned])          # refuses runs whose protocol differs; found.rows hold the verdicts

    results       the nouns: one metric item by item, and all metrics of one model
    reading       which reader a file needs, by what is in it
    lm_eval, alpaca_eval, reward_bench, mt_bench, run_folder, plain    one file a format
    align         items that both sides have
    protocol      what must be equal, and the letter where it is not
    reliability   how far a judge can be trusted
    comparing     all of it together
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Column": "results",
    "Results": "results",
    "Comparison": "comparing",
    "Reliability": "reliability",
    "compare": "comparing",
    "gather": "reading",
    "read_reliability": "reliability",
    "read_results": "reading",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'theodolite.data.results' has no attribute '{name}'")
    return getattr(importlib.import_module(f"theodolite.data.results.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
