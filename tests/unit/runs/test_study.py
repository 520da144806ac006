"""Studies: which runs they ask for, what they make of them, and that they share and resume."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from theodolite.config import Source
from theodolite.errors import ConfigError, UsageError
from theodolite.runs import study_page
from theodolite.runs.study import Study, cells, label, read_study, recipe_of, scaled, strength
from theodolite.runs.study_compare import _holm, compare
from theodolite.runs.study_desk import run_study
from tiny import tiny_folder

ROOT = Path(__file__).resolve().parents[3]


def study(**changes: object) -> Study:
    body = {
        "name": "s",
        "objectives": ["dpo", "ipo"],
        "curate": {"read": {"path": "p.jsonl"}, "held_out": 10},
    } | changes
    return Source(body, {}, "s.yaml").validate(Study)


def test_a_cell_for_each_scenario_seed_objective_and_factor() -> None:
    made = study(seeds=2, scenarios=[{"name": "a"}, {"name": "b", "model": "x"}], sensitivity=[0.5, 2])
    found = cells(made)
    assert len(found) == 2 * 2 * 2 + 2 * 1 * 2 * 2
    assert made.seeds == [0, 1]
    assert {c.factor for c in found} == {1.0, 0.5, 2.0}
    assert {c.seed for c in found if c.factor != 1} == {0}
    assert study(objectives=["dpo", "sft"], sensitivity=[2]).objectives[1] not in [c.objective for c in cells(
        study(objectives=["dpo", "sft"], sensitivity=[2])) if c.factor != 1]  # fmt: skip


def test_the_strength_is_scaled_and_nothing_else() -> None:
    assert strength("dpo") == ("beta", 0.1)
    assert strength({"name": "ipo", "tau": 0.5}) == ("tau", 0.5)
    assert strength("sft") is None
    assert scaled("dpo", 3) == [{"name": "dpo", "beta": pytest.approx(0.3)}]
    assert scaled([{"name": "sft", "weight": 0.2}, {"name": "dpo", "beta": 0.2}], 2) == [
        {"name": "sft", "weight": 0.2},
        {"name": "dpo", "beta": 0.4},
    ]
    assert scaled("dpo", 1) == [{"name": "dpo"}]
    assert [label(o) for o in ("dpo", {"name": "dpo", "beta": 0.3}, ["dpo", {"name": "sft", "weight": 0.2}])] == [
        "dpo",
        "dpo beta=0.3",
        "dpo + 0.2 sft",
    ]


def test_a_cell_s_recipe_has_the_objective_s_kind_of_data_and_the_common_budget(tmp_path: Path) -> None:
    made = study(objectives=["dpo", "kto"], align={"max_steps": 7}, seeds=[4])
    recipes = [recipe_of(made, c, c.scenario.model, tmp_path) for c in cells(made)]
    assert [r.steps[0].config.view for r in recipes] == ["pairs", "labels"]
    assert {r.steps[1].config.max_steps for r in recipes} == {7}
    assert {r.head.seed for r in recipes} == {4}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objectives": ["dpo", "dpo"]}, "holds one thing twice"),
        ({"align": {"objective": "dpo"}}, "list them under objectives"),
        ({"curate": {"read": {"path": "p"}, "held_out": 0}}, "held_out must be above 0"),
        ({"curate": {"read": {"path": "p"}, "view": "pairs"}}, "follows from each objective"),
        ({"sensitivity": [1]}, "not 1"),
        ({"objectivs": []}, "Did you mean 'objectives'"),
        ({"objectives": ["dpoo"]}, "Did you mean 'dpo'"),
        ({"scenarios": [{"name": "a"}, {"name": "a"}]}, "one name"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        study(**changes)


def row(objective: str, seed: int, gaps: list[float], factor: float = 1.0) -> dict:
    """A run whose pair i has the log-ratios gap and 0."""
    pairs = [{"id": f"{seed}-{i}", "unit": f"p{i}", "chosen": g, "rejected": 0.0} for i, g in enumerate(gaps)]
    return {
        "scenario": "start", "seed": seed, "objective": objective, "factor": factor, "strength": ("beta", 0.1),
        "run": f"{objective}-{seed}", "seconds": 2.0, "first_loss": 1.0, "last_loss": 0.5, "missing": 1, "pairs": pairs,
    }  # fmt: skip


def test_differences_are_taken_pair_by_pair_within_a_seed() -> None:
    made = study(seeds=3)
    rows = [row("dpo", s, [1, -1, -1, 0]) for s in range(3)] + [row("ipo", s, [1, 1, -1, 0]) for s in range(3)]
    (found,) = compare(made, rows)["scenarios"]
    dpo, ipo = found["objectives"]
    assert dpo["accuracy"]["value"] == (1 + 0 + 0 + 0.5) / 4
    assert dpo["accuracy"]["n"] == 4  # prompts, each in three seeds
    assert dpo["accuracy"]["pairs"] == 12
    assert dpo["difference"] is None
    assert ipo["difference"]["value"] == 0.25
    assert ipo["difference"]["by_seed"] == {"0": 0.25, "1": 0.25, "2": 0.25}
    assert ipo["difference"]["p_value"] == 1.0  # one prompt of four differs: both signs are as large
    assert ipo["difference"]["over_seeds"] == {
        "value": 0.25,
        "low": 0.25,
        "high": 0.25,
        "n": 3,
        "method": "t over seeds",
    }
    assert ipo["chosen_logratio"]["value"] == 0.25
    assert ipo["missing"] == 3


def test_an_interval_over_seeds_is_student_s() -> None:
    rows = [row("dpo", s, [-1, -1]) for s in range(3)]
    rows += [row("ipo", s, g) for s, g in enumerate(([1, 1], [1, -1], [1, -1]))]
    over = compare(study(seeds=3), rows)["scenarios"][0]["objectives"][1]["difference"]["over_seeds"]
    mean, sd = 2 / 3, math.sqrt(((1 / 3) ** 2 + 2 * (1 / 6) ** 2) / 2)
    assert over["value"] == pytest.approx(mean)
    assert over["high"] - mean == pytest.approx(4.30265 * sd / math.sqrt(3), rel=1e-4)


def test_holm_multiplies_by_what_is_left_and_never_falls() -> None:
    rows = [{"p_value": p} for p in (0.03, 0.01, 0.02, 0.5)]
    _holm(rows)
    assert [r["p_holm"] for r in rows] == [pytest.approx(x) for x in (0.06, 0.04, 0.06, 0.5)]


def test_sensitivity_is_on_the_common_seeds() -> None:
    made = study(seeds=2, sensitivity=[2])
    rows = [row("dpo", 0, [1, 1]), row("dpo", 1, [-1, -1]), row("dpo", 0, [1, -1], factor=2.0)]
    (found,) = compare(made, rows)["scenarios"]
    (dpo,) = found["sensitivity"]
    assert [(p["factor"], p["value"], p["accuracy"]["value"]) for p in dpo["points"]] == [
        (1.0, 0.1, 1.0),
        (2.0, 0.2, 0.5),
    ]
    assert dpo["seeds"] == [0]


def test_the_page_holds_the_numbers_and_escapes_everything() -> None:
    made = study(title="<b>bold</b>", seeds=3, sensitivity=[2])
    rows = [row("dpo", s, [1, -1, -1, 0]) for s in range(3)] + [row("ipo", s, [1, 1, -1, 0]) for s in range(3)]
    result = compare(made, [*rows, row("dpo", 0, [1, 1], factor=2.0)])
    result["failed"] = [{"scenario": "start", "objective": "salt", "why": "no <edit>"}]
    page = study_page.html(result)
    assert "<b>bold" not in page
    assert "37.5 %" in page
    assert "+25.0" in page
    assert "no &lt;edit&gt;" in page
    assert "<script" not in page
    assert "no objective can be told from dpo" in study_page.sentence(result)
    assert json.loads(json.dumps(result, allow_nan=False))


def pairs_file(folder: Path, n: int = 30) -> Path:
    words = ("red", "green", "blue", "a long answer indeed", "no", "perhaps", "yes", "surely not")
    rows = [
        {
            "prompt": f"Question {i} about {words[i % 8]}?",
            "chosen": words[(i + 3) % 8] + "!",
            "rejected": words[(i + 1) % 8],
        }
        for i in range(n)
    ]
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    return path


@pytest.fixture
def quiet_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("THEODOLITE_HOME", str(tmp_path / "home"))
    return tmp_path


def tiny_study(folder: Path, **changes: object) -> Path:
    tiny_folder(folder / "model")
    pairs_file(folder)
    body = {
        "name": "tiny",
        "objectives": ["dpo", "kto", "salt"],
        "seeds": 2,
        "scenarios": [
            {"name": "plain", "model": "model"},
            {"name": "sft", "model": "model", "before": {"objective": "sft", "lora": {"r": 4}, "max_steps": 3}},
        ],
        "curate": {"read": {"path": "pairs.jsonl"}, "held_out": 8},
        "align": {"lora": {"r": 4}, "max_steps": 4, "batch": 4, "learning_rate": 0.01, "eval_every": 4},
        "sensitivity": [3],
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(body | changes))
    return path


def test_a_study_runs_compares_and_redoes_nothing(quiet_home: Path) -> None:
    made, folder = read_study(tiny_study(quiet_home))
    result = run_study(made, folder, home=quiet_home / "runs")
    assert [s["name"] for s in result["scenarios"]] == ["plain", "sft"]
    for scenario in result["scenarios"]:
        assert [r["objective"] for r in scenario["objectives"]] == ["dpo", "kto"]
        assert scenario["objectives"][0]["accuracy"]["n"] >= 8
        assert scenario["objectives"][0]["chosen_logratio"]["value"] != 0
        assert len(scenario["sensitivity"]) == 2
    assert {f["objective"] for f in result["failed"]} == {"salt"}
    assert "edit" in result["failed"][0]["why"]
    cache = quiet_home / "runs" / "cache"
    before = {p.name: p.stat().st_mtime_ns for p in cache.iterdir()}
    kept = {p: p.stat().st_mtime_ns for p in (quiet_home / "runs" / "study-tiny" / "pairs").iterdir()}
    again = run_study(made, folder, home=quiet_home / "runs")
    assert again["scenarios"] == [
        s | {"objectives": [r | {"seconds": q["seconds"]} for r, q in zip(s["objectives"], t["objectives"])]}
        for s, t in zip(result["scenarios"], again["scenarios"])
    ]
    assert {p.name: p.stat().st_mtime_ns for p in cache.iterdir() if p.suffix != ".lock"} == {
        n: t for n, t in before.items() if not n.endswith(".lock")
    }
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    aligned = [n for n in before if n.startswith("align-") and "." not in n]
    assert len(aligned) == 2 * 2 * 2 + 2 + 2 * 2  # plain cells, first trainings, other strengths


def test_a_study_that_nothing_can_run_is_a_letter(quiet_home: Path) -> None:
    made, folder = read_study(tiny_study(quiet_home, objectives=["salt"], scenarios=[{"name": "a", "model": "model"}]))
    with pytest.raises(UsageError, match="no objective of the study could be run"):
        run_study(made, folder, home=quiet_home / "runs")


def test_the_command_makes_a_study_of_options(quiet_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from theodolite.cli import study as verb

    tiny_folder(quiet_home / "model")
    pairs_file(quiet_home)
    monkeypatch.chdir(quiet_home)
    app = typer.Typer()
    verb.add(app)
    asked = ["--objective", "dpo", "--objective", "ipo", "--data", "pairs.jsonl", "--model", "model", "--seeds", "1"]
    done = CliRunner().invoke(app, [*asked, "--steps", "2", "--json", "--quiet", "--html", "page.html"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert [r["objective"] for r in said["scenarios"][0]["objectives"]] == ["dpo", "ipo"]
    assert "Accuracy" in (quiet_home / "page.html").read_text()
    assert (Path(said["folder"]) / "report.html").exists()
    refused = CliRunner().invoke(app, ["--objective", "dpo"])
    assert isinstance(refused.exception, UsageError)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "studies").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_shipped_studies_are_valid(path: Path) -> None:
    made, folder = read_study(path)
    for cell in cells(made):
        assert recipe_of(made, cell, cell.scenario.model, folder).steps
    for scenario in made.scenarios:
        template = scenario.model.chat_template
        assert template is None or (folder / template).is_file()
