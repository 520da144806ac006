"""What the newer kinds of data become: demonstrations, renderings, degrees, votes, negatives, struck-out answers."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from theodolite.engine import token_logps
from theodolite.errors import DataError, UsageError
from theodolite.models import load_model
from theodolite.training import degrees, negatives, renderings
from theodolite.training.bundles import prepare
from theodolite.training.config import Align
from theodolite.training.strike import struck_out, without_false
from theodolite.training.teachers import mean_logps
from theodolite.types import Example, Message, Response, Role, Span
from tiny import tiny_folder, tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def made(kind: str, rows: list[Example], **options: object) -> list[tuple]:
    return prepare(rows, kind, TOKENIZER, **({"max_length": 1000} | options)).bundles


def text(ids: tuple[int, ...]) -> str:
    return TOKENIZER.decode(ids)


ROWS = [Example.of(f"q{i}", f"answer {i}", id=str(i)) for i in range(4)]


def test_a_sequence_holds_its_demonstrations_and_its_parts_are_halves_of_them() -> None:
    whole, *parts = made("demonstrations", ROWS, shots=3)[0]
    sequence = text(whole.prompt + whole.responses[0])
    assert len(whole.prompt) == 1
    assert [sequence.index(f"answer {i}") for i in (1, 2, 3, 0)] == sorted(
        sequence.index(f"answer {i}") for i in range(4)
    )[:]
    assert sequence.endswith("answer 0<|im_end|>")
    assert len(parts) == 3  # two of three demonstrations
    assert all(text(g.responses[0]) == "answer 0<|im_end|>" for g in parts)
    assert {tuple(i for i in (1, 2, 3) if f"q{i}" in text(g.prompt)) for g in parts} == {(1, 2), (1, 3), (2, 3)}
    assert all(math.isnan(g.scores[0]) for g in (whole, *parts))
    assert made("demonstrations", ROWS, shots=3) is not None


def test_as_many_demonstrations_as_fit() -> None:
    length = len(made("demonstrations", ROWS, shots=2)[0][0].responses[0]) + 1
    whole, *parts = made("demonstrations", ROWS, shots=3, max_length=length)[0]
    assert len(whole.responses[0]) + 1 == length
    assert len(parts) == 2
    with pytest.raises(DataError, match="no other row that fits"):
        made("demonstrations", ROWS[:1])


def test_a_teacher_scores_the_parts_and_aligned_models_the_rows(tmp_path: Path) -> None:
    teacher = load_model(str(tiny_folder(tmp_path, seed=3)))
    (whole, *parts), *_ = made("demonstrations", ROWS, shots=3, teachers=[teacher])
    assert math.isnan(whole.scores[0])
    assert parts[0].scores[0] == pytest.approx(token_logps(teacher.model, [parts[0]]).logp().item(), abs=1e-4)
    with pytest.raises(UsageError, match="has one teacher, got 2"):
        made("demonstrations", ROWS, teachers=[teacher, teacher])
    plain = Example.of("q", "some answer", id="x")
    scored = mean_logps([plain, Example.of("q", Response("kept", score=-0.5), id="y")], [teacher, teacher])
    (group,) = made("sft", [plain])[0]
    want = token_logps(teacher.model, [group]).logp().item() / len(group.responses[0])
    assert [r.responses[0].score for r in scored] == [pytest.approx(want, abs=1e-5), -0.5]
    assert made("teacher", [plain], teachers=[teacher])[0][0].scores[0] == pytest.approx(want, abs=1e-5)
    with pytest.raises(DataError, match=r"align\.teacher"):
        made("teacher", [plain], teachers=[])


def test_renderings_are_the_same_answer_under_two_prompts() -> None:
    row = Example.of("wht is it", "a thing", easier="what is it?", id="0")
    (group,) = made("renderings", [row])[0]
    assert "wht is it" in text(group.prompt)
    assert "what is it?" in text(group.eased().prompt)
    assert group.eased().responses == group.responses
    turns = [{"role": "user", "content": "first"}, {"role": "assistant", "content": "yes"}]
    listed = Example.of("x", "y", easier=[*turns, {"role": "user", "content": "second"}], id="1")
    assert "second" in text(made("renderings", [listed])[0][0].easier)
    with pytest.raises(DataError, match=r"meta\.easier"):
        made("renderings", [Example.of("x", "y")])
    with pytest.raises(DataError, match="text or a list of messages"):
        made("renderings", [Example.of("x", "y", easier=3)])


def test_typing_errors_swap_inner_letters_and_leave_the_rest() -> None:
    before = "Please describe, in 20 words, the longest river."
    after = renderings.mistyped(before, 1.0, random.Random(0))
    assert sorted(after) == sorted(before)
    words = list(zip(before.split(), after.split(), strict=True))
    assert [a[0] == b[0] for a, b in words] == [True] * len(words)
    assert [a == b for a, b in words] == [False, False, True, True, False, True, False, False]
    assert renderings.mistyped(before, 0.0, random.Random(0)) == before
    kept, left = renderings.view([Example.of(before, "a", id="0"), Example.of("no?", "b", id="1")], 1.0, seed=0)
    assert kept[0].meta["easier"] == before
    assert kept == renderings.view([Example.of(before, "a", id="0")], 1.0, seed=0).examples
    assert [row.id for row in left] == ["1"]


def test_degrees_remove_what_is_rare_first() -> None:
    rare = degrees.rarity(["the cat sat", "the dog sat", "the owl flew"])
    assert rare["the"] == 0
    assert rare["cat"] == pytest.approx(math.log(3))
    text_ = "The cat, the owl sat."
    assert [degrees.removed(text_, s, rare) for s in (0.0, 0.2, 0.4)] == [text_, "The , the owl sat.", "The , the sat."]
    pair = Example.of("q", Response("one two three four", 1.0), Response("no", 0.0))
    (row,), left = degrees.view([pair])
    assert [len(r.text.split()) for r in row.responses[2:]] == [4, 3, 2, 1]
    assert not left
    assert len(degrees.view([Example.of("q", Response("yes", 1.0), Response("no", 0.0))]).left_out) == 1
    (group,) = made("degrees", [row])[0]
    assert group.roles == (Role.CHOSEN, Role.REJECTED, *[Role.OTHER] * 4)
    assert group.scores[2:] == (0, 1, 2, 3)
    with pytest.raises(DataError, match="degree of removal"):
        made("degrees", [pair])


def test_a_vote_is_asked_in_both_orders() -> None:
    pair, first, second = made("votes", [Example.of("which?", Response("good", 1.0), Response("bad", 0.0))])[0]
    assert pair.roles == (Role.CHOSEN, Role.REJECTED)
    for order, (group, labels) in enumerate(((first, (1, 0)), (second, (0, 1)))):
        assert [text(r) for r in group.responses] == ["A", "B"]
        assert group.labels == labels
        assert group.scores == (order, order)
        shown = text(group.prompt)
        assert (shown.index("good") < shown.index("bad")) == (order == 0)
    with pytest.raises(DataError, match="for its vote"):
        made("votes", [Example.of("which?", Response("good", 1.0), Response("bad", 0.0))], max_length=100)


def test_negatives_are_labelled_bad_or_worst() -> None:
    own = Response("mine", tokens=(1, 2))
    rows = [
        Example.of("q", Response("a", 1.0), Response("b", 0.0), id="pair"),
        Example.of("q", Response("c", label=False), own, id="marked"),
        Example.of("q", Response("d", 1.0), Response("e", 1.0), id="tie"),
    ]
    kept, left = negatives.view(rows)
    assert [[r.text for r in e.responses] for e in kept] == [["b"], ["c", "mine"]]
    assert all(e.responses[0].label is False for e in kept)
    assert [row.id for row in left] == ["tie"]


def test_a_struck_out_answer_has_lost_its_false_sentences() -> None:
    answer = Response("Paris lies in France. It is on the moon. It is large.", spans=(
        Span(0, 21, "ok"), Span(22, 40, "hallucination"), Span(41, 53, "ok")
    ))  # fmt: skip
    better = without_false(answer)
    assert better is not None
    assert better.text == "Paris lies in France. It is large."
    assert [better.text[s.start : s.end] for s in better.spans] == ["Paris lies in France.", "It is large."]
    kept, left = struck_out([Example.of("q", answer), Example.of("q", Response("x", spans=(Span(0, 1, "ok"),)))])
    assert [r.text for r in kept[0].responses] == [better.text, answer.text]
    assert len(left) == 1
    (group,) = made("spans", kept)[0]
    assert len(set(group.weights[0])) == 1
    assert 0 in group.weights[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "dpo", "teacher": "x"}, "dpo has no teacher"),
        ({"objective": "bialign"}, "copies one teacher, got 0"),
        ({"objective": "dpo", "demonstrations": 3}, "has no demonstrations"),
        ({"objective": "scir", "stretch": {"positions": 100}}, "cannot be stretched"),
        ({"objective": "dpo", "merge": True, "lora": None}, "merge joins an adapter"),
    ],
)
def test_an_option_belongs_to_the_objective_that_uses_it(options: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Align(**options)


def test_a_teacher_is_a_name_a_model_or_a_list() -> None:
    assert Align(objective="bialign", teacher="x").teacher[0].name == "x"
    assert [t.name for t in Align(objective="poft", teacher=["x", {"name": "y", "dtype": "bfloat16"}]).teacher] == [
        "x",
        "y",
    ]
    assert Align(objective="poft").teacher == []


def test_system_turns_are_no_demonstrations() -> None:
    rows = [Example((Message("system", "be"), Message("user", f"s{i}")), (Response("a"),), str(i)) for i in range(3)]
    with pytest.raises(DataError, match="no other row that fits"):
        made("demonstrations", rows)
