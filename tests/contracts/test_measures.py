"""What every measure of records keeps to. Cases come from `CASES` in tests/unit/measures/test_*.py."""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from measure_case import Case
from theodolite import registry
from theodolite.measures.call import evaluate

UNIT = Path(__file__).resolve().parent.parent / "unit" / "measures"


def _cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for path in sorted(UNIT.glob("test_*.py")):
        if "CASES" not in path.read_text(encoding="utf-8"):
            continue
        name = f"measure_cases_of_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        assert not (twice := found.keys() & module.CASES.keys()), f"two cases for {twice}"
        found |= module.CASES
    return found


CASES = _cases()
NAMES = [e.name for e in registry.entries("measure") if e.reads != "evidence"]


def test_every_measure_of_records_has_a_case() -> None:
    assert sorted(CASES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_is(name: str) -> None:
    entry = registry.get("measure", name)
    assert entry.question.endswith("?")
    assert entry.not_measured
    assert entry.better in ("higher", "lower", "neither")
    low, high = entry.range
    assert low < high
    assert list(inspect.signature(entry.function).parameters)[1:] == ["rng", "cfg"]


@pytest.mark.parametrize("name", NAMES)
def test_value_lies_in_its_range_and_its_interval(name: str) -> None:
    case, entry = CASES[name], registry.get("measure", name)
    got = evaluate(name, case.good, **case.options)
    low, high = entry.range
    assert low - 1e-9 <= got.value <= high + 1e-9, got
    assert got.name == name
    assert got.n > 0
    assert got.better == entry.better
    if not math.isnan(got.low):
        assert got.low - 1e-9 <= got.high and got.method, got
    assert got.to_json()["value"] is None or isinstance(got.to_json()["value"], float | int)


@pytest.mark.parametrize("name", NAMES)
def test_undefined_is_nan_with_a_reason(name: str) -> None:
    case = CASES[name]
    got = evaluate(name, case.undefined, **case.options)
    assert math.isnan(got.value) and got.note, got


@pytest.mark.parametrize("name", [n for n in NAMES if CASES.get(n) and CASES[n].bad is not None])
def test_direction(name: str) -> None:
    case = CASES[name]
    good, bad = (evaluate(name, d, **case.options).value for d in (case.good, case.bad))
    assert good > bad if registry.get("measure", name).better == "higher" else good < bad, (good, bad)


@pytest.mark.parametrize("name", [n for n in NAMES if CASES.get(n) and CASES[n].shuffle is not None])
def test_order_of_rows_is_irrelevant(name: str) -> None:
    case = CASES[name]
    assert case.shuffle
    there = evaluate(name, case.good, **case.options).value
    for seed in range(3):
        other = evaluate(name, case.shuffle(case.good, np.random.default_rng(seed)), **case.options).value
        assert other == pytest.approx(there, abs=1e-9)


@pytest.mark.parametrize("name", [n for n in NAMES if CASES.get(n) and CASES[n].missing is not None])
def test_missing_is_counted_and_explained(name: str) -> None:
    case = CASES[name]
    assert case.missing
    data, count = case.missing
    got = evaluate(name, data, **case.options)
    assert got.missing == count and sum(got.why.values()) == count and not math.isnan(got.value), got


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_reading(name: str) -> None:
    case = CASES[name]
    a, b = (evaluate(name, case.good, seed=5, **case.options).to_json() for _ in range(2))
    assert a == b


def test_measures_with_a_direction_have_a_bad_case() -> None:
    lacking = [n for n in NAMES if registry.get("measure", n).better != "neither" and CASES[n].bad is None]
    assert lacking == []
