"""A user's way through the command line, on a tiny model: run, run again, kill, continue, bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tiny import tiny_folder

WORDS = ("red", "green", "blue", "a long answer indeed", "no", "perhaps", "yes", "surely not")


def recipe(folder: Path, **changes: object) -> Path:
    """A small DPO recipe on 40 pairs with a tiny model, all in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "model").exists():
        tiny_folder(folder / "model")
    rows = [
        {
            "prompt": f"Question number {i}, about {WORDS[i % 8]}?",
            "chosen": WORDS[(i + 3) % 8] + "!",
            "rejected": WORDS[(i + 1) % 8],
        }
        for i in range(40)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    body = {
        "name": "tiny",
        "model": {"name": str(folder / "model")},
        "steps": [
            {"step": "curate", "read": {"path": "pairs.jsonl"}, "held_out": 10},
            {"step": "align", "objective": "dpo", "lora": {"r": 4}, "epochs": 2, "batch": 4, "learning_rate": 0.01},
            {"step": "measure", "prompts": 6, "sample": {"k": 2, "max_new_tokens": 12}},
            {"step": "report"},
        ],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(body | changes))
    return path


def theodolite(*arguments: object, home: Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "THEODOLITE_HOME": str(home / "home"),
        "THEODOLITE_RUNS": str(home / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "theodolite.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if ok:
        assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    home = tmp_path_factory.mktemp("user")
    done = theodolite("run", recipe(home), "--json", home=home)
    return home, json.loads(done.stdout.splitlines()[-1])


def test_a_run_ends_with_one_line_of_json(first: tuple[Path, dict]) -> None:
    _, said = first
    assert said.keys() == {"run", "report", "seconds", "readings"}
    keys = {"name", "value", "low", "high", "level", "n", "missing", "unit", "better"}
    assert all(r.keys() == keys for r in said["readings"])
    names = {r["name"] for r in said["readings"]}
    assert {"kl", "kl.per_token", "length.difference", "reward_accuracy.after", "likelihood_accuracy.before"} <= names
    by_name = {r["name"]: r for r in said["readings"]}
    assert by_name["reward_accuracy.after"]["n"] == 10
    assert by_name["kl"]["n"] == 6
    assert by_name["kl"]["value"] != 0


def test_the_folder_holds_what_happened(first: tuple[Path, dict]) -> None:
    run = Path(first[1]["run"])
    state = json.loads((run / "run.json").read_text())
    assert state["status"] == "done"
    assert state["versions"]["torch"]
    assert yaml.safe_load((run / "recipe.yaml").read_text())["steps"][1]["token_budget"]
    assert (run / "adapter" / "adapter_model.safetensors").exists()
    assert (run / "adapter" / "README.md").exists()
    assert "<html" in (run / "report.html").read_text()
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert any(e["event"] == "check" for e in events)
    assert [s["status"] for s in json.loads((run / "steps.json").read_text())] == ["done"] * 4


def test_a_second_run_redoes_nothing(first: tuple[Path, dict]) -> None:
    home, said = first
    again = theodolite("run", home / "recipe.yaml", "--json", home=home)
    assert json.loads(again.stdout.splitlines()[-1])["readings"] == said["readings"]
    steps = json.loads((Path(said["run"]) / "steps.json").read_text())
    assert [s["cached"] for s in steps] == [True] * 4


def test_a_changed_later_step_keeps_the_earlier_ones(first: tuple[Path, dict]) -> None:
    home, _ = first
    done = theodolite("run", home / "recipe.yaml", "steps.measure.level=0.9", "--json", home=home)
    said = json.loads(done.stdout.splitlines()[-1])
    steps = json.loads((Path(said["run"]) / "steps.json").read_text())
    assert [s["cached"] for s in steps] == [True, True, False, False]
    assert said["readings"][0]["level"] == 0.9


def test_changed_data_is_read_again(tmp_path: Path) -> None:
    path = recipe(tmp_path, steps=[{"step": "curate", "read": {"path": "pairs.jsonl"}, "held_out": 10}])
    theodolite("run", path, home=tmp_path)
    with open(tmp_path / "pairs.jsonl", "a") as file:
        file.write(json.dumps({"prompt": "new", "chosen": "a", "rejected": "b"}) + "\n")
    theodolite("run", path, home=tmp_path)
    assert len(list((tmp_path / "runs" / "cache").glob("curate-*[0-9a-f]"))) >= 2


def test_runs_lists_and_reports(first: tuple[Path, dict]) -> None:
    home, _ = first
    rows = json.loads(theodolite("runs", "--json", home=home).stdout)
    assert {"tiny"} == {r["name"] for r in rows}
    assert rows[-1]["status"] == "done"
    assert rows[-1]["headline"]
    assert theodolite("report", "tiny", home=home).stdout.strip().endswith("report.html")


def test_a_killed_run_continues_to_the_same_result(first: tuple[Path, dict], tmp_path: Path) -> None:
    _, said = first
    path = recipe(tmp_path)
    environment = os.environ | {
        "THEODOLITE_HOME": str(tmp_path / "home"),
        "THEODOLITE_RUNS": str(tmp_path / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "theodolite.cli", "run", str(path)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "runs" / "cache").glob("align-*.partial/checkpoint-*")):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((tmp_path / "runs" / "cache").glob("align-*.partial"))
    again = json.loads(theodolite("run", path, "--json", home=tmp_path).stdout.splitlines()[-1])
    steps = json.loads((Path(again["run"]) / "steps.json").read_text())
    assert steps[0]["cached"]
    for mine, theirs in zip(again["readings"], said["readings"], strict=True):
        assert mine["name"] == theirs["name"]
        assert mine["value"] == pytest.approx(theirs["value"], abs=1e-4)


BAD = {
    "a wrong key": ({"sed": 1}, "Did you mean 'seed'?"),
    "a missing file": ({"steps": [{"step": "curate", "read": {"path": "pears.jsonl"}}]}, "pears.jsonl"),
    "an unknown step": ({"steps": [{"step": "allign"}]}, "Did you mean 'align'?"),
    "an unknown objective": ({"steps": [{"step": "align", "objective": "dpoo"}]}, "Did you mean 'dpo'?"),
    "an unknown option": (
        {"steps": [{"step": "align", "objective": {"name": "dpo", "bata": 1}}]},
        "Did you mean 'beta'?",
    ),
    "no data": ({"steps": [{"step": "align"}]}, "no earlier step made train.jsonl"),
    "two sources": ({"steps": [{"step": "curate"}]}, "either read or instructions"),
    "no such model": ({"model": "nobody/nothing"}, "was not found"),
    "too long": (
        {"steps": [{"step": "curate", "read": {"path": "pairs.jsonl"}}, {"step": "align", "max_length": 8}]},
        "no row can be used",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_paragraph(case: str, tmp_path: Path) -> None:
    changes, part = BAD[case]
    done = theodolite("run", recipe(tmp_path, **changes), home=tmp_path, ok=False)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    path = recipe(
        tmp_path, steps=[{"step": "curate", "read": {"path": "pairs.jsonl"}, "held_out": 5}, {"step": "report"}]
    )
    with open(tmp_path / "pairs.jsonl", "a") as file:
        file.write('{"prompt": "x", "chosen": "same", "rejected": "same"}\n')
        file.write('{"prompt": "x", "chosen": "y", "rejected": ""}\n')
        file.write('{"prompt": broken\n')
    said = json.loads(theodolite("run", path, "--json", home=tmp_path).stdout.splitlines()[-1])
    notes = json.loads((Path(said["run"]) / "data.json").read_text())
    assert [b["row"] for b in notes["bad"]] == [41, 42, 43]
    assert notes["train"] == 35


def test_a_model_without_a_chat_template_is_told(tmp_path: Path) -> None:
    tiny_folder(tmp_path / "model", template=None)
    done = theodolite("run", recipe(tmp_path), home=tmp_path, ok=False)
    assert done.returncode == 2
    assert "no chat template" in done.stderr


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    path = recipe(tmp_path)
    (tmp_path / "file").write_text("")
    done = theodolite("run", path, "--runs", tmp_path / "file" / "runs", home=tmp_path, ok=False)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_a_failed_run_leaves_its_reason_and_a_page(tmp_path: Path) -> None:
    steps = [
        {"step": "curate", "read": {"path": "pairs.jsonl"}},
        {"step": "align", "max_length": 8},
        {"step": "report"},
    ]
    theodolite("run", recipe(tmp_path, steps=steps), home=tmp_path, ok=False)
    row = json.loads(theodolite("runs", "--json", home=tmp_path).stdout)[0]
    assert row["status"] == "failed"
    assert "no row can be used" in row["headline"]
    assert "no row can be used" in (Path(row["folder"]) / "report.html").read_text()


def test_plan_shows_the_mask_and_the_cost(tmp_path: Path) -> None:
    done = theodolite("plan", recipe(tmp_path), "--json", "--html", tmp_path / "plan.html", home=tmp_path)
    made = json.loads(done.stdout)
    title, first_row = made["preview"][0]["title"], made["preview"][0]["tokens"]
    assert title == "row 1, chosen"
    assert "".join(t for t, scored in first_row if scored).endswith("<|im_end|>")
    assert not any(scored for t, scored in first_row if t == "<|im_start|>")
    assert made["facts"]["to learn from"] == 30
    assert "<mark>" in (tmp_path / "plan.html").read_text()
