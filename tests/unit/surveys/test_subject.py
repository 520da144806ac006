"""A Subject scores, answers and reads states as the plain model does, and asks nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from theodolite.engine import Sampling, SamplingInterrupted
from theodolite.models import load_model
from theodolite.surveys import scoring
from theodolite.surveys.subject import Subject
from theodolite.types import Example, Response
from tiny import tiny_folder

PROMPTS = ["Say red.", "Which is it, left or right?", "Say red."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def subject(folder: Path) -> Subject:
    return Subject(load_model(str(folder)))


def plain_logp(subject: Subject, prompt: tuple[int, ...], response: tuple[int, ...]) -> float:
    ids = torch.tensor([prompt + response])
    with torch.inference_mode():
        logp = subject.model(ids).logits.log_softmax(-1)[0]
    return float(sum(logp[len(prompt) + i - 1, t] for i, t in enumerate(response)))


def test_options_equal_plain_logits(subject: Subject) -> None:
    options = [["red", "blue sky"], ["left", "right"], ["red", "blue sky"]]
    found = subject.options(PROMPTS, options)
    for prompt, row, got in zip(PROMPTS, options, found, strict=True):
        for text, logp, tokens in zip(row, got.logp, got.tokens, strict=True):
            ids = subject._option(text)
            assert tokens == len(ids)
            assert logp == pytest.approx(plain_logp(subject, subject._prompt(prompt), ids), abs=1e-4)
        assert got.probability.sum() == pytest.approx(1)


def test_nothing_is_asked_twice(subject: Subject) -> None:
    subject.options(PROMPTS, [["a", "b"]] * 3)
    assert subject.passes["options"] == 2
    assert subject.passes["reused"] == 1
    subject.options(PROMPTS, [["a", "b"]] * 3)
    assert subject.passes["options"] == 2
    assert subject.passes["reused"] == 4


def test_choices_add_both_spellings(subject: Subject) -> None:
    got = subject.choices(["Pick one."], [["A", "B"]])[0]
    both = subject.options(["Pick one."], [["A", " A", "B", " B"]])[0]
    assert got.logp == pytest.approx(np.logaddexp(both.logp[::2], both.logp[1::2]))


def test_yes_or_no_is_the_sum_over_spellings(subject: Subject) -> None:
    found = subject.yes_no(PROMPTS)
    spelled = subject.options(PROMPTS, [["Yes", " Yes", "yes", " yes", "No", " No", "no", " no"]] * 3)
    for value, got in zip(found, spelled, strict=True):
        p = np.exp(got.logp)
        assert value == pytest.approx(np.log(p[:4].sum() / p[4:].sum()), abs=1e-3)


def test_ctrl_c_keeps_the_answers_that_are_complete(folder: Path, tmp_path: Path) -> None:
    """Told to stop after two prompts, the next subject asks only the third."""
    asked: list[str] = []

    class Told:
        def __init__(self, stop: bool) -> None:
            self.stop = stop

        def sample(self, examples: Sequence[Example], cfg: Sampling, *, progress: object = None) -> list[Example]:
            done = []
            for e in examples:
                if self.stop and len(done) == 2:
                    raise SamplingInterrupted("enough", done, [])
                asked.append(e.question)
                done.append(e.with_responses([Response(e.question.upper())]))
            return done

    prompts = ["a", "b", "a", "c"]
    with pytest.raises(KeyboardInterrupt):
        Subject(load_model(str(folder)), folder=tmp_path, sampler=Told(stop=True)).answers(prompts)
    again = Subject(load_model(str(folder)), folder=tmp_path, sampler=Told(stop=False))
    assert again.answers(prompts) == [["A"], ["B"], ["A"], ["C"]]
    assert asked == ["a", "b", "c"]


def test_what_was_written_down_before_is_still_known(folder: Path, tmp_path: Path) -> None:
    """The names of the records: a hash of the question's kind, its prompt's ids and its options' ids."""
    one = Subject(load_model(str(folder)), folder=tmp_path)
    one.yes_no(PROMPTS[:1])
    spelled = [v for label in ("Yes", "No", "yes", "no") for v in (label, " " + label)]
    parts = ("options", one._prompt(PROMPTS[0]), tuple(one._option(v) for v in spelled))
    (log,) = tmp_path.glob("asked-*.jsonl")
    ((name, value),) = [json.loads(line) for line in log.read_text().splitlines()]
    assert name == hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
    assert [n for _, n in value] == [len(one._option(v)) for v in spelled]


def test_choices_and_options_are_one_record(folder: Path) -> None:
    one, other = (Subject(load_model(str(folder))) for _ in range(2))
    one.choices(["Pick one."], [["A", "B"]])
    other.options(["Pick one."], [["A", " A", "B", " B"]])
    (a,), (b,) = one.known.values(), other.known.values()
    assert one.known.keys() == other.known.keys()
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_prompt_that_stands_twice_is_scored_once(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two lists of options behind one question, as in TruthfulQA, share the question and what stands in both."""
    given: list[object] = []
    score = scoring.token_logps
    monkeypatch.setattr(scoring, "token_logps", lambda m, groups, **o: given.extend(groups) or score(m, groups, **o))
    one, two = subject.options([PROMPTS[1]] * 2, [["left", "right"], ["right", "up", "left"]])
    assert [len(g) for g in given] == [3]  # type: ignore[arg-type]
    assert one.logp.tolist() == two.logp[[2, 0]].tolist()


def test_a_second_subject_knows_that_the_template_is_ours(tmp_path: Path) -> None:
    loaded = load_model(str(tiny_folder(tmp_path, template=None)))
    assert not Subject(loaded).chat
    again = Subject(loaded)
    assert not again.chat
    assert again.tokenizer.decode(again._option("me")) == " me"


def test_answers_are_greedy_and_kept(folder: Path, tmp_path: Path) -> None:
    first = Subject(load_model(str(folder)), folder=tmp_path)
    answers = first.answers(PROMPTS, max_new_tokens=6)
    assert answers[0] == answers[2]
    assert all(len(a) == 1 for a in answers)
    (log,) = tmp_path.glob("asked-*.jsonl")
    log.write_text(log.read_text() + '["half a li')  # a killed run's last line
    again = Subject(load_model(str(folder)), folder=tmp_path)
    assert again.answers(PROMPTS, max_new_tokens=6) == answers
    assert again.passes["answers"] == 0
    more = again.answers(["Another."], max_new_tokens=6)  # written behind the broken line, not into it
    third = Subject(load_model(str(folder)), folder=tmp_path)
    assert third.answers(["Another."], max_new_tokens=6) == more
    assert third.passes["answers"] == 0


def test_states_do_not_depend_on_their_neighbours(subject: Subject) -> None:
    together = subject.states(PROMPTS)
    alone = Subject(subject.loaded).states(PROMPTS[1:2])
    assert together.shape == (3, 3, 32)
    np.testing.assert_allclose(together[1], alone[0], atol=1e-5)
    assert not np.allclose(subject.states(PROMPTS, pool="last"), together)


def test_surprisal_is_the_sum_over_a_words_tokens(subject: Subject) -> None:
    words = ["the", "river", "ran,", "slowly."]
    (bits,) = subject.surprisals([words])
    ids = tuple(subject.tokenizer(" ".join(words), add_special_tokens=False)["input_ids"])
    total = -plain_logp(subject, (subject._start(),), ids) / np.log(2)
    assert bits.shape == (4,)
    assert bits.sum() == pytest.approx(total, abs=1e-3)
    assert (bits > 0).all()


def test_long_texts_are_read_in_windows(tmp_path: Path) -> None:
    short = Subject(load_model(str(tiny_folder(tmp_path, context=64))))
    words = [f"w{i}" for i in range(60)]
    (bits,) = short.surprisals([words])
    assert bits.shape == (60,)
    assert np.isfinite(bits).all()
    assert (bits > 0).all()


def test_a_model_without_a_template_is_asked_plainly(tmp_path: Path) -> None:
    plain = Subject(load_model(str(tiny_folder(tmp_path, template=None))))
    assert not plain.chat
    assert "plain" in plain.protocol["rendering"]
    text = plain.tokenizer.decode(plain._prompt("Who?"))
    assert text.endswith("Question: Who?\nAnswer:")
    assert plain.tokenizer.decode(plain._option("me")) == " me"
