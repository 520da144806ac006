"""Evidence for all measures of a step, with as few passes of the model as possible."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from theodolite.engine import reference_mode, token_logps
from theodolite.errors import DataError
from theodolite.measures.evidence import Evidence, PairLogps
from theodolite.models.chat import group_of
from theodolite.models.load import Loaded, load_model
from theodolite.rewards.rules import check
from theodolite.runs.context import Context
from theodolite.runs.folder import read_lines
from theodolite.runs.sampling import sample_resumably
from theodolite.types import Example, Group, TokenLogps

if TYPE_CHECKING:
    from theodolite.runs.steps.measure import Measure

BUDGET = 4096
"""tokens a pack when nothing is trained"""


def gather(context: Context, cfg: Measure) -> Evidence:
    """Answers before and after, their log-probs under both models, and the held-out pairs' log-probs."""
    evidence = Evidence(level=cfg.level)
    prompts = _prompts(context, cfg)
    before_model = context.load()
    if prompts:
        evidence.before = _before(context, cfg, prompts)
    models = Models(context, before_model)
    if prompts and models.changed:
        after = sample_resumably(
            context, prompts, cfg.sample, "after", "answering held-out prompts, after", models.after
        )
        evidence.after = after
        _divergence(context, cfg, prompts, models, evidence)
    elif prompts:
        evidence.after = evidence.before
    held = context.find("held_out.jsonl")
    if held is not None and models.changed:
        evidence.pairs = _pairs(context, models, held, evidence)
    evidence.before, evidence.after = _checked(evidence.before), _checked(evidence.after)
    return evidence


def _divergence(context: Context, cfg: Measure, prompts: list[Example], models: Models, evidence: Evidence) -> None:
    """The aligned model's log-probs of its own answers, and the reference's: what `kl` is made of.

    KL(policy || reference) is a mean over the policy's own samples at temperature 1. Where the recipe answers with
    other settings, a few such answers are drawn for this alone.
    """
    own: Sequence[Example] = evidence.after
    if (cfg.sample.temperature, cfg.sample.top_k, cfg.sample.top_p, cfg.sample.min_p) != (1.0, 0, 1.0, 0.0):
        plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "k": min(2, cfg.sample.k)}
        drawing = cfg.sample.model_copy(update=plain)
        own = sample_resumably(context, prompts, drawing, "kl", "sampling for the KL", models.after)
    groups = [group_of(e, context.load().tokenizer) for e in own]
    drawn = [[r.logps for r in e.responses] for e in own]
    if all(logps is not None for row in drawn for logps in row):  # a local sampler gives them with the answer
        evidence.policy_logps = [[np.asarray(logps, float) for logps in row] for row in drawn]
    else:
        evidence.policy_logps = _by_prompt(models, groups, after=True, context=context)
    evidence.reference_logps = _by_prompt(models, groups, after=False, context=context)


class Models:
    """The model as handed in and as aligned; one set of weights where an adapter makes the difference."""

    def __init__(self, context: Context, base: Loaded) -> None:
        adapter, full = context.find("adapter"), context.find("model")
        self.changed = adapter is not None or full is not None
        self.before: Any = base.model
        self.after: Any = base.model
        self.shared = adapter is not None
        if adapter is not None:
            from peft import PeftModel

            self.after = PeftModel.from_pretrained(base.model, str(adapter)).eval()
        elif full is not None:
            self.after = load_model(context.model.model_copy(update={"name": str(full), "adapter": None})).model

    def logps(self, groups: Sequence[Group], *, after: bool) -> TokenLogps:
        if after or self.shared:
            with torch.no_grad(), nullcontext() if after else reference_mode(self.after):
                return token_logps(self.after, groups, budget=BUDGET)
        with torch.no_grad():
            return token_logps(self.before, groups, budget=BUDGET)


def _prompts(context: Context, cfg: Measure) -> list[Example]:
    """Held-out instructions, or the prompts of held-out rows where the recipe asks for some."""
    path = context.find("prompts.jsonl")
    if path is not None:
        return _examples(path)[: cfg.prompts]
    held = context.find("held_out.jsonl")
    if held is None or not cfg.prompts:
        return []
    unique = {e.prompt: e for e in _examples(held)}
    chosen = list(unique.values())[: cfg.prompts]
    return [replace(e, responses=(), id=e.id or str(i)) for i, e in enumerate(chosen)]


def _before(context: Context, cfg: Measure, prompts: list[Example]) -> list[Example]:
    """The untouched model's answers: those that curate already drew where the settings agree, else fresh ones."""
    drawn = context.find("before.jsonl")
    curate = next((s.config for s in context.recipe.steps if s.kind == "curate"), None)
    if drawn is not None and curate is not None and getattr(curate, "sample", None) == cfg.sample:
        found = {e.id: e for e in _examples(drawn)}
        if all(p.id in found for p in prompts):
            return [found[p.id] for p in prompts]
    return sample_resumably(context, prompts, cfg.sample, "before", "answering held-out prompts, before")


def _by_prompt(models: Models, groups: list[Group], *, after: bool, context: Context) -> list[list[np.ndarray]]:
    """Per-token log-probs of every response, prompt by prompt, scored in chunks so that progress shows."""
    found: list[list[np.ndarray]] = []
    what = "scoring answers, " + ("after" if after else "before")
    for start in range(0, len(groups), 16):
        part = groups[start : start + 16]
        rows = models.logps(part, after=after).policy.float().cpu().numpy()
        number = 0
        for group in part:
            found.append([rows[number + i, : len(r)] for i, r in enumerate(group.responses)])
            number += len(group)
        context.progress(what, min(start + 16, len(groups)), len(groups))
    return found


def _pairs(context: Context, models: Models, held: Path, evidence: Evidence) -> PairLogps | None:
    """Log-probs of held-out pairs under both models; pairs that do not fit are counted as missing."""
    loaded, groups = context.load(), []
    for example in _examples(held):
        if len(example.responses) != 2:
            continue
        try:
            groups.append(group_of(example, loaded.tokenizer, max_length=loaded.max_length))
        except DataError:
            evidence.missing["longer than the context or empty"] = (
                evidence.missing.get("longer than the context or empty", 0) + 1
            )
    if not groups:
        return None
    sums: dict[bool, np.ndarray] = {}
    for after in (False, True):
        rows = []
        for start in range(0, len(groups), 16):
            rows.append(models.logps(groups[start : start + 16], after=after).logp().double().cpu().numpy())
            what = "scoring held-out pairs, " + ("after" if after else "before")
            context.progress(what, min(start + 16, len(groups)), len(groups))
        sums[after] = np.concatenate(rows).reshape(-1, 2)
    lengths = np.array([[len(r) for r in g.responses] for g in groups], float)
    return PairLogps(*sums[False].T, *sums[True].T, *lengths.T)


def _checked(examples: Sequence[Example]) -> list[Example]:
    """Each response with its strict and loose verdicts, where its prompt carries constraints."""

    def one(example: Example) -> Example:
        rules = example.meta.get("constraints")
        if not rules:
            return example
        responses = []
        for r in example.responses:
            strict, loose = check(rules, r.text), check(rules, r.text, loose=True)
            score = sum(strict.values()) / len(strict)
            responses.append(replace(r, score=score, meta={**r.meta, "checks": strict, "checks_loose": loose}))
        return example.with_responses(responses)

    return [one(e) for e in examples]


def _examples(path: Path) -> list[Example]:
    return [Example.from_json(row) for row in read_lines(path)]
