"""Judges at work: exact scores of judges made to measure, resuming, stopping, and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from theodolite.cli import judging
from theodolite.engine.remote import SamplingStopped
from theodolite.engine.sampling import SamplingInterrupted
from theodolite.errors import ServerError, UsageError
from theodolite.judges import Comparison, Means, Verdict, judge_trials, making
from theodolite.judges.evaluation import Entrant
from theodolite.judges.records import VerdictFile
from theodolite.judges.scoring import against_baselines, jury_agreement, pair_scores, people, scores
from theodolite.judges.trials import AnswerTrial, PairTrial, Trials
from theodolite.judges.verdict import Answer

APP = typer.Typer()
judging.add(APP)


@APP.callback()
def _() -> None:
    """A second command keeps typer from making the only one anonymous."""


def pairs(n: int = 40, votes: bool = False) -> Trials:
    """'good' is better; it stands first in every second pair, and is the longer text in three of four."""
    made = []
    for i in range(n):
        good, bad = f"good {'x' * (9 if i % 4 else 0)}{i}", f"bad {'y' * 4}{i}"
        a, b = (good, bad) if i % 2 else (bad, good)
        human = "A" if i % 2 else "B"
        cast = (human, human, "tie" if i % 5 == 0 else human) if votes else ()
        item = Comparison.of(f"q{i}", a, b, id=str(i))
        made.append(PairTrial(item, human, "odd" if i % 2 else "even", cast))  # type: ignore[arg-type]
    return Trials("made", tuple(made))


class Knobs:
    """Right, except that it follows the place on pairs below `places`, and has nothing to say on those above `silent`."""

    sees_order = True

    def __init__(self, places: int = 0, silent: int = 10**6) -> None:
        self.places, self.silent, self.asked = places, silent, 0

    def compare(self, items: Sequence[Comparison], *, progress: Any = None) -> list[Verdict]:
        self.asked += len(items)
        return [self._one(i) for i in items]

    def _one(self, item: Comparison) -> Verdict:
        if int(item.id) >= self.silent:
            return Verdict.missing("unparsed", "blah")
        right = "A" if item.a.startswith("good") else "B"
        winner: Any = "A" if int(item.id) < self.places else right
        return Verdict(winner, probability=0.6 if winner == "A" else 0.2)


def entrant(judge: Any, name: str = "longer", **identity: Any) -> Entrant:
    return Entrant(name, judge, identity)


def test_a_judge_made_to_measure_gets_exactly_its_scores() -> None:
    judged = judge_trials(pairs(), [entrant(Knobs(places=10, silent=36))])
    found = scores(judged)["longer"]["all"]
    # 36 judged pairs: 26 right in both orders, 10 that follow the place are right in one of the two
    assert found["both_orders"].value == pytest.approx(26 / 36)
    assert (found["both_orders"].n, found["both_orders"].missing) == (36, 4)
    assert found["per_look"].value == pytest.approx((26 + 5) / 36)
    assert found["swap_consistency"].value == pytest.approx(26 / 36)
    assert found["position_bias"].value == pytest.approx(10 / 36)
    assert found["position_bias"].parts["signed"] == pytest.approx(10 / 36)
    assert found["unparsed"].value == pytest.approx(8 / 80)
    assert found["unparsed"].parts["why"] == {"unparsed": 8}
    # averaged: right pairs (0.6 + 1 - 0.2) / 2 = 0.7 or 0.3; place followers (0.6 + 0.4) / 2, a tie
    assert found["averaged"].value == pytest.approx(26 / 36)
    assert {"odd", "even", "all"} == scores(judged)["longer"].keys()


def test_chance_and_its_relatives() -> None:
    trials = pairs(400)
    judged = judge_trials(trials, [Entrant.of(n) for n in ("random", "first_shown", "longer")])
    found = scores(judged)
    assert found["random"]["all"]["per_look"].value == pytest.approx(0.5, abs=0.1)
    assert found["random"]["all"]["both_orders"].value == pytest.approx(0.25, abs=0.1)
    assert found["first_shown"]["all"]["per_look"].value == 0.5
    assert found["first_shown"]["all"]["both_orders"].value == 0
    assert found["first_shown"]["all"]["swap_consistency"].value == 0
    assert found["first_shown"]["all"]["position_bias"].parts["signed"] == 1
    longer = found["longer"]["all"]
    assert longer["per_look"].value == longer["both_orders"].value == 0.75
    assert longer["per_look"].n == 400
    assert longer["per_look"].method == "wilson"
    assert longer["unparsed"].n == 400  # one look a pair
    assert against_baselines(judged) == {}  # baselines are not held against one another
    both = judge_trials(trials, [entrant(Knobs(), "likelihood"), Entrant.of("longer")])
    gap = against_baselines(both)["likelihood - longer"]
    assert (gap.value, gap.n) == (0.25, 400)
    assert 0.2 < gap.low < 0.25 < gap.high < 0.3
    assert gap.p_value is not None
    assert gap.p_value < 0.001


def test_people_among_themselves() -> None:
    trials = pairs(50, votes=True)
    found = people(trials.pairs)
    # the third calls every fifth a tie: against the majority of the others he is right on 40 of 50; against him and one
    # another the first two have a majority on 40, all right
    assert found["annotator 3"].value == pytest.approx(40 / 50)
    assert (found["annotator 1"].value, found["annotator 1"].n, found["annotator 1"].missing) == (1.0, 40, 10)
    assert found["bar"].n == 50
    assert 0 < found["kappa"].value < 1
    assert 0 < found["alpha"].value < 1
    assert people(pairs(5).pairs) == {}
    judged = judge_trials(trials, [entrant(Knobs())])
    with_people = scores(judged)["longer"]["all"]["kappa_with_annotators"]
    assert with_people.parts["annotator 1"] == 1
    assert with_people.parts["annotator 3"] < 1


def test_judges_among_themselves() -> None:
    judged = judge_trials(pairs(), [entrant(Knobs(), "likelihood"), entrant(Knobs(), "longer"), Entrant.of("random")])
    found = jury_agreement(judged)
    assert found is not None
    assert found.value < 1
    assert jury_agreement(judge_trials(pairs(), [Entrant.of("longer")])) is None


def test_answers_against_yes_and_no() -> None:
    trials = Trials(
        "made",
        answers=tuple(
            AnswerTrial(Answer.of("2 + 2?", text, id=str(i), references=["4"]), human, "sums")
            for i, (text, human) in enumerate([("4", True), ("It is 4.", True), ("14", False), ("5", False)])
        ),
    )
    found = scores(judge_trials(trials, [Entrant.of("exact_match"), Entrant.of("contains")]))
    assert found["exact_match"]["sums"]["accuracy"].value == 0.75  # strict: misses 'It is 4.'
    assert found["contains"]["sums"]["accuracy"].value == 0.75  # lenient: takes '14'
    assert found["exact_match"]["sums"]["kappa"].value == pytest.approx(0.5)
    assert "leniency" in found["contains"]["sums"]
    with pytest.raises(UsageError, match="compares pairs"):
        judge_trials(trials, [Entrant.of("longer")])
    bare = Trials("bare", answers=(AnswerTrial(Answer.of("q", "a"), True),))
    with pytest.raises(UsageError, match="the data has none"):
        judge_trials(bare, [Entrant.of("contains")])


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    file, trials = tmp_path / "v.jsonl", pairs()
    judge = Knobs(places=7)
    first = judge_trials(trials, [entrant(judge)], VerdictFile(file))
    assert judge.asked == 80
    assert len(file.read_text().splitlines()) == 80
    again = judge_trials(trials, [entrant(judge)], VerdictFile(file))
    assert judge.asked == 80
    assert scores(again) == scores(first)
    judge_trials(trials, [entrant(judge, seed=1)], VerdictFile(file))  # another identity is another judge
    assert judge.asked == 160


def test_progress_counts_what_was_known(tmp_path: Path) -> None:
    store, told = VerdictFile(tmp_path / "v.jsonl"), []
    judge_trials(Trials("few", pairs().pairs[:10]), [Entrant.of("random")], store)
    judge_trials(pairs(), [Entrant.of("random")], store, lambda *at: told.append(at))
    assert told == [("random", 52, 80), ("random", 80, 80)]  # 20 were known; 32 at a time


@pytest.mark.parametrize(("end", "error"), [(SamplingStopped, ServerError), (SamplingInterrupted, KeyboardInterrupt)])
def test_a_lost_server_or_ctrl_c_loses_no_verdict(tmp_path: Path, scripted_sampler: Any, end: Any, error: Any) -> None:
    def right(text: str, _: int) -> str:
        return f"Verdict: {'A' if text.index('good') < text.index('bad') else 'B'}"

    file, trials = tmp_path / "v.jsonl", pairs(20)
    weak = Means(scripted_sampler(right, lasts=35, end=end), name="m")
    with pytest.raises(error, match=r"35 of 40 verdicts of 'critique' are kept in .*v\.jsonl"):
        judge_trials(trials, [Entrant.of("critique", weak)], VerdictFile(file))
    well = Means(scripted_sampler(right), name="m")
    judged = judge_trials(trials, [Entrant.of("critique", well)], VerdictFile(file))
    assert len(well.sampler.asked) == 5
    assert scores(judged)["critique"]["all"]["both_orders"].value == 1
    with pytest.raises(error, match="with --out FILE they would be kept"):
        judge_trials(trials, [Entrant.of("critique", Means(scripted_sampler(right, lasts=3, end=end), name="m"))])


def test_one_name_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        judge_trials(pairs(), [Entrant.of("random"), Entrant.of("random", seed=1)])


def test_all_unparsed_is_undefined_with_a_reason() -> None:
    trials = pairs(6).pairs
    found = pair_scores(trials, judge_trials(Trials("x", trials), [entrant(Knobs(silent=0))]).pairs["longer"])
    assert found["per_look"].value != found["per_look"].value
    assert found["per_look"].note
    assert found["kappa"].note
    assert found["unparsed"].value == 1
    assert "averaged" not in found


# the command


def command(*arguments: str) -> Any:
    return CliRunner().invoke(APP, ["judge-eval", *arguments])


@pytest.fixture
def file(tmp_path: Path) -> str:
    rows = [
        {"prompt": f"q{i}", "responses": ["yes" * (1 + i % 3), "no" * 3], "scores": [i % 2, 0.5]} for i in range(12)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(r) for r in rows))
    return str(tmp_path / "pairs.jsonl")


def test_the_command_as_json(file: str, tmp_path: Path) -> None:
    out = tmp_path / "v.jsonl"
    judges = ("--judge", "longer", "--judge", "random", "--judge", "first_shown")
    done = command(*judges, "--data", file, "--json", "--quiet", "--jury", "--out", str(out), "--set", "random.seed=3")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["judges"].keys() == {"longer", "random", "first_shown", "jury"}
    assert said["judges"]["first_shown"]["pairs"]["per_look"]["value"] == 0.5
    assert said["judges_among_themselves"]["n"] == 12
    assert len(out.read_text().splitlines()) == 12 + 24 + 24
    assert {json.loads(line)["order"] for line in out.read_text().splitlines()} == {"ab", "ba"}


def test_the_command_as_a_table(file: str) -> None:
    done = command("--judge", "longer", "--data", file, "--quiet", "--set", "count=words")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0][:5] == ["judge", "subset", "n", "per", "look"]
    assert rows[1][:3] == ["longer", "pairs", "12"]


def test_several_models_are_a_panel(file: str, monkeypatch: pytest.MonkeyPatch, scripted_sampler: Any) -> None:
    def means(_: str, model: str, *rest: object, **options: object) -> Means:
        return Means(scripted_sampler(lambda text, k: f"Verdict: {model[0]}"), name=model)

    monkeypatch.setattr(making, "remote_means", means)
    models = [part for m in ("A1", "B1", "A2") for part in ("--endpoint-model", m)]
    asked = ("--judge", "critique", "--judge", "longer", "--endpoint", "http://x", *models)
    done = command(*asked, "--data", file, "--jury", "--json", "--quiet", "--set", "critique.critique=false")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)["judges"]
    assert list(said) == ["critique@A1", "critique@B1", "critique@A2", "longer", "jury"]
    signed = [said[f"critique@{m}"]["pairs"]["position_bias"]["parts"]["signed"] for m in ("A1", "B1", "A2")]
    assert signed == [1, -1, 1]
    # two of four votes for the first place, one for the second, and the longer answer: a majority where it stands first
    assert said["jury"]["pairs"]["both_orders"]["value"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--judge", "likelihood"], "needs a model"),
        (["--judge", "longer", "--model", "m"], "none of these judges uses a model"),
        (["--judge", "critique", "--endpoint", "http://x"], "go together"),
        (["--judge", "critique", "--model", "m", "--endpoint", "http://x", "--endpoint-model", "n"], "not both"),
        (["--judge", "longer", "--api-key-env", "K"], "key for an --endpoint"),
        (["--judge", "longr"], "Did you mean 'longer'"),
        (["--judge", "longer", "--jury"], "several judges"),
        (["--judge", "critique", "--model", "m", "--model", "m"], "named twice"),
        (["--judge", "longer", "--norms-apart"], "--rubric"),
        (["--judge", "longer", "--set", "cuont=words"], "Did you mean 'count'"),
        (["--judge", "longer", "--judge", "random", "--set", "seed=1"], r"such as longer\.seed"),
        (["--judge", "contains"], "the data has none"),
    ],
)
def test_mistakes_are_letters(file: str, arguments: list[str], says: str) -> None:
    done = command(*arguments, "--data", file, "--quiet")
    assert done.exception is not None
    with pytest.raises(UsageError, match=says):
        raise done.exception


def test_a_rubric_that_nobody_reads_is_refused(file: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("norms: [{name: n, text: t}]\n")
    done = command("--judge", "longer", "--data", file, "--rubric", str(tmp_path / "r.yaml"))
    with pytest.raises(UsageError, match="would change nothing"):
        raise done.exception
