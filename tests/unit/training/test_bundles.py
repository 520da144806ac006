"""What each kind of data becomes: rows, roles, weights; and what is refused."""

from __future__ import annotations

import pytest

from theodolite.errors import DataError
from theodolite.objectives.combine import parse
from theodolite.training.bundles import prepare
from theodolite.types import Example, Response, Role, Span
from tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def bundle(kind: str, *rows: Example, roles: tuple[str, ...] = ()) -> tuple:
    return prepare(rows, kind, TOKENIZER, max_length=1000, roles=roles).bundles[0]


def refused(kind: str, row: Example) -> str:
    with pytest.raises(DataError) as caught:
        prepare([row], kind, TOKENIZER, max_length=1000)
    return str(caught.value)


def text(ids: tuple[int, ...]) -> str:
    return TOKENIZER.decode(ids)


def test_sft_learns_the_best_answer() -> None:
    (group,) = bundle("sft", Example.of("q", Response("bad", 0.1), Response("good", 0.9)))
    assert [text(r) for r in group.responses] == ["good<|im_end|>"]


def test_a_thumb_for_kto_gets_the_next_row_s_answer_under_its_own_prompt() -> None:
    rows = [Example.of(f"q{i}", Response(f"a{i}", label=i % 2 == 0), id=str(i)) for i in range(3)]
    rows.insert(1, Example.of("q0", Response("other", label=False), id="same prompt"))
    made = prepare(rows, "labels", TOKENIZER, max_length=1000, roles=("other", "mismatched")).bundles
    assert [text(b[0].responses[1]) for b in made] == [f"a{i}<|im_end|>" for i in (1, 1, 2, 0)]
    assert all(b[0].roles == (Role.OTHER, Role.MISMATCHED) for b in made)
    assert made[0][0].labels == (1, -1)


def test_two_thumbs_under_one_prompt_are_two_examples() -> None:
    row = Example.of("q", Response("a", label=True), Response("b", 0.5), Response("c", label=False), id="x")
    made = prepare([row], "labels", TOKENIZER, max_length=1000).bundles
    assert [[text(r) for r in b[0].responses] for b in made] == [["a<|im_end|>"], ["c<|im_end|>"]]
    assert [b[0].labels for b in made] == [(1,), (0,)]
    assert [b[0].id for b in made] == ["x/0", "x/1"]


def test_cca_scores_the_same_answer_under_another_prompt() -> None:
    right, wrong = bundle("sft", Example.of("q0", "a0"), Example.of("q1", "a1"), roles=("other", "mismatched"))
    assert "q1" in text(wrong.prompt)
    assert wrong.responses == right.responses
    assert wrong.roles == (Role.MISMATCHED,)


def test_spans_keep_true_sentences_of_the_chosen_and_false_ones_of_the_rejected() -> None:
    false, true = "hallucination", "ok"
    a = Response("Yes. No.", spans=(Span(0, 4, true), Span(5, 8, false)))
    b = Response("Ab. Cd.", spans=(Span(0, 3, false), Span(4, 7, false)))
    (group,) = bundle("spans", Example.of("q", b, a))
    assert text(group.responses[0]).startswith("Yes")
    # "Yes." kept, the blank belongs to no sentence, "No." masked, the end of the turn kept
    assert group.weights[0] == (1, 1, 1, 1, 1, 0, 0, 0, 1)
    assert group.weights[1] == (1,) * 8


def test_a_judgment_stands_in_the_second_prompt_only() -> None:
    plain, told = bundle("judgments", Example.of("q", Response("a", judgment="too short")))
    assert "too short" in text(told.prompt)
    assert "too short" not in text(plain.prompt)
    assert told.responses == plain.responses
    assert (plain.roles, told.roles) == ((Role.OTHER,), (Role.JUDGED,))
    assert len(bundle("judgments", Example.of("q", "a"))) == 1


def test_edits_are_weighted_by_their_tags() -> None:
    (group,) = bundle("edits", Example.of("q", Response("abXd", 1.0), Response("abcd", 0.0)))
    assert group.weights == ((1, 1, 1.1, 1, 1), (1, 1, -0.1, 1, 1))


def test_negatives_are_one_bad_answer_and_the_model_s_own() -> None:
    own = [Response("x", tokens=(5, 2)), Response("y", tokens=(6, 2))]
    (group,) = bundle("negatives", Example.of("q", *own, Response("bad", label=False)))
    assert group.roles == (Role.REJECTED, Role.SELF, Role.SELF)
    assert "samples of the model itself" in refused("negatives", Example.of("q", Response("bad", label=False)))


@pytest.mark.parametrize(
    ("kind", "row", "part"),
    [
        ("pairs", Example.of("q", "a"), "a pair has 2"),
        ("pairs", Example.of("q", "a", "a"), "equal"),
        ("rankings", Example.of("q", Response("a", 1.0), Response("b", 1.0)), "example"),
        ("labels", Example.of("q", "a"), "example"),
        ("spans", Example.of("q", "a", "b"), "verdicts"),
    ],
)
def test_what_the_data_cannot_give_is_refused(kind: str, row: Example, part: str) -> None:
    assert part in refused(kind, row)


def test_every_kind_that_is_fed_suits_an_objective() -> None:
    from theodolite import registry
    from theodolite.training.bundles import KINDS

    kinds = {parse([{"name": n}]).data for n in registry.names("objective")}
    assert kinds >= KINDS.keys()
