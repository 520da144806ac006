"""measure: the model before and after, on the same held-out prompts and pairs, with one pass for all measures."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from theodolite import registry
from theodolite.config import Config
from theodolite.errors import UsageError
from theodolite.registry import register
from theodolite.runs.context import Context
from theodolite.runs.folder import write_json
from theodolite.runs.sampling import Sample
from theodolite.runs.side_by_side import keep
from theodolite.types import Reading


class Measure(Config):
    """What is measured, and on how much."""

    measures: list[str] | Literal["all"] = "all"
    """names of measures (see `theodolite list measure`), or all that the evidence allows"""
    sample: Sample = Sample(k=4)
    """how held-out prompts are answered, before and after (kl draws two answers a prompt at temperature 1 of its own)"""
    prompts: int | None = Field(None, ge=0)
    """most held-out prompts to answer; default all instructions, none for data that was read"""
    level: float = Field(0.95, gt=0, lt=1)
    """coverage of the intervals"""
    show: int = Field(200, ge=0)
    """prompts whose answers are kept in samples.jsonl; the report shows a handful"""


@register("step", "measure", source="ours", config=Measure)
def measure(context: Context, cfg: Measure) -> str:
    """Gather the evidence once, read every measure from it, and keep answers to look at."""
    from theodolite.runs.gather import gather

    entries = [e for e in registry.entries("measure") if e.reads == "evidence"]
    if cfg.measures != "all":
        entries = [registry.get("measure", name) for name in cfg.measures]
        if other := next((e for e in entries if e.reads != "evidence"), None):
            raise UsageError(
                f"'{other.name}' is computed from records in a file, not from a run: theodolite measure {other.name} --data FILE."
            )
    evidence = gather(context, cfg)
    readings: list[Reading] = []
    for entry in entries:
        lacking = [n for n in entry.needs if not evidence.has(n)]
        if lacking:
            if cfg.measures != "all":
                raise UsageError(
                    f"the measure '{entry.name}' needs {', '.join(lacking)}, which this run does not have."
                )
            continue
        rng = np.random.default_rng([context.seed, len(entry.name), *entry.name.encode()])
        readings += entry.function(evidence, rng)
    if not readings:
        raise UsageError(
            "there is nothing to measure: no held-out prompts and no held-out pairs. Set prompts or held_out."
        )
    _drift(context, {r.name: r for r in readings})
    rows: list[dict[str, Any]] = [r.to_json() for r in readings]
    write_json(context.folder / "readings.json", rows)
    keep(evidence, cfg.show, context.folder / "samples.jsonl")
    return f"{len(readings)} readings from {len(evidence.after)} prompts" + (
        f" and {len(evidence.pairs.after_chosen)} pairs" if evidence.pairs else ""
    )


def _drift(context: Context, readings: dict[str, Reading]) -> None:
    """Explain answers that became much longer or shorter: the commonest side effect of preference learning."""
    change, before = readings.get("length.difference"), readings.get("length.before")
    if change is None or before is None or not before.value > 0 or change.low <= 0 <= change.high:
        return
    share = change.value / before.value
    if abs(share) > 0.25:
        way = "longer" if share > 0 else "shorter"
        context.say(
            "warning",
            f"answers became {abs(share):.0%} {way} ({before.value:.0f} tokens before). If the chosen answers of the "
            f"training pairs are mostly the {way} ones, length was learnt too: ln_dpo or simpo divide it out.",
        )
