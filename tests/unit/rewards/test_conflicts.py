from __future__ import annotations

import pytest

from theodolite import registry
from theodolite.errors import UnknownName
from theodolite.rewards import conflicts


def test_the_table_is_symmetric_complete_and_knows_only_registered_kinds():
    table = conflicts.table()
    assert set(table) == set(registry.names("constraint"))
    for kind, others in table.items():
        assert kind in others
        for other in others:
            assert kind in table[other], (kind, other)


def test_every_kind_named_in_the_module_is_registered():
    named = {
        v for k, v in vars(conflicts).items() if k.startswith("_") and isinstance(v, str) and ":" in v and "\n" not in v
    }
    assert len(named) > 25
    assert named <= set(registry.names("constraint"))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("change_case:english_capital", "change_case:english_lowercase"),
        ("theodolite:no_digits", "theodolite:numbered_list"),
        ("detectable_format:json_format", "punctuation:no_comma"),
        ("detectable_format:constrained_response", "keywords:existence"),
        ("startend:quotation", "detectable_format:title"),
        ("language:response_language", "keywords:existence"),
        ("theodolite:one_sentence", "startend:end_checker"),
    ],
)
def test_what_cannot_hold_together_conflicts(a, b):
    assert conflicts.conflict(a, b)
    assert conflicts.conflict(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("punctuation:no_comma", "change_case:english_lowercase"),
        ("detectable_format:json_format", "keywords:existence"),
        ("length_constraints:number_paragraphs", "detectable_format:number_bullet_lists"),
        ("theodolite:starts_with", "startend:end_checker"),
    ],
)
def test_what_can_hold_together_does_not(a, b):
    assert not conflicts.conflict(a, b)
    assert conflicts.fit_together([a, b])


def test_a_kind_named_twice_does_not_fit_and_an_unknown_one_is_refused():
    assert not conflicts.fit_together(["punctuation:no_comma", "punctuation:no_comma"])
    with pytest.raises(UnknownName, match="Did you mean 'punctuation:no_comma'"):
        conflicts.conflict("punctuation:no_commas", "startend:quotation")
