"""Offline alignment: from prepared data to a saved adapter, with the checks a run makes of itself.

transformers.Trainer keeps what users know: launch commands, callbacks, trackers, checkpoints, resume, FSDP and
DeepSpeed configs; `trainer.GroupTrainer` is ours.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments

from theodolite.engine.logprobs import token_logps
from theodolite.engine.reference import ReferenceCache, model_fingerprint
from theodolite.errors import CheckFailed, StorageError, UsageError
from theodolite.models.adapters import attach_lora
from theodolite.models.load import Loaded
from theodolite.objectives.combine import Objective, parse
from theodolite.training.beside import MATCHED, Beside, classifier_for, compared
from theodolite.training.bundles import Bundle, Prepared
from theodolite.training.config import Align
from theodolite.training.placements import Placements, Turning
from theodolite.training.positions import stretched
from theodolite.training.trainer import GroupTrainer, Item, Say, logps_of
from theodolite.types import Group, Role, TokenLogps

Tell = Callable[[str, int, int], None]
"""(what, done, total)"""


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
    tell: Tell = lambda what, done, total: None,
    reference_cache: Path | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    teacher: Loaded | None = None,
) -> Trained:
    """Align `loaded` on `data`; the adapter (or the full model) is saved in `folder/adapter` (`folder/model`).

    teacher: the model whose distributions an objective with `teacher_kl` copies; it shares the policy's vocabulary.
    A training that was stopped continues from its last checkpoint in `folder`, with the same result as if it had
    not been stopped. Raises CheckFailed when the first loss is not what the theory says it must be.
    """
    if config.patience and held_out is None:
        raise UsageError(
            "patience waits for the held-out loss, and nothing is held out. Set curate.held_out, or leave it off."
        )
    objective = parse(config.objective)
    if "prompt" in objective.roles:
        data, held_out = _with_prompts(data), _with_prompts(held_out) if held_out else None
    last = last_checkpoint(folder)
    beside = _beside(loaded, objective, data, config, teacher)
    if MATCHED in objective.extras:
        beside.prompt_weights = _prompt_weights(loaded.model, data, held_out, config, reference_cache, say, tell)
    score = _scorer(loaded.model, objective, config, reference_cache, tell)
    items = _items(data.bundles, config, seed, last, score)
    held = _held(held_out.bundles, config, seed, score) if held_out else None
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
        beside=beside,
        callbacks=[*callbacks, *_callbacks(config, items)],
    )
    if last is None:
        first = [items[i] for i in range(min(config.batch, len(items)))]
        _check_start(model, objective, first, config, say, beside)
    else:
        say("resume", f"training continues from {Path(last).name}")
    try:
        trainer.train(resume_from_checkpoint=last)
        kept = folder / ("adapter" if config.lora and not config.merge else "model")
        if config.merge:
            model = model.merge_and_unload()
        if trainer.is_world_process_zero():
            _save(model, loaded, kept)
            if beside.classifier is not None:
                save_file(dict(beside.classifier.state_dict()), kept / "classifier.safetensors")
            (folder / "training.jsonl").write_text("".join(json.dumps(r) + "\n" for r in trainer.history()))
    except OSError as error:
        raise StorageError(
            f"the training could not write to {folder}: {error}. What was saved before is kept."
        ) from error
    trainer.watch.finish(say)
    return Trained(model.eval(), kept, trainer.history(), trainer.state.global_step)


def _beside(loaded: Loaded, objective: Objective, data: Prepared, config: Align, teacher: Loaded | None) -> Beside:
    """What the objective's extras need besides the policy; UsageError where it is not there."""
    names = compared(objective.extras)
    if "teacher" in names and teacher is None:
        raise UsageError(
            f"{objective.title} copies a teacher, and none was given: train(..., teacher=load_model(NAME))."
        )
    reference = None
    if "reference" in names and config.lora is None:
        reference = copy.deepcopy(loaded.model).eval().requires_grad_(False)
    classifier = classifier_for(loaded.model, data.bundles, objective.extras)
    return Beside(teacher.model if teacher is not None else None, reference, classifier)


def _prompt_weights(
    model: Any, data: Prepared, held_out: Prepared | None, config: Align, cache: Path | None, say: Say, tell: Tell
) -> dict[tuple[int, ...], float]:
    """What matches the prompts of disliked rows to those of liked ones, from the model as it was handed in."""
    from theodolite.training.prompt_matching import prompt_weights  # brings scikit-learn

    held = held_out.bundles if held_out else ()
    kept = cache if config.cache_reference else None
    return prompt_weights(model, data.bundles, held, budget=config.token_budget, cache=kept, say=say, tell=tell)


def _with_prompts(data: Prepared) -> Prepared:
    """Beside each example's groups one whose response is the prompt, all but its first token: a Role.OTHER row.

    Of a prompt of one token nothing is scored: its row has weight 0.
    """
    made: list[Bundle] = []
    for bundle in data.bundles:
        first, *rest = bundle[0].prompt
        row = Group((first,), (tuple(rest),) if rest else ((first,),), roles=(Role.OTHER,), id=bundle[0].id)
        made.append((*bundle, row if rest else replace(row, weights=((0.0,),))))
    return Prepared(made, data.dropped)


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; Trainer writes its state file last."""
    whole = [p.parent for p in folder.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=_step)) if whole else None


def _step(checkpoint: str | Path) -> int:
    return int(Path(checkpoint).name.rsplit("-", 1)[1])


Score = Callable[[Sequence[Bundle]], list[list[Any]]]
"""bundles -> the reference's log-probs of each, one row a response"""


def _scorer(model: Any, objective: Objective, config: Align, cache_folder: Path | None, tell: Tell) -> Score | None:
    """The reference is the model as it was handed in, asked before it is changed; None where none is needed."""
    if not objective.reference:
        return None
    keep = config.cache_reference and config.stretch is None  # the cache's keys hold tokens, not positions
    cache = ReferenceCache(cache_folder if keep else None, model_fingerprint(model))

    def compute(groups: Sequence[Group]) -> TokenLogps:
        with torch.no_grad():
            return token_logps(model.eval(), groups, budget=config.token_budget)

    def score(bundles: Sequence[Bundle]) -> list[list[Any]]:
        flat = [g for b in bundles for g in b]
        rows = iter(cache.rows(flat, compute, lambda done, total: tell("scoring with the reference", done, total)))
        return [[row for _ in b for row in next(rows)] for b in bundles]

    return score


def _items(
    bundles: Sequence[Bundle], config: Align, seed: int, last: str | None, score: Score | None
) -> list[Item] | Placements:
    """What is trained on, with the reference's log-probs; stretched data has those of every epoch still to come."""
    if config.stretch is None:
        return _with_reference(bundles, score)
    made = Placements(bundles, config.stretch, seed)
    if score is not None:
        made.reference = {epoch: score(made.of(epoch)) for epoch in _epochs(config, len(bundles), last)}
    return made


def _held(bundles: Sequence[Bundle], config: Align, seed: int, score: Score | None) -> list[Item]:
    """Held-out items. Stretched ones are placed once, so that one evaluation can be compared with another."""
    return _with_reference(stretched(bundles, config.stretch, seed) if config.stretch else bundles, score)


def _with_reference(bundles: Sequence[Bundle], score: Score | None) -> list[Item]:
    rows: Sequence[list[Any] | None] = [None] * len(bundles) if score is None else score(bundles)
    return [Item(b, r) for b, r in zip(bundles, rows)]


def _epochs(config: Align, rows: int, last: str | None) -> range:
    """The epochs that a training from this checkpoint still has before it; one that was begun is among them."""
    each = config.updates(rows, _processes())
    total = math.ceil(config.max_steps / each if config.max_steps else config.epochs)
    return range(_step(last) // each if last else 0, total)


def _processes() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _callbacks(config: Align, items: list[Item] | Placements) -> list[TrainerCallback]:
    found: list[TrainerCallback] = [EarlyStoppingCallback(config.patience)] if config.patience else []
    return [*found, Turning(items)] if isinstance(items, Placements) else found


def _arguments(config: Align, folder: Path, seed: int, rows: int, evaluate: bool) -> TrainingArguments:
    steps = config.steps(rows, _processes())
    every = config.between(steps)
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
        gradient_checkpointing=config.gradient_checkpointing or None,  # saying False would be warned about
    )


def _check_start(
    model: Any, objective: Objective, items: Sequence[Item], config: Align, say: Say, beside: Beside
) -> None:
    """At step 0 the policy is the reference that was handed in, and the loss is what the theory says."""
    model.eval()
    with torch.no_grad():
        got = logps_of(model, items, objective, beside=beside)
    slack = 2e-2 if got.policy.dtype != torch.float32 or config.precision == "bf16" else 1e-3
    if got.reference is not None:
        gap = float((got.policy - got.reference).masked_fill(got.weight == 0, 0).abs().max())
        if not gap < slack:
            raise CheckFailed(
                f"before the first step the policy and the reference differ by {gap:.3g} nats on a token. They must be "
                "the same model: was the model changed after its reference log-probs were computed?"
            )
        say("check", f"before the first step the policy is the reference (largest gap on a token {gap:.1e} nats)")
    loss = objective(got)
    for entry, cfg, _ in objective.terms:
        expected = None if entry.start is None else entry.start(cfg)
        if expected is None:
            continue
        alone = len(objective.terms) == 1
        value = float(loss.value / objective.terms[0][2] if alone else loss.metrics[f"{entry.name}/loss"].mean())
        if not abs(value - expected) < slack * max(1.0, abs(expected)):
            raise CheckFailed(f"the first loss of {entry.name} is {value:.4f}, but it must start at {expected:.4f}.")
        say("check", f"the first loss of {entry.name} is {value:.4f}, as the theory says ({expected:.4f})")


def _save(model: Any, loaded: Loaded, folder: Path) -> None:
    for settings in getattr(model, "peft_config", {}).values():
        settings.base_model_name_or_path = str(loaded.path)
    model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
