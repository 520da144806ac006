from __future__ import annotations

import pytest

from theodolite import registry
from theodolite.errors import ConfigError, DataError, UnknownName
from theodolite.rewards.rules import VerifiableReward, check, meets, score, variants
from theodolite.types import Example, Response

SHORT = {"id": "length_constraints:number_words", "kwargs": {"num_words": 4, "relation": "less than"}}
COMMA = {"id": "punctuation:no_comma", "kwargs": {}}
LOWER = {"id": "change_case:english_lowercase", "kwargs": {"language": None, "num_words": None}}


def test_the_eight_variants():
    assert variants("*a*\nb\nc*") == ("*a*\nb\nc*", "b\nc*", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb", "b")
    assert len(variants("one line")) == 8


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (COMMA, "Sure, here it is:\nNo such mark."),  # the first line goes
        (COMMA, "No such mark.\nBye, friend."),  # the last line goes
        (COMMA, "Sure, fine:\nNo such mark.\nBye, friend."),  # both go
        ({"id": "startend:end_checker", "kwargs": {"end_phrase": "The end."}}, "So it was. *The end.*"),  # stars go
        ({"id": "detectable_format:json_format", "kwargs": {}}, 'Here:\n{"a": "**b**"}\nEnjoy'),
    ],
)
def test_loose_forgives_what_strict_does_not(constraint, text):
    assert not meets(constraint, text)
    assert meets(constraint, text, loose=True)


def test_loose_never_refuses_what_strict_accepts_and_still_can_fail():
    assert meets(COMMA, "none", loose=True)
    assert not meets(COMMA, "a, b\nc, d\ne, f", loose=True)


def test_loose_does_not_pass_by_cutting_everything_away():
    # Dropping the only line leaves nothing, and nothing meets no constraint.
    assert not meets(COMMA, "a, b", loose=True)


def test_check_keeps_order_and_tells_twins_apart():
    more = {"id": SHORT["id"], "kwargs": {"num_words": 2, "relation": "at least"}}
    found = check([SHORT, COMMA, more], "One, two, three, four.")
    assert found == {
        "length_constraints:number_words#0": False,
        "punctuation:no_comma#1": False,
        "length_constraints:number_words#2": True,
    }
    assert list(found)[1] == "punctuation:no_comma#1"


def test_the_score_is_the_share_of_constraints_met():
    example = Example.of("q", "two words", "Two words", "Two words, and more", "", constraints=[SHORT, COMMA, LOWER])
    (scored,) = score([example], VerifiableReward())
    # all three; case fails; all three fail; an empty answer meets nothing
    assert [r.score for r in scored.responses] == pytest.approx([1, 2 / 3, 0, 0])
    assert scored.responses[1].meta["checks"] == {
        f"{SHORT['id']}#0": True,
        f"{COMMA['id']}#1": True,
        f"{LOWER['id']}#2": False,
    }
    assert [r.score for r in example.responses] == [None] * 4


def test_binary_asks_for_all_and_loose_for_one_variant():
    example = Example.of("q", "two words", "Two words", "Sure, sir:\ntwo words", constraints=[COMMA, LOWER])
    binary = score([example], VerifiableReward(binary=True))[0]
    assert [r.score for r in binary.responses] == [1, 0, 0]
    loose = score([example], VerifiableReward(loose=True))[0]
    assert [r.score for r in loose.responses] == [1, 0.5, 1]


def test_scoring_keeps_what_was_known_of_a_response():
    response = Response("fine", tokens=(1, 2), logps=(-0.5, -0.1), source="s", meta={"k": 1})
    (kept,) = score([Example.of("q", response, constraints=[COMMA])])[0].responses
    assert (kept.tokens, kept.logps, kept.source, kept.meta["k"]) == ((1, 2), (-0.5, -0.1), "s", 1)


def test_the_reward_is_registered_with_its_range():
    entry = registry.get("reward", "verifiable")
    assert entry.function is score
    assert (entry.range, entry.verifiable, entry.config) == ((0.0, 1.0), True, VerifiableReward)
    for e in registry.entries("constraint"):
        assert e.summary, e.name
        assert e.family, e.name


@pytest.mark.parametrize(
    ("constraint", "error", "says"),
    [
        ({"id": "length_constraints:number_wrods"}, UnknownName, "Did you mean 'length_constraints:number_words'"),
        (
            {"id": SHORT["id"], "kwargs": {"num_word": 3, "relation": "at least"}},
            ConfigError,
            "Did you mean 'num_words'",
        ),
        ({"id": SHORT["id"], "kwargs": {"num_words": 3, "relation": None}}, ConfigError, "'relation' is missing"),
        (
            {"id": SHORT["id"], "kwargs": {"num_words": 3, "relation": "at most"}},
            ConfigError,
            "'less than' or 'at least'",
        ),
        ({"id": SHORT["id"], "kwargs": {"num_words": -1, "relation": "at least"}}, ConfigError, "got -1"),
        ({"id": "keywords:existence", "kwargs": {"keywords": []}}, ConfigError, "keywords"),
        ({"id": "language:response_language", "kwargs": {"language": "xx"}}, ConfigError, "we know no language 'xx'"),
        (
            {
                "id": "length_constraints:nth_paragraph_first_word",
                "kwargs": {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"},
            },
            ConfigError,
            "nth_paragraph is 3 of 2",
        ),
        (
            {"id": "theodolite:word_range", "kwargs": {"min_words": 9, "max_words": 3}},
            ConfigError,
            "no answer could pass",
        ),
        ({"kwargs": {}}, DataError, "a constraint looks like"),
        ({"id": "punctuation:no_comma", "kwargs": [1]}, DataError, "must be a mapping"),
        ("punctuation:no_comma", DataError, "a constraint looks like"),
    ],
)
def test_mistakes_are_answered_with_a_letter(constraint, error, says):
    with pytest.raises(error, match=says):
        meets(constraint, "text")


@pytest.mark.parametrize(
    "meta", [{}, {"constraints": []}, {"constraints": "punctuation:no_comma"}, {"constraints": None}]
)
def test_an_example_without_constraints_has_no_share(meta):
    with pytest.raises(DataError, match="has no constraints to verify"):
        score([Example.of("q", "a", id="b7", **meta)])
