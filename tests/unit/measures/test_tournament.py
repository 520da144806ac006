from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from typer.testing import CliRunner

from measure_case import Case
from theodolite.cli import arena
from theodolite.errors import UsageError
from theodolite.measures.arenas.bradley_terry import fit
from theodolite.measures.arenas.designs import (
    anchored_scores,
    round_robin_wins,
    simulate,
    tournament_wins,
    win_chance,
)
from theodolite.measures.arenas.tournament import bracket, matches_per_prompt, play, play_anchored
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records

NAMES = [f"m{i}" for i in range(7)]


def true_order(asked: list) -> list[float]:
    """A judge that always prefers the lower number."""
    return [1.0 if int(a[1:]) < int(b[1:]) else 0.0 for _, a, b in asked]


def noisy(seed: int, spread: float):
    rng = np.random.default_rng(seed)

    def judge(asked: list) -> list[float]:
        gap = np.array([int(b[1:]) - int(a[1:]) for _, a, b in asked])
        return (rng.random(len(asked)) < 1 / (1 + np.exp(-spread * gap))).astype(float).tolist()

    return judge


def played(judge, prompts: int = 30, models: int = 7, seed: int = 0) -> Records:
    return Records(play(judge, [f"p{i}" for i in range(prompts)], NAMES[:models], np.random.default_rng(seed)))


SURE, COIN = played(noisy(0, 1.5)), played(noisy(0, 0.0))
TWO = {"prompt": ["p", "q", "q", None], "model_a": ["x"] * 4, "model_b": ["y"] * 4, "outcome": [1, 1, None, 0]}
CASES = {
    "tournament": Case(
        good=SURE,
        bad=COIN,
        undefined=Records({"prompt": ["p", "p"], "model_a": ["x", "x"], "model_b": ["y", "y"], "outcome": [1, 0]}),
        missing=(Records(TWO), 2),
        options={"resamples": 300},
    )
}


@pytest.mark.parametrize("models", range(1, 18))
def test_brackets(models: int) -> None:
    made = bracket(models, 50, np.random.default_rng(models))
    slots = 1 if models == 1 else 2 ** math.ceil(math.log2(models))
    assert made.shape == (50, slots)
    for row in made:
        assert sorted(row[row >= 0]) == list(range(models))
        assert (row == -1).sum() == slots - models
    if slots > 1:
        assert np.all(made[:, 0::2] >= 0)  # no two byes meet


def test_byes_are_fair() -> None:
    made = bracket(5, 6000, np.random.default_rng(0)).reshape(6000, 4, 2)
    lucky = Counter(made[:, :, 0][made[:, :, 1] == -1].tolist())
    assert [lucky[i] / 6000 for i in range(5)] == pytest.approx([3 / 5] * 5, abs=0.03)
    first = Counter(made[:, :, 0][made[:, :, 1] >= 0].tolist())
    assert [first[i] / 6000 for i in range(5)] == pytest.approx([1 / 5] * 5, abs=0.02)  # presentation order too


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 10**6))
def test_knock_out(models: int, prompts: int, seed: int) -> None:
    names = [f"m{i}" for i in range(models)]
    made = play(true_order, [f"p{i}" for i in range(prompts)], names, np.random.default_rng(seed))
    assert len(made["prompt"]) == prompts * matches_per_prompt(models, "tournament")
    for p in range(prompts):
        at = [i for i, q in enumerate(made["prompt"]) if q == f"p{p}"]
        losers = [{made["model_a"][i], made["model_b"][i]} - {made["advanced"][i]} for i in at]
        assert sorted(next(iter(x)) for x in losers) == sorted(names[1:])  # everyone but the best loses once
        rounds = [made["round"][i] for i in at]
        assert max(rounds, default=0) == (math.ceil(math.log2(models)) if models > 1 else 0)
        if at:
            assert made["advanced"][at[-1]] == "m0"  # the best model is always the champion


def test_counts_of_designs() -> None:
    assert [matches_per_prompt(10, d) for d in ("tournament", "anchored", "round_robin")] == [9, 10, 45]


def test_ties_are_asked_again_in_the_other_order_then_a_coin() -> None:
    heard = []

    def judge(asked: list) -> list[str | None]:
        heard.extend(asked)
        return ["tie"] * len(asked)

    made = play(judge, [f"p{i}" for i in range(400)], ["m0", "m1"], np.random.default_rng(0))
    assert set(made["outcome"]) == {0.5}
    assert len(heard) == 800
    assert all(again == (p, b, a) for (p, a, b), again in zip(heard[:400], heard[400:]))
    assert Counter(made["advanced"])["m0"] == pytest.approx(200, abs=40)

    def first_shy(asked: list) -> list[str | None]:  # cannot decide unless m0 is shown second
        return ["tie" if a == "m0" else "b" for _, a, _ in asked]

    made = play(first_shy, [f"p{i}" for i in range(20)], ["m0", "m1"], np.random.default_rng(0))
    assert set(made["advanced"]) == {"m0"}
    assert all(o == (1.0 if a == "m0" else 0.0) for o, a in zip(made["outcome"], made["model_a"]))
    silent = play(lambda asked: [None] * len(asked), ["p"], ["m0", "m1"], np.random.default_rng(0))
    assert silent["outcome"] == [None]
    assert silent["advanced"][0] in ("m0", "m1")


def test_judges_are_checked() -> None:
    with pytest.raises(UsageError, match="answered 0"):
        play(lambda asked: [], ["p"], ["a", "b"], np.random.default_rng(0))
    with pytest.raises(UsageError, match="something else"):
        play(lambda asked: ["perhaps"], ["p"], ["a", "b"], np.random.default_rng(0))
    with pytest.raises(UsageError, match="twice"):
        play(true_order, ["p"], ["m0", "m0"], np.random.default_rng(0))


def test_anchored_play() -> None:
    made = play_anchored(true_order, ["p", "q"], ["m0", "m1", "m2"], "m1", np.random.default_rng(0))
    assert len(made["prompt"]) == 4
    assert all("m1" in (a, b) for a, b in zip(made["model_a"], made["model_b"]))
    table = {r["model"]: r["rank"] for r in evaluate("bradley_terry", made).parts["table"]}
    assert table == {"m0": 1, "m1": 2, "m2": 3}


def test_total_order_is_recovered() -> None:
    got = evaluate("tournament", played(true_order, prompts=40), resamples=300)
    assert [r["model"] for r in got.parts["table"]] == NAMES
    assert got.value > 0.95
    assert not got.parts["connected"]
    assert "ridge" in got.note
    assert got.parts["brackets"] == 40
    assert got.parts["titles"]["m0"] == 1
    assert got.parts["matches_by_round"] == {"1": 120, "2": 80, "3": 40}
    assert sum(r["matches"] for r in got.parts["table"]) == 2 * 240
    best = next(r for r in got.parts["table"] if r["model"] == "m0")
    assert best["matches"] > 2 * 40
    assert got.parts["table"][-1]["matches"] <= 2 * 40


def test_coin_is_unreliable() -> None:
    got = evaluate("tournament", COIN, resamples=300)
    assert got.parts["split_half"] < 0.5
    assert got.parts["settled_pairs"] < 0.3
    sure = evaluate("tournament", SURE, resamples=300)
    assert sure.parts["split_half"] > 0.9
    assert sure.parts["settled_pairs"] > 0.7


def test_one_prompt_and_rounds_without_numbers() -> None:
    assert "one prompt" in evaluate("tournament", CASES["tournament"].undefined).note
    some = Records({**SURE, "round": [None] * len(SURE["prompt"])})
    assert "titles" not in evaluate("tournament", some, resamples=100).parts


# the simulation


def test_law_by_hand() -> None:
    assert win_chance(np.array([0.0, 400.0]), 0.0) == pytest.approx([0.5, 10 / 11])
    assert win_chance(np.array([400.0]), 0.2) == pytest.approx([0.2 + 0.6 * 10 / 11])
    assert win_chance(np.array([400.0]), 0.5) == pytest.approx([0.5])


def test_tournament_wins_follow_the_law() -> None:
    truth = np.tile([200.0, 0, -100, -100, 0], (3, 1))
    wins = tournament_wins(truth, 4000, 0.1, np.random.default_rng(0))
    assert wins.sum((1, 2)).tolist() == [4000 * 4] * 3
    met = wins + wins.transpose(0, 2, 1)
    share = wins / np.where(met > 0, met, np.nan)
    expected = win_chance(truth[:, :, None] - truth[:, None, :], 0.1)
    off = ~np.eye(5, dtype=bool)
    assert share[:, off] == pytest.approx(expected[:, off], abs=0.04)
    played_ = met.sum(2)
    assert np.all(played_[:, 0] > played_[:, 2])  # strong models play more


def test_tournament_wins_equal_played_brackets() -> None:
    """The same counts, in the mean, as `play` with a judge that follows the law."""
    truth, rng, total = np.array([150.0, 50, -50, -150]), np.random.default_rng(1), np.zeros((4, 4))

    def judge(asked: list) -> list[float]:
        gap = np.array([truth[int(a[1:])] - truth[int(b[1:])] for _, a, b in asked])
        return (rng.random(len(asked)) < win_chance(gap, 0.05)).astype(float).tolist()

    made = play(judge, [str(i) for i in range(8000)], [f"m{i}" for i in range(4)], rng)
    for a, b, o in zip(made["model_a"], made["model_b"], made["outcome"]):
        winner, loser = (a, b) if o == 1 else (b, a)
        total[int(winner[1:]), int(loser[1:])] += 1
    other = tournament_wins(np.tile(truth, (1, 1)), 8000, 0.05, np.random.default_rng(2))[0]
    assert total / 8000 == pytest.approx(other / 8000, abs=0.03)


def test_budgets_are_equal() -> None:
    truth, rng = np.random.default_rng(0).normal(0, 100, (20, 6)), np.random.default_rng(1)
    assert tournament_wins(truth, 7, 0.1, rng).sum((1, 2)).tolist() == [35] * 20
    assert round_robin_wins(truth, 35, 0.1, rng).sum((1, 2)).tolist() == [35] * 20
    rates = anchored_scores(truth, 35, 0.0, 0.1, rng)
    assert np.all((rates >= 0) & (rates <= 1))


def test_direct_matches_beat_a_far_anchor() -> None:
    made = {o.design: o for o in simulate(8, 60, 0.05, np.random.default_rng(0), anchor=600, repeats=300)}
    assert made["tournament"].over_low > 0
    assert made["tournament"].best > made["anchored"].best
    assert made["round_robin"].spearman > made["anchored"].spearman
    assert {o.matches for o in made.values()} == {60 * 7}
    assert made["anchored"].over_anchored == 0


def test_noise_of_one_half_says_nothing() -> None:
    for o in simulate(6, 50, 0.5, np.random.default_rng(0), repeats=400):
        assert o.low < 0 < o.high or abs(o.spearman) < 0.06
        assert o.best == pytest.approx(1 / 6, abs=0.07)


def test_spearman_of_the_simulation_is_scipys() -> None:
    truth = np.array([200.0, 100, 0, -100])
    rng = np.random.default_rng(3)
    got = {o.design: o for o in simulate(truth.tolist(), 20, 0.1, rng, repeats=50)}
    rng = np.random.default_rng(3)
    rng.normal(0, 150.0, (50, 4))
    theta = fit(tournament_wins(np.tile(truth - truth.mean(), (50, 1)), 20, 0.1, rng)).theta
    alike = [spearmanr(truth, np.round(t, 6)).statistic for t in theta]
    assert got["tournament"].spearman == pytest.approx(np.nanmean(alike))


def test_simulation_letters() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UsageError, match=r"10 % is 0\.1"):
        simulate(4, 10, 10, rng)
    with pytest.raises(UsageError, match="two models"):
        simulate(1, 10, 0.1, rng)


# the command line


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    arena.add(made)
    return made


def test_command_ranks_a_file(app: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "matches.jsonl"
    rows = [dict(zip(SURE.columns, row)) for row in zip(*SURE.columns.values())]
    file.write_text("\n".join(json.dumps(r) for r in rows))
    done = CliRunner().invoke(app, ["arena", "--data", str(file), "--resamples", "100", "--json"])
    assert done.exit_code == 0
    made = json.loads(done.stdout)
    assert made["value"] == pytest.approx(evaluate("bradley_terry", SURE, resamples=100).value)
    shown = CliRunner().invoke(app, ["arena", "--data", str(file), "--resamples", "100"])
    assert "m0" in shown.stdout
    assert "bootstrap over prompts" in shown.stdout


def test_command_simulates(app: typer.Typer) -> None:
    asked = ["arena", "--simulate", "--models", "5", "--prompts", "10", "--repeats", "20"]
    made = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert [d["design"] for d in made["designs"]] == ["tournament", "anchored", "round_robin"]
    assert "round robin" in CliRunner().invoke(app, asked).stdout
    assert isinstance(CliRunner().invoke(app, ["arena"]).exception, UsageError)


def test_command_plans(app: typer.Typer) -> None:
    made = json.loads(
        CliRunner().invoke(app, ["prompts-needed", "10", "--answers", "1", "--answers", "6", "--json"]).stdout
    )
    assert [m["answers"] for m in made] == [1, 6]
    assert made[0]["prompts"] > made[1]["prompts"]
    assert "points" in CliRunner().invoke(app, ["prompts-needed", "10"]).stdout
