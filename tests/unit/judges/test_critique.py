"""Judges that write, with a scripted model: what they are asked, how votes become verdicts, what gets lost."""

from __future__ import annotations

from typing import Any

import pytest

from theodolite.engine.sampling import LocalSampler, SamplingInterrupted
from theodolite.errors import UsageError
from theodolite.judges import Answer, Comparison, Means, Rubric, build, compare_both
from theodolite.judges.critique import CritiquePair
from theodolite.judges.rubric import Norm
from theodolite.judges.verdict import JudgingInterrupted, JudgingStopped
from tiny import tiny_model, tiny_tokenizer

ITEM = Comparison.of("Write a poem about rain.", "Rain falls.", "Snow is white and falls too.", id="1")


def truthful(text: str, _: int) -> str:
    """Prefers the answer about rain, wherever it stands."""
    first = text.index("Rain falls") < text.index("Snow is")
    return f"One is about rain.\nVerdict: {'A' if first else 'B'}"


def test_pairs_in_both_orders(scripted_sampler: Any) -> None:
    model = scripted_sampler(truthful)
    (both,) = compare_both(CritiquePair(None, Means(model)), [ITEM])
    assert both.agreed == "A"
    assert both.first.raw.startswith("One is about rain")
    assert both.first.meta["rubric"] == "creative"
    assert "keeps to the form" in model.asked[0]
    assert model.configs[0].temperature == 0
    assert model.configs[0].max_new_tokens == 1024


def test_a_place_lover_is_found_out(scripted_sampler: Any) -> None:
    (both,) = compare_both(CritiquePair(None, Means(scripted_sampler(lambda *_: "Verdict: A"))), [ITEM])
    assert (both.agreed, both.consistent) == ("tie", False)


def test_nonsense_is_missing_and_not_a_tie(scripted_sampler: Any) -> None:
    (both,) = compare_both(CritiquePair(None, Means(scripted_sampler(lambda *_: "I like trains."))), [ITEM])
    assert (both.agreed, both.why) == (None, "unparsed")
    assert both.first.raw == "I like trains."


@pytest.mark.parametrize(
    ("said", "winner", "probability"),
    [
        (["Verdict: A", "Verdict: A", "Verdict: B"], "A", 2 / 3),
        (["Verdict: A", "Verdict: B", "what?"], "tie", 1 / 2),
        (["Verdict: tie", "Verdict: tie", "Verdict: A"], "tie", 2 / 3),
        (["Verdict: B", "?", "?"], "B", 0.0),
        (["?", "?", "?"], None, None),
    ],
)
def test_samples_vote(scripted_sampler: Any, said: list[str], winner: Any, probability: Any) -> None:
    model = scripted_sampler(lambda _, k: said[k])
    judge = build("critique", Means(model), samples=3, temperature=1.0, seed=5)
    (found,) = judge.compare([ITEM])
    assert (found.winner, found.probability) == (winner, probability)
    assert (model.configs[0].k, model.configs[0].seed) == (3, 5)


def test_grades_are_averaged_over_the_parsed(scripted_sampler: Any) -> None:
    said = ["Grade: [[8]]", "Grade: [[5]]", "Grade: [[99]]"]
    judge = build("critique_grade", Means(scripted_sampler(lambda _, k: said[k])), samples=3, temperature=1)
    (found,) = judge.grade([Answer.of("q", "a")])
    assert found.grade == 6.5
    assert found.meta["grades"] == [8.0, 5.0]
    assert judge.middle == 5.5


def test_without_a_critique_only_the_verdict_is_asked_for(scripted_sampler: Any) -> None:
    model = scripted_sampler(truthful)
    build("critique", Means(model), critique=False).compare([ITEM])
    assert "Write only your verdict" in model.asked[0]
    assert "what each point is worth" not in model.asked[0]


def test_a_rubric_replaces_our_norms(scripted_sampler: Any) -> None:
    model = scripted_sampler(truthful)
    rubric = Rubric(name="mine", role="You hate snow.", norms=(Norm(name="warm", text="No snow."),))
    (found,) = build("critique", Means(model, rubric=rubric)).compare([ITEM])
    assert found.meta["rubric"] == "mine"
    assert "warm (weight 3 of 5): No snow." in model.asked[0]
    assert "keeps to the form" not in model.asked[0]


def test_norms_apart_vote_by_weight(scripted_sampler: Any) -> None:
    rubric = Rubric(norms=(Norm(name="wet", text="Rain.", weight=3), Norm(name="long", text="Length.", weight=2)))

    def by_norm(text: str, _: int) -> str:
        return truthful(text, 0) if "wet (weight" in text else "Verdict: B"

    model = scripted_sampler(by_norm)
    (found,) = build("critique", Means(model, rubric=rubric), apart=True).compare([ITEM])
    assert (found.winner, found.meta["votes"]) == ("A", {"wet": "A", "long": "B"})
    assert found.probability == pytest.approx(3 / 5)
    assert found.meta["dissent"] == pytest.approx(2 / 5)
    with pytest.raises(UsageError, match="apart need a rubric"):
        build("critique", Means(model), apart=True)


def test_the_judge_may_name_the_scenario_itself(scripted_sampler: Any) -> None:
    def reply(text: str, _: int) -> str:
        return "Exam." if "Which kind of request" in text else truthful(text, 0)

    model = scripted_sampler(reply)
    both = compare_both(build("critique", Means(model), scenario="ask"), [ITEM, ITEM])
    assert {b.first.meta["rubric"] for b in both} == {"exam"}
    assert sum("Which kind of request" in t for t in model.asked) == 1  # one prompt, asked about once
    unclear = scripted_sampler(lambda t, k: "code or exam" if "Which kind" in t else truthful(t, k))
    (found,) = build("critique", Means(unclear), scenario="ask").compare([ITEM])
    assert found.meta["rubric"] == "default"


def test_options_that_cannot_be_meant(scripted_sampler: Any) -> None:
    means = Means(scripted_sampler(truthful))
    with pytest.raises(UsageError, match="needs a model"):
        CritiquePair(None, None)
    with pytest.raises(UsageError, match="all alike"):
        build("critique", means, samples=3)
    with pytest.raises(UsageError, match="Did you mean 'creative'"):
        build("critique", means, scenario="creativ")
    with pytest.raises(UsageError, match="low=5 and high=5"):
        build("critique_grade", means, low=5, high=5)
    rubric = Rubric(norms=(Norm(name="n", text="t"),))
    with pytest.raises(UsageError, match="Give one of the two"):
        build("critique", Means(means.sampler, rubric=rubric), scenario="code")


def test_a_lost_server_keeps_what_was_said(scripted_sampler: Any) -> None:
    judge = CritiquePair(None, Means(scripted_sampler(truthful, lasts=2)))
    with pytest.raises(JudgingStopped, match="stopped answering") as caught:
        judge.compare([ITEM, ITEM.swapped(), ITEM])
    assert {i: v.winner for i, v in caught.value.done.items()} == {0: "A", 1: "B"}


def test_ctrl_c_keeps_what_was_said(scripted_sampler: Any) -> None:
    judge = CritiquePair(None, Means(scripted_sampler(truthful, lasts=2, end=SamplingInterrupted)))
    with pytest.raises(KeyboardInterrupt) as caught:
        judge.compare([ITEM, ITEM.swapped(), ITEM])
    assert isinstance(caught.value, JudgingInterrupted)
    assert {i: v.winner for i, v in caught.value.done.items()} == {0: "A", 1: "B"}


def test_a_prompt_too_long_for_a_local_judge_is_missing() -> None:
    tokenizer = tiny_tokenizer()
    sampler = LocalSampler(tiny_model(len(tokenizer), context=2600), tokenizer)
    long = Comparison.of("q", "x" * 3000, "y", id="long")
    judge = build("critique", Means(sampler), max_new_tokens=4, critique=False)
    short, missing = judge.compare([Comparison.of("q", "x", "y"), long])
    assert missing.why == "too long for the judge's context of 2600 tokens"
    assert short.why in ("", "unparsed")  # a random model writes what it likes
    assert isinstance(judge, CritiquePair)
