"""What an aligned model makes of held-out pairs: the log-ratio of both answers to the model it started from."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from theodolite.engine import reference_mode, token_logps
from theodolite.errors import DataError
from theodolite.models.chat import group_of
from theodolite.models.load import Loaded, ModelConfig, load_model
from theodolite.runs.context import Progress
from theodolite.runs.steps.curate import read_examples
from theodolite.types import Example, Group

CHUNK = 16
"""pairs a call, so that progress shows"""


def ask(model: ModelConfig, run: Path, held_out: Path, progress: Progress) -> dict[str, Any]:
    """`pairs`: for each pair of `held_out` its id, its prompt as unit, and log pi(y) - log start(y) in nats of the chosen
    and of the rejected answer, pi being the model that `run` left. `missing`: pairs that do not fit the model."""
    start = load_model(model)
    examples, groups, missing = _fitting(read_examples(held_out), start)
    after, before = _models(start, run, model)
    found: list[float] = []
    for at in range(0, len(groups), CHUNK):
        part = groups[at : at + CHUNK]
        with torch.no_grad():
            new = token_logps(after, part).logp()
            with reference_mode(after) if before is None else nullcontext():
                old = token_logps(after if before is None else before, part).logp()
        found += (new - old).double().tolist()
        progress("asking held-out pairs", at + len(part), len(groups))
    pairs = [
        {"id": e.id, "unit": str(e.meta.get("prompt_id") or e.id), "chosen": found[2 * i], "rejected": found[2 * i + 1]}
        for i, e in enumerate(examples)
    ]
    return {"pairs": pairs, "missing": missing}


def _fitting(examples: list[Example], loaded: Loaded) -> tuple[list[Example], list[Group], int]:
    kept, groups = [], []
    for e in examples:
        try:
            groups.append(group_of(e, loaded.tokenizer, max_length=loaded.max_length))
            kept.append(e)
        except DataError:
            continue
    return kept, groups, len(examples) - len(kept)


def _models(start: Loaded, run: Path, model: ModelConfig) -> tuple[Any, Any]:
    """(the aligned model, the one it started from, or None where that is the same without its adapter)."""
    if (run / "adapter").is_dir():
        from peft import PeftModel

        return PeftModel.from_pretrained(start.model, str(run / "adapter")).eval(), None
    whole = model.model_copy(update={"name": str(run / "model"), "adapter": None})
    return load_model(whole).model, start.model
