"""The offline trainer: transformers.Trainer around the engine and one objective.

Trainer keeps what users know: launch commands, callbacks, trackers, checkpoints, resume, FSDP and DeepSpeed
configs. Ours is the step: groups go through the engine in packs of at most `token_budget` tokens, each pack's
share of the loss is divided by the whole optimizer step's count, so every split of a batch gives one gradient.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from theodolite.engine import ReferenceCache, packs, token_logps
from theodolite.engine.reference import model_fingerprint
from theodolite.errors import CheckFailed, StorageError
from theodolite.models.adapters import attach_lora
from theodolite.models.load import Loaded
from theodolite.objectives.combine import Objective, parse
from theodolite.objectives.shared import SHARED
from theodolite.training.bundles import Bundle, Prepared
from theodolite.training.config import Align
from theodolite.training.watch import Watch
from theodolite.types import Group, Loss, TokenLogps

Say = Callable[[str, str], None]
"""(event, text): 'check' for a truth that held, 'warning' for something the user should know"""


@dataclass(slots=True)
class Item:
    """One example's groups and, where the objective needs it, the reference log-probs, one row a response."""

    bundle: Bundle
    reference: list[Any] | None = None


@dataclass(slots=True)
class Trained:
    """What a training left behind. `log` holds one dict a logged step."""

    model: Any
    folder: Path
    log: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0


def train(
    loaded: Loaded,
    data: Prepared,
    config: Align,
    folder: Path,
    *,
    held_out: Prepared | None = None,
    seed: int = 0,
    say: Say = lambda event, text: None,
    reference_cache: Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Align `loaded` on `data`; the adapter (or the full model) is saved in `folder/adapter` (`folder/model`).

    A training that was stopped continues from its last checkpoint in `folder`, with the same result as if it had
    not been stopped. Raises CheckFailed when the first loss is not what the theory says it must be.
    """
    objective = parse(config.objective)
    items, held = _items(loaded.model, objective, data, held_out, config, reference_cache, say)
    model = attach_lora(loaded.model, config.lora, seed=seed) if config.lora else loaded.model.requires_grad_(True)
    if config.gradient_checkpointing:
        model.enable_input_require_grads()
    trainer = GroupTrainer(
        model=model,
        args=_arguments(config, folder, seed, len(items), held is not None),
        train_dataset=items,
        eval_dataset=held,
        objective=objective,
        budget=config.token_budget,
        say=say,
        callbacks=[*callbacks, *([EarlyStoppingCallback(config.patience)] if config.patience else [])],
    )
    last = last_checkpoint(folder)
    if last is None:
        _check_start(model, objective, items[: config.batch], config, say)
    else:
        say("resume", f"training continues from {Path(last).name}")
    try:
        trainer.train(resume_from_checkpoint=last)
        kept = folder / ("adapter" if config.lora else "model")
        if trainer.is_world_process_zero():
            _save(model, loaded, kept)
            (folder / "training.jsonl").write_text("".join(json.dumps(r) + "\n" for r in trainer.history()))
    except OSError as error:
        raise StorageError(
            f"the training could not write to {folder}: {error}. What was saved before is kept."
        ) from error
    trainer.watch.finish(say)
    return Trained(model.eval(), kept, trainer.history(), trainer.state.global_step)


class GroupTrainer(Trainer):
    """transformers.Trainer whose batches are groups and whose loss is an objective."""

    def __init__(self, *, objective: Objective, budget: int, say: Say, **rest: Any) -> None:
        super().__init__(data_collator=lambda items: {"items": items}, **rest)
        self.remove_callback(PrinterCallback)
        self.objective, self.budget, self.say = objective, budget, say
        self.sums: dict[str, tuple[float, int]] = {}
        self.watch = Watch()
        self.shared: dict[str, torch.Tensor] = {}
        self.memory: dict[str, torch.Tensor] = {}
        """what shared numbers remember between steps; saved with the checkpoints"""

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: Any
    ) -> tuple[list[Any], float]:
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator)]
        count = sum(_count(item.bundle, self.objective.unit) for batch in batches for item in batch["items"])
        total = self.accelerator.reduce(torch.tensor(float(count), device=device)).item()
        self.shared = self._shared([item for batch in batches for item in batch["items"]])
        return batches, total / self.accelerator.num_processes  # gradients are averaged over processes afterwards

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        items: list[Item] = inputs["items"]
        parts = _packs(items, self.budget)
        value = 0.0
        for number, part in enumerate(parts, 1):
            hold = nullcontext() if number == len(parts) else self.accelerator.no_sync(model)
            with hold, self.compute_loss_context_manager():
                loss = self.objective(_logps(model, [items[i] for i in part], self.objective, self.shared))
                share = loss.total / max(num_items_in_batch, 1e-12)
                self.accelerator.backward(share)
            value += float(share.detach())
            self._collect(loss)
        if not math.isfinite(value):
            raise CheckFailed(
                f"the loss is {value} at step {self.state.global_step + 1}. Lower learning_rate (now "
                f"{self.args.learning_rate:g}) or look for extreme rows; the last checkpoint is kept."
            )
        return torch.tensor(value, device=self.args.device)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The objective on the held-out groups: `eval_loss` and the objective's own metrics."""
        items = list(self.eval_dataset if eval_dataset is None else eval_dataset)
        mine = items[self.accelerator.process_index :: self.accelerator.num_processes]
        total, count, sums = 0.0, 0.0, {}
        self.model.eval()
        with torch.no_grad():
            for part in _packs(mine, self.budget):
                loss = self.objective(_logps(self.model, [mine[i] for i in part], self.objective))
                total, count = total + float(loss.total), count + loss.count
                _add(sums, loss)
        names = sorted(sums)
        flat = torch.tensor([total, count, *(x for n in names for x in sums[n])], dtype=torch.float64)
        flat = self.accelerator.reduce(flat.to(self.args.device, torch.float32)).tolist()
        metrics = {f"{metric_key_prefix}_loss": flat[0] / max(flat[1], 1e-12)}
        for i, name in enumerate(names):
            metrics[f"{metric_key_prefix}_{name}"] = flat[2 + 2 * i] / max(flat[3 + 2 * i], 1)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _shared(self, items: Sequence[Item]) -> dict[str, torch.Tensor]:
        """Numbers that all examples of this optimizer step share (KTO's z0, BCO's delta), over all its micro-batches."""
        found: dict[str, torch.Tensor] = {}
        if not self.objective.shared:
            return found
        self.model.eval()
        with torch.no_grad():
            scored = [_logps(self.model, [items[i] for i in p], self.objective) for p in _packs(items, self.budget)]
        for entry, cfg, _ in self.objective.terms:
            for name in entry.shared:
                sums = torch.stack([SHARED[name].parts(p, cfg) for p in scored]).sum(0)
                sums = self.accelerator.reduce(sums)
                self.memory[name] = SHARED[name].carry(self.memory.get(name), sums, cfg)
                found[name] = SHARED[name].finish(self.memory[name], cfg)
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            names = sorted(self.sums)
            flat = torch.tensor([x for n in names for x in self.sums[n]], device=self.args.device)
            flat = self.accelerator.reduce(flat) if names else flat
            logs |= {n: float(flat[2 * i] / flat[2 * i + 1].clamp(min=1)) for i, n in enumerate(names)}
            self.sums = {}
            self.watch.see(self.state.global_step, logs, self.say)
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # Trainer would count padded input_ids, which do not exist here

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """What shared numbers remember goes first: the state file, written last, marks a whole checkpoint."""
        if self.memory and self.is_world_process_zero():
            place = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            place.mkdir(parents=True, exist_ok=True)
            save_file(self.memory, place / "shared.safetensors")
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        kept = Path(resume_from_checkpoint) / "shared.safetensors"
        self.memory = load_file(kept) if kept.exists() else {}

    def history(self) -> list[dict[str, float]]:
        """One dict a step: the training log and the evaluation at that step joined."""
        rows: dict[int, dict[str, float]] = {}
        for entry in self.state.log_history:
            if "train_runtime" not in entry:
                rows.setdefault(int(entry["step"]), {}).update(entry)
        return [rows[step] for step in sorted(rows)]

    def _collect(self, loss: Loss) -> None:
        _add(self.sums, loss)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; Trainer writes its state file last."""
    whole = [p.parent for p in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda p: int(p.name.rsplit("-", 1)[1]))) if whole else None


def _add(sums: dict[str, tuple[float, int]], loss: Loss) -> None:
    for name, values in loss.metrics.items():
        total, n = sums.get(name, (0.0, 0))
        sums[name] = (total + float(values.sum()), n + values.numel())


def _packs(items: Sequence[Item], budget: int) -> list[list[int]]:
    """Items in forward passes of at most `budget` tokens; an item's groups stay together."""
    joined = [
        Group(i.bundle[0].prompt, tuple(r for g in i.bundle for r in (*g.responses, *_more(i.bundle, g))))
        for i in items
    ]
    return packs(joined, budget)


def _more(bundle: Bundle, group: Group) -> tuple[tuple[int, ...], ...]:
    return (group.prompt,) if group is not bundle[0] else ()


def _count(bundle: Bundle, unit: str) -> float:
    """How much an example adds to the divisor of the loss."""
    if unit != "token":
        return 1.0
    group = bundle[0]
    if group.weights is None:
        return float(sum(map(len, group.responses)))
    return float(sum(sum(w != 0 for w in row) for row in group.weights))


def _logps(
    model: Any, items: Sequence[Item], objective: Objective, shared: dict[str, torch.Tensor] | None = None
) -> TokenLogps:
    """The items' log-probs, rows of one item under one group number, the reference's beside them."""
    got = token_logps(model, [g for item in items for g in item.bundle], extras=objective.extras)
    numbers = [n for n, item in enumerate(items) for g in item.bundle for _ in g.responses]
    got.group = torch.tensor(numbers, device=got.policy.device)
    got.shared = shared or {}
    if objective.reference:
        rows = [torch.as_tensor(row) for item in items for row in item.reference or ()]
        padded = torch.zeros_like(got.policy)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row.to(padded)
        got.reference = padded
    return got


def _items(
    model: Any,
    objective: Objective,
    data: Prepared,
    held_out: Prepared | None,
    config: Align,
    cache_folder: Path | None,
    say: Say,
) -> tuple[list[Item], list[Item] | None]:
    """Groups with the reference's log-probs, computed once from the model as it was handed in."""
    sets = [data.bundles, held_out.bundles if held_out else []]
    if not objective.reference:
        made = [[Item(b) for b in bundles] for bundles in sets]
    else:
        cache = ReferenceCache(cache_folder if config.cache_reference else None, model_fingerprint(model))

        def compute(groups: Sequence[Group]) -> TokenLogps:
            with torch.no_grad():
                return token_logps(model.eval(), groups, budget=config.token_budget)

        made = []
        for bundles in sets:
            rows = iter(cache.rows([g for b in bundles for g in b], compute))
            made.append([Item(b, [row for _ in b for row in next(rows)]) for b in bundles])
    return made[0], (made[1] if held_out else None)


def _arguments(config: Align, folder: Path, seed: int, rows: int, evaluate: bool) -> TrainingArguments:
    per_step = config.batch * config.accumulate * int(os.environ.get("WORLD_SIZE", "1"))
    steps = config.max_steps or max(1, math.ceil(math.ceil(rows / per_step) * config.epochs))
    every = config.eval_every or max(1, steps // 8)
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=config.batch,
        gradient_accumulation_steps=config.accumulate,
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        learning_rate=config.rate,
        lr_scheduler_type=config.schedule,
        warmup_steps=round(config.warmup * steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        gradient_checkpointing=config.gradient_checkpointing,
        bf16=config.precision == "bf16",
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluate else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every if config.patience else config.save_every or every,
        save_total_limit=2,
        load_best_model_at_end=bool(config.patience and evaluate),
        metric_for_best_model="eval_loss" if evaluate else None,
        greater_is_better=False if evaluate else None,
        report_to=config.report_to or "none",
        remove_unused_columns=False,
        dataloader_num_workers=0,
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )


def _check_start(model: Any, objective: Objective, items: Sequence[Item], config: Align, say: Say) -> None:
    """At step 0 the policy is the reference that was handed in, and the loss is what the theory says."""
    model.eval()
    with torch.no_grad():
        got = _logps(model, items, objective)
    slack = 2e-2 if got.policy.dtype != torch.float32 or config.precision == "bf16" else 1e-3
    if got.reference is not None:
        gap = float((got.policy - got.reference).masked_fill(got.weight == 0, 0).abs().max())
        if not gap < slack:
            raise CheckFailed(
                f"before the first step the policy and the reference differ by {gap:.3g} nats on a token. They must be "
                "the same model: was the model changed after its reference log-probs were computed?"
            )
        say("check", f"before the first step the policy is the reference (largest gap on a token {gap:.1e} nats)")
    expected = objective.start
    if expected is not None:
        value = float(objective(got).value)
        if not abs(value - expected) < slack * max(1.0, abs(expected)):
            raise CheckFailed(f"the first loss is {value:.4f}, but {objective.title} must start at {expected:.4f}.")
        say("check", f"the first loss of {objective.title} is {value:.4f}, as the theory says ({expected:.4f})")


def _save(model: Any, loaded: Loaded, folder: Path) -> None:
    for settings in getattr(model, "peft_config", {}).values():
        settings.base_model_name_or_path = str(loaded.path)
    model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
