"""Judges that never write: arithmetic on a scripted scorer, and the scorer itself against plain logits."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from theodolite.errors import UsageError
from theodolite.judges import Answer, Comparison, Means, Rubric, build, compare_both
from theodolite.judges.rubric import Norm
from theodolite.judges.scorer import Choice, LocalScorer
from theodolite.models.chat import prompt_ids, response_ids
from theodolite.types import Message, Response
from tiny import tiny_model, tiny_tokenizer

ITEM = Comparison.of("Name a colour.", "Blue is one.", "Seven.", id="1")


def test_the_probability_of_a_verdict(scripted_scorer: Any) -> None:
    scorer = scripted_scorer(lambda c: (math.log(0.3), math.log(0.1)))
    (both,) = compare_both(build("likelihood", Means(scorer=scorer)), [ITEM])
    assert both.first.probability == pytest.approx(0.75)  # 0.3 / (0.3 + 0.1)
    assert both.probability == pytest.approx(0.5)  # always A by place: the two orders cancel
    assert (both.first.winner, both.agreed) == ("A", "tie")
    assert both.first.raw.endswith("mass 0.4")
    assert scorer.seen[0].options == (" A", " B")
    assert scorer.seen[0].lead == "Verdict:"
    assert "Write only your verdict: A or B." in scorer.seen[0].prompt[-1].content


def test_a_tie_may_be_weighed(scripted_scorer: Any) -> None:
    scorer = scripted_scorer(lambda c: (math.log(0.2), math.log(0.2), math.log(0.4)))
    (found,) = build("likelihood", Means(scorer=scorer), tie=True).compare([ITEM])
    assert found.winner == "tie"
    assert found.probability == pytest.approx(0.5)  # 0.25 + 0.5 / 2
    assert scorer.seen[0].options == (" A", " B", " tie")
    equal = scripted_scorer(lambda c: (-1.0, -1.0))
    assert build("likelihood", Means(scorer=equal)).compare([ITEM])[0].winner == "tie"


def test_log_probs_far_from_zero_do_not_underflow(scripted_scorer: Any) -> None:
    scorer = scripted_scorer(lambda c: (-2000.0, -2001.0))
    (found,) = build("likelihood", Means(scorer=scorer)).compare([ITEM])
    assert found.probability == pytest.approx(1 / (1 + math.exp(-1)))


def test_the_expected_grade(scripted_scorer: Any) -> None:
    shares = {"1]]": 0.0, "8]]": 0.3, "10]]": 0.1}
    scorer = scripted_scorer(lambda c: [math.log(shares.get(o, 0.0) or 1e-300) for o in c.options])
    (found,) = build("likelihood_grade", Means(scorer=scorer)).grade([Answer.of("q", "a")])
    assert found.grade == pytest.approx(0.75 * 8 + 0.25 * 10)
    assert found.raw.startswith("likeliest 8")
    assert scorer.seen[0].options == tuple(f"{k}]]" for k in range(1, 11))


def test_the_likelier_answer_per_token(scripted_scorer: Any) -> None:
    scorer = scripted_scorer(
        lambda c: [-2.0 * len(o.split()) if "Seven" in o else -1.5 * len(o.split()) for o in c.options]
    )
    means = Means(scorer=scorer)
    (both,) = compare_both(build("response_likelihood", means), [ITEM])
    assert both.agreed == "A"  # -1.5 a token against -2, though -4.5 in all against -2
    assert both.one_look
    assert scorer.seen[0].whole
    assert scorer.seen[0].prompt == ITEM.prompt
    whole = build("response_likelihood", means, per="response").compare([ITEM])[0]
    assert whole.winner == "B"


def test_an_empty_answer_is_missing(scripted_scorer: Any) -> None:
    means = Means(scorer=scripted_scorer(lambda c: (-1.0, -2.0)))
    found = build("response_likelihood", means).compare([Comparison.of("q", " ", "x"), ITEM])
    assert [v.why for v in found] == ["an empty answer", ""]


def test_an_endpoint_cannot_weigh(scripted_sampler: Any) -> None:
    for name in ("likelihood", "likelihood_grade", "response_likelihood"):
        with pytest.raises(UsageError, match="needs a local model"):
            build(name, Means(scripted_sampler(lambda *_: "A")))
    with pytest.raises(UsageError, match="cannot be asked for a scenario"):
        build("likelihood", Means(scorer=lambda *_: []), scenario="ask")


def test_a_rubric_is_told(scripted_scorer: Any) -> None:
    scorer = scripted_scorer(lambda c: (-1.0, -2.0))
    rubric = Rubric(role="You count vowels.", norms=(Norm(name="vowels", text="Many vowels."),))
    build("likelihood", Means(scorer=scorer, rubric=rubric)).compare([ITEM])
    assert scorer.seen[0].prompt[0] == Message("system", "You count vowels.")
    assert "vowels (weight 3 of 5)" in scorer.seen[0].prompt[1].content


# the scorer, on a real if tiny model


@pytest.fixture(scope="module")
def local() -> LocalScorer:
    tokenizer = tiny_tokenizer()
    return LocalScorer(tiny_model(len(tokenizer), context=512), tokenizer, 512)


def plainly(scorer: LocalScorer, prompt: tuple[int, ...], answer: tuple[int, ...]) -> float:
    with torch.no_grad():
        logits = scorer.model(torch.tensor([[*prompt, *answer]])).logits[0].double()
    logps = logits.log_softmax(-1)
    return float(sum(logps[len(prompt) + i - 1, t] for i, t in enumerate(answer)))


def test_scores_are_those_of_plain_logits(local: LocalScorer) -> None:
    messages = (Message("user", "Name a colour."),)
    choice = Choice(messages, (" A", " B", " tie"), "Verdict:")
    (found,) = local([choice])
    head = prompt_ids(local.tokenizer, messages) + tuple(local.tokenizer("Verdict: ")["input_ids"])
    expected = [plainly(local, head, tuple(local.tokenizer(o)["input_ids"])) for o in ("A", "B", "tie")]
    assert found.logps == pytest.approx(expected, abs=1e-4)
    assert found.tokens == (1, 1, 3)


def test_whole_answers_end_with_the_end_of_turn(local: LocalScorer) -> None:
    messages = (Message("user", "Hi"),)
    (found,) = local([Choice(messages, ("Hello", "No"), whole=True)])
    ids = response_ids(local.tokenizer, messages, Response("Hello"))
    assert ids[-1] == local.tokenizer.eos_token_id
    assert found.tokens == (6, 3)
    assert found.logps[0] == pytest.approx(plainly(local, prompt_ids(local.tokenizer, messages), ids), abs=1e-4)


def test_many_choices_keep_their_places_and_long_ones_are_told(local: LocalScorer) -> None:
    choices = [Choice((Message("user", "x" * n),), ("A", "B")) for n in [5, 600, *range(10, 40)]]
    told: list[tuple[int, int]] = []
    found = local(choices, lambda *at: told.append(at))
    assert found[1].why == "too long for the judge's context of 512 tokens"
    assert [i for i, w in enumerate(found) if w.why] == [1]
    for i in (0, 2, 17, 31):
        assert found[i].logps == pytest.approx(local([choices[i]])[0].logps, abs=1e-4)
    assert told == [(16, 32), (32, 32)]


def test_options_that_begin_alike_are_refused(local: LocalScorer) -> None:
    with pytest.raises(ValueError, match="beginning of another"):
        local([Choice((Message("user", "q"),), ("1", "10"))])
    (found,) = local([Choice((Message("user", "q"),), ("1]]", "10]]"), "Grade: [[")])
    assert found.tokens == (2, 3)  # the 1 that both begin with has joined the prompt


def test_a_judge_on_a_tiny_model_is_consistent_with_its_own_numbers(local: LocalScorer) -> None:
    means = Means(scorer=local)
    (both,) = compare_both(build("likelihood", means, scenario="default"), [ITEM])
    assert both.first.why.startswith("too long")  # our templates need more than 512 bytes
    (taste,) = compare_both(build("response_likelihood", means), [ITEM])
    (other,) = compare_both(build("response_likelihood", means), [ITEM.swapped()])
    assert {taste.agreed, other.agreed} == {"A", "B"}
