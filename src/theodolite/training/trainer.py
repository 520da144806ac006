"""transformers.Trainer whose batches are examples' groups and whose loss is an objective.

The step is ours: groups go through the engine in packs of at most `budget` tokens, and each pack's share of the loss
is divided by the whole optimizer step's count, so every split of a batch gives one gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from transformers import PrinterCallback, Trainer

from theodolite.engine.logprobs import token_logps
from theodolite.engine.packing import opening, packs
from theodolite.errors import CheckFailed, UsageError
from theodolite.objectives.combine import Objective
from theodolite.objectives.shared import SHARED
from theodolite.training.beside import Beside, for_engine, state_of
from theodolite.training.bundles import Bundle
from theodolite.training.watch import Watch
from theodolite.types import Group, Loss, TokenLogps

Say = Callable[[str, str], None]
"""(event, text): 'check' for a truth that held, 'warning' for something the user should know"""


@dataclass(slots=True)
class Item:
    """One example's groups and, where the objective needs it, the reference log-probs, one row a response."""

    bundle: Bundle
    reference: list[Any] | None = None


class GroupTrainer(Trainer):
    """transformers.Trainer whose batches are groups and whose loss is an objective."""

    def __init__(
        self, *, objective: Objective, budget: int, say: Say, beside: Beside | None = None, **rest: Any
    ) -> None:
        self.beside = beside or Beside()
        super().__init__(data_collator=lambda items: {"items": items}, **rest)
        self.remove_callback(PrinterCallback)
        self.objective: Objective = objective
        self.budget, self.say = budget, say
        self._place_classifier()
        self.sums: dict[str, tuple[float, int]] = {}
        self.watch = Watch()
        self.shared: dict[str, torch.Tensor] = {}
        self.memory: dict[str, torch.Tensor] = {}
        """what shared numbers remember between steps; saved with the checkpoints"""

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator)]
        if self.beside.classifier is not None:  # Trainer clears the gradients of its model alone
            self.beside.classifier.zero_grad()
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
                got = logps_of(model, [items[i] for i in part], self.objective, self.shared, self.beside)
                loss = self.objective(got)
                share = loss.total / max(num_items_in_batch, 1e-12)
                self.accelerator.backward(share)
            value += float(share.detach())
            self._collect(loss)
        if self.accelerator.sync_gradients:
            self._average_classifier()
        if not math.isfinite(value):
            raise CheckFailed(
                f"the loss is {value} at step {self.state.global_step + 1}. Lower learning_rate (now "
                f"{self.args.learning_rate:g}) or look for extreme rows; the last checkpoint is kept."
            )
        return torch.tensor(value, device=self.args.device)

    def _place_classifier(self) -> None:
        """The classifier stands beside the model, where only plain data parallelism leaves it alone."""
        if self.beside.classifier is None:
            return
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise UsageError(
                f"{self.objective.title} trains a classifier beside the model, and FSDP and DeepSpeed shard and save the "
                "optimizer by the model's own weights, so the classifier's would be lost. Launch it with plain data "
                "parallelism (accelerate launch --multi_gpu, or torchrun) or in one process."
            )
        self.beside.classifier.to(self.args.device)

    def _average_classifier(self) -> None:
        """Average the classifier's gradient over the processes, once an optimizer step, as DDP does for its model.

        Each process has the gradient of (its examples' total loss) / (all examples' count / processes), so the average is
        that of the mean over the whole step: what one process with all the examples computes.
        """
        if self.beside.classifier is None or self.accelerator.num_processes == 1:
            return
        for parameter in self.beside.classifier.parameters():
            mine = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = self.accelerator.reduce(mine, reduction="mean")

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The objective on the held-out groups: `eval_loss` and the objective's own metrics."""
        given: Any = self.eval_dataset if eval_dataset is None else eval_dataset
        model: Any = self.model
        items: list[Item] = list(given)
        mine = items[self.accelerator.process_index :: self.accelerator.num_processes]
        total, count = 0.0, 0.0
        sums: dict[str, tuple[float, int]] = {}
        model.eval()
        with torch.no_grad():
            for part in _packs(mine, self.budget):
                got = logps_of(model, [mine[i] for i in part], self.objective, beside=self.beside)
                loss = self.objective(got)
                total, count = total + float(loss.total), count + loss.count
                _add(sums, loss)
        names = _names(sums)
        flat = torch.tensor([total, count, *(x for n in names for x in sums.get(n, (0.0, 0)))], dtype=torch.float64)
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
        model: Any = self.model
        model.eval()
        with torch.no_grad():
            parts = [[items[i] for i in p] for p in _packs(items, self.budget)]
            scored = [logps_of(model, part, self.objective, beside=self.beside) for part in parts]
        for entry, cfg, _ in self.objective.terms:
            for name in entry.shared:
                sums = torch.stack([SHARED[name].parts(p, cfg) for p in scored]).sum(0)
                sums = self.accelerator.reduce(sums)
                self.memory[name] = SHARED[name].carry(self.memory.get(name), sums, cfg)
                found[name] = SHARED[name].finish(self.memory[name], cfg)
        return found

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            names = _names(self.sums)
            flat = torch.tensor([x for n in names for x in self.sums.get(n, (0.0, 0))], device=self.args.device)
            flat = self.accelerator.reduce(flat) if names else flat
            logs |= {n: float(flat[2 * i] / flat[2 * i + 1].clamp(min=1)) for i, n in enumerate(names)}
            self.sums = {}
            self.watch.see(self.state.global_step, logs, self.say)
        super().log(logs, start_time)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        made: torch.optim.Optimizer = super().create_optimizer(model)
        own = list(self.beside.classifier.parameters()) if self.beside.classifier is not None else []
        if own and not any(p is own[0] for group in made.param_groups for p in group["params"]):
            made.add_param_group({"params": own, "weight_decay": 0.0})
        return made

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # Trainer would count padded input_ids, which do not exist here

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """What shared numbers remember goes first: the state file, written last, marks a whole checkpoint."""
        kept = self.memory | state_of(self.beside.classifier)
        if kept and self.is_world_process_zero():
            place = Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"
            place.mkdir(parents=True, exist_ok=True)
            save_file(kept, place / "shared.safetensors")
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        kept = Path(resume_from_checkpoint) / "shared.safetensors"
        found = load_file(kept) if kept.exists() else {}
        names = state_of(self.beside.classifier)
        self.memory = {k: v for k, v in found.items() if k not in names}
        if self.beside.classifier is not None:
            self.beside.classifier.load_state_dict({k.partition(".")[2]: found[k] for k in names})

    def history(self) -> list[dict[str, float]]:
        """One dict a step: the training log and the evaluation at that step joined."""
        rows: dict[int, dict[str, float]] = {}
        for entry in self.state.log_history:
            if "train_runtime" not in entry:
                rows.setdefault(int(entry["step"]), {}).update(entry)
        return [rows[step] for step in sorted(rows)]

    def _collect(self, loss: Loss) -> None:
        _add(self.sums, loss)


def _add(sums: dict[str, tuple[float, int]], loss: Loss) -> None:
    for name, values in loss.metrics.items():
        total, n = sums.get(name, (0.0, 0))
        sums[name] = (total + float(values.sum()), n + values.numel())


def _names(sums: Mapping[str, object]) -> list[str]:
    """The metrics that any process has: one without examples of its own takes part in the sums all the same."""
    return sorted(set(gather_object(sorted(sums))))


def _packs(items: Sequence[Item], budget: int) -> list[list[int]]:
    """Items in forward passes of at most `budget` tokens; an item's groups stay together."""
    joined = [
        Group(i.bundle[0].prompt, tuple(r for g in i.bundle for r in (*g.responses, *_more(i.bundle, g))))
        for i in items
    ]
    return packs(joined, budget, shared=opening([g for i in items for g in i.bundle]))


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


def logps_of(
    model: Any,
    items: Sequence[Item],
    objective: Objective,
    shared: dict[str, torch.Tensor] | None = None,
    beside: Beside | None = None,
) -> TokenLogps:
    """The items' log-probs, rows of one item under one group number, the reference's beside them."""
    beside, groups = beside or Beside(), [g for item in items for g in item.bundle]
    others = beside.others(model, groups, objective.extras)
    got = token_logps(model, groups, extras=for_engine(objective.extras), others=others)
    beside.classify(got, objective.extras)
    beside.weigh(got, groups, objective.extras)
    numbers = [n for n, item in enumerate(items) for g in item.bundle for _ in g.responses]
    got.group = torch.tensor(numbers, device=got.policy.device)
    got.shared = shared or {}
    if objective.reference:
        rows = [torch.tensor(row) for item in items for row in item.reference or ()]
        padded = torch.zeros_like(got.policy)
        for i, row in enumerate(rows):
            padded[i, : len(row)] = row.to(padded)
        got.reference = padded
    return got
