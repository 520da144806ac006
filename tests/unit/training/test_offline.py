"""The trainer on a tiny model: every split of a batch gives one gradient, and a stopped run is the same run."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from theodolite.engine import token_logps
from theodolite.errors import CheckFailed, DataError, UsageError
from theodolite.models import load_model
from theodolite.models.adapters import Lora
from theodolite.models.load import Loaded
from theodolite.training import offline
from theodolite.training.bundles import Prepared, prepare
from theodolite.training.config import Align
from theodolite.training.offline import train
from theodolite.training.watch import Watch
from theodolite.types import Example, Response
from tiny import tiny_folder

WORDS = (
    "red",
    "green",
    "blue",
    "a long answer indeed",
    "no",
    "perhaps",
    "yes",
    "surely not",
    "ok",
    "fine",
    "well",
    "so",
)


def examples(n: int = 12) -> list[Example]:
    return [
        Example.of(f"Number {i}?", Response(WORDS[i % 12] + "!", 1.0), Response(WORDS[(i + 5) % 12], 0.0), id=str(i))
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def loaded(folder: Path) -> Loaded:
    return load_model(str(folder))


def run(
    loaded: Loaded, out: Path, held: int = 0, said: list[tuple[str, str]] | None = None, **options: object
) -> offline.Trained:
    settings = {"objective": "dpo", "lora": Lora(r=4), "batch": 4, "learning_rate": 1e-2, "cache_reference": False}
    config = Align(**(settings | options))
    kind = offline.parse(config.objective).data
    data = prepare(examples(), kind, loaded.tokenizer, max_length=loaded.max_length)
    held_out = Prepared(data.bundles[:held]) if held else None
    heard = [] if said is None else said
    return train(loaded, data, config, out, held_out=held_out, say=lambda e, t: heard.append((e, t)), seed=3)


def weights(made: offline.Trained) -> dict[str, torch.Tensor]:
    return load_file(made.folder / "adapter_model.safetensors")


def gap(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    assert a.keys() == b.keys()
    return max(float((a[k] - b[k]).abs().max()) for k in a)


def test_dpo_learns_and_starts_at_log_two(loaded: Loaded, tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    made = run(loaded, tmp_path, held=4, epochs=4, said=said)
    assert made.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert made.log[-1]["loss"] < 0.6
    assert made.log[-1]["rewards/margins"] > 0
    assert any("eval_loss" in row and "eval_rewards/accuracies" in row for row in made.log)
    assert sum(event == "check" for event, _ in said) == 2
    assert (tmp_path / "adapter" / "tokenizer.json").exists()
    assert (tmp_path / "training.jsonl").read_text().count("\n") == 12


@pytest.mark.parametrize("objective", ["dpo", "sft", [{"name": "dpo"}, {"name": "sft", "weight": 0.3}]])
def test_every_split_of_a_batch_gives_one_result(folder: Path, tmp_path: Path, objective: object) -> None:
    split = {"8x1": {"batch": 8}, "1x8": {"batch": 1, "accumulate": 8}, "packs": {"batch": 8, "token_budget": 60}}
    found = {
        name: weights(run(load_model(str(folder)), tmp_path / name, objective=objective, **options))
        for name, options in split.items()
    }
    start = {k: torch.zeros_like(v) for k, v in found["8x1"].items() if "lora_B" in k}
    assert gap({k: found["8x1"][k] for k in start}, start) > 1e-3
    assert gap(found["8x1"], found["1x8"]) < 2e-5
    assert gap(found["8x1"], found["packs"]) < 2e-5


class StopAt(TrainerCallback):
    """Dies in the middle, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args, state, control, **_):  # type: ignore[no-untyped-def]
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_a_stopped_training_continues_to_the_same_result(folder: Path, tmp_path: Path) -> None:
    config = Align(lora=Lora(r=4), batch=2, epochs=2, learning_rate=1e-2, save_every=2, cache_reference=False)

    def go(out: Path, *callbacks: TrainerCallback) -> offline.Trained:
        loaded = load_model(str(folder))
        data = prepare(examples(), "pairs", loaded.tokenizer, max_length=1024)
        return train(loaded, data, config, out, seed=1, callbacks=callbacks)

    whole = go(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut", StopAt(5))
    assert (tmp_path / "cut" / "checkpoint-4").is_dir()
    resumed = go(tmp_path / "cut")
    assert gap(weights(whole), weights(resumed)) < 1e-6
    assert [r["loss"] for r in resumed.log] == pytest.approx([r["loss"] for r in whole.log], abs=1e-6)


def test_the_reference_is_the_model_that_was_handed_in_even_if_changed_in_memory(
    loaded: Loaded, tmp_path: Path
) -> None:
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            parameter.mul_(1.3)
    said: list[tuple[str, str]] = []
    made = run(loaded, tmp_path, said=said)
    assert any("policy is the reference" in text for _, text in said)
    assert made.log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)


def test_a_reference_that_is_not_the_policy_stops_the_run(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(*args, **rest):  # type: ignore[no-untyped-def]
        got = token_logps(*args, **rest)
        got.policy = got.policy - (0.5 if "budget" in rest else 0.0)  # only the reference pass has a budget
        return got

    monkeypatch.setattr(offline, "token_logps", shifted)
    with pytest.raises(CheckFailed, match=r"differ by 0\.5"):
        run(loaded, tmp_path)


def test_a_loss_that_is_not_a_number_stops_the_run(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match="loss is nan"):
        run(loaded, tmp_path, learning_rate=1e30, max_grad_norm=0, epochs=3)


def test_full_fine_tuning_saves_a_whole_model(loaded: Loaded, tmp_path: Path) -> None:
    made = run(loaded, tmp_path, lora=None, objective="sft", learning_rate=1e-3, epochs=2)
    assert made.log[-1]["loss"] < made.log[0]["loss"]
    again = load_model(str(made.folder))
    ids = torch.arange(3, 20)[None]
    assert torch.allclose(again.model(ids).logits, made.model(ids).logits, atol=1e-5)


def test_a_merged_model_is_the_model_with_its_adapter(folder: Path, tmp_path: Path) -> None:
    plain = run(load_model(str(folder)), tmp_path / "adapter", objective="sft", epochs=2)
    merged = run(load_model(str(folder)), tmp_path / "merged", objective="sft", epochs=2, merge=True)
    assert merged.folder.name == "model"
    assert not list(merged.folder.glob("adapter*"))
    again, start = load_model(str(merged.folder)), load_model(str(folder))
    ids = torch.arange(3, 20)[None]
    assert torch.allclose(again.model(ids).logits, plain.model(ids).logits, atol=1e-4)
    assert not torch.allclose(again.model(ids).logits, start.model(ids).logits, atol=1e-2)
    assert again.tokenizer.chat_template == start.tokenizer.chat_template


def test_gradient_checkpointing_changes_nothing(folder: Path, tmp_path: Path) -> None:
    plain = run(load_model(str(folder)), tmp_path / "a")
    saving = run(load_model(str(folder)), tmp_path / "b", gradient_checkpointing=True)
    assert gap(weights(plain), weights(saving)) < 1e-5


def test_patience_stops_and_keeps_the_best(loaded: Loaded, tmp_path: Path) -> None:
    made = run(loaded, tmp_path, held=4, epochs=30, eval_every=1, patience=2, learning_rate=0.3)
    assert made.steps < 90


def test_patience_without_held_out_data_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing is held out"):
        run(loaded, tmp_path, patience=2)


def test_rows_that_cannot_be_used_are_named(loaded: Loaded) -> None:
    rows = [*examples(2), Example.of("Hi", "same", "same"), Example.of("Hi", "x", ""), Example.of("Hi", "only")]
    made = prepare(rows, "pairs", loaded.tokenizer, max_length=1024)
    assert len(made.bundles) == 2
    assert [next(w for w in ("equal", "empty", "has 1 responses") if w in d) for d in made.dropped] == [
        "equal",
        "empty",
        "has 1 responses",
    ]
    with pytest.raises(DataError, match="no row can be used"):
        prepare(examples(3), "pairs", loaded.tokenizer, max_length=10)
    with pytest.raises(UsageError, match="no trainer feeds"):
        prepare(examples(3), "holograms", loaded.tokenizer, max_length=100)


def test_a_falling_chosen_answer_is_explained() -> None:
    said: list[str] = []
    watch = Watch()
    for step in range(6):
        watch.see(
            step,
            {"rewards/chosen": -0.5, "rewards/rejected": -2.0, "rewards/margins": 25.0},
            lambda e, t: said.append(t),
        )
    watch.finish(lambda e, t: said.append(t))
    assert len(said) == 2
    assert "less likely" in said[1]
