"""Which categories a run's readings cover."""

from __future__ import annotations

import math

import pytest

from theodolite.catalogue import cover
from theodolite.catalogue.cover import coverage, everything, owner
from theodolite.types import Reading

KNOWN = {
    "kl": ("bidirectional:model-learning",),
    "truth": ("trust:hallucination", "trust:misinformation"),
    "truth.deep": ("trust:safety",),
    "ethics": ("goal:human-values",),
    "bare": (),
}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cover, "tagged", lambda: KNOWN)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("kl", "kl"),
        ("kl.per_token", "kl"),
        ("truth.deep.after", "truth.deep"),
        ("truth.before", "truth"),
        ("klx", None),
        ("", None),
    ],
)
def test_a_reading_belongs_to_the_longest_name_it_begins_with(name: str, method: str | None) -> None:
    assert owner(name, KNOWN) == method


def test_values_cover_and_undefined_readings_do_not() -> None:
    found = coverage([Reading("truth.after", 0.5), Reading("kl", math.nan), Reading("strange", 1.0)])
    trust, goal, bidirectional, _ = found.covers
    assert (trust.covered, trust.total) == (2, 29)
    assert trust.rows["trust:hallucination"].by == ("truth",)
    assert bidirectional.covered == 0
    assert bidirectional.rows["bidirectional:model-learning"].could == ("kl",)
    assert goal.rows["goal:human-values"].could == ("ethics",)
    assert found.undefined == ("kl",)
    assert found.unknown == ("strange",)


def test_a_method_with_one_value_is_not_undefined() -> None:
    found = coverage([Reading("kl", math.nan), Reading("kl.per_token", 0.1)])
    assert found.undefined == ()
    assert list(found.methods) == ["kl"]


def test_a_tag_on_a_whole_category_covers_none_of_its_parts() -> None:
    goal = coverage([Reading("ethics", 0.7)]).covers[1]
    assert goal.rows["goal:human-values"].by == ("ethics",)
    assert goal.covered == 0


def test_nothing_measured_covers_nothing_and_everything_is_the_most() -> None:
    none, most = coverage([]), everything()
    assert [c.covered for c in none.covers] == [0, 0, 0, 0]
    assert [c.covered for c in most.covers] == [2, 0, 1, 0]
    assert all(not row.could for c in most.covers for row in c.rows.values())


def test_json_holds_every_category_once() -> None:
    body = coverage([Reading("truth", 1.0)]).to_json()
    trust = body["taxonomies"][0]
    assert (trust["covered"], trust["of"]) == (2, 29)
    assert len(trust["categories"]) == 36
    by_key = {c["key"]: c for c in trust["categories"]}
    assert by_key["trust:misinformation"]["path"] == ["Reliability", "Misinformation"]
    assert by_key["trust:reliability"]["parts"] == 5
    assert body["methods"] == {"truth": ["trust:hallucination", "trust:misinformation"]}
