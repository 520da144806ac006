"""Every registered survey on a tiny random model: readings, intervals, no chance outside the seed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from theodolite import registry
from theodolite.errors import DataError, UsageError
from theodolite.models import load_model
from theodolite.surveys.measure import measure
from theodolite.surveys.subject import Subject
from tiny import tiny_folder

NAMES = registry.names("survey")
SMALL = {"limit": 6, "max_new_tokens": 4}


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return Subject(load_model(str(tiny_folder(tmp_path_factory.mktemp("tiny"), context=4096))))


FROM_NOTHING = {"games"}
"""surveys that make their items themselves"""


def small(name: str, subject: Subject | None = None) -> dict[str, object]:
    base = {"base": str(subject.loaded.path)} if subject else {}
    config = registry.get("survey", name).config
    assert config is not None
    return {k: v for k, v in {**SMALL, **base}.items() if k in config.model_fields}


def test_there_are_at_least_fifteen() -> None:
    assert len(NAMES) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_a_survey_gives_readings(name: str, subject: Subject, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEODOLITE_SHARED", str(shared.parent))
    found = measure(name, model=subject, **small(name, subject))
    assert found
    assert len({r.name for r in found}) == len(found)
    for reading in found:
        assert reading.n > 0 or (math.isnan(reading.value) and reading.note), reading
        if not math.isnan(reading.low):
            assert reading.low - 1e-9 <= reading.high
            assert reading.method
        items = reading.parts.get("items")
        if items is not None:  # what two models are compared by must be what the value is the mean of
            assert all(isinstance(k, str) for k in items)
            assert np.nanmean(list(items.values())) == pytest.approx(reading.value, abs=1e-6), reading.name
    asked = dict(subject.passes)
    again = measure(name, model=subject, **small(name, subject))
    assert [r.to_json() for r in again] == [r.to_json() for r in found]
    assert {k: v for k, v in subject.passes.items() if k != "reused"} == {
        k: v for k, v in asked.items() if k != "reused"
    }


@pytest.mark.parametrize("name", [n for n in NAMES if n not in FROM_NOTHING])
def test_missing_items_are_a_letter(name: str, subject: Subject, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"items of this survey are not at|THEODOLITE_SHARED"):
        measure(name, str(tmp_path / "nowhere.csv"), model=subject, **small(name, subject))


@pytest.mark.parametrize("name", NAMES)
def test_a_survey_says_what_it_is(name: str) -> None:
    entry = registry.get("survey", name)
    assert entry.question.endswith("?")
    assert entry.measures
    assert entry.not_measured
    assert entry.data
    for option, field in entry.config.model_fields.items():
        assert field.description, option


def test_the_same_items_for_every_model() -> None:
    from theodolite.surveys.protocol import pick

    assert pick(range(100), 10) == pick(range(100), 10)
    assert pick(range(5), 10) == list(range(5))
    assert np.all(np.diff(pick(range(100), 10)) > 0)


def test_refusals_may_be_classified_by_a_model(subject: Subject, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEODOLITE_SHARED", str(shared.parent))
    words, model = (
        {r.name: r for r in measure("xstest", model=subject, limit=12, max_new_tokens=4, classifier=c)}
        for c in ("words", "model")
    )
    assert words.keys() == model.keys()
    by_model = model["over_refusal"]
    assert by_model.n + by_model.missing > 0
    with pytest.raises(UsageError, match="classifier=model"):
        measure("xstest", model=subject, limit=4, judge="smollm2-135m-instruct")
