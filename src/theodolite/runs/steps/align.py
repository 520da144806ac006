"""align: turn the model on the curated data by an offline objective."""

from __future__ import annotations

from theodolite.models.load import load_model
from theodolite.models.locate import home
from theodolite.objectives.combine import parse
from theodolite.registry import register
from theodolite.runs.context import Context
from theodolite.runs.steps.curate import read_examples
from theodolite.training.bundles import Prepared, prepare
from theodolite.training.config import Align
from theodolite.types import Example


@register("step", "align", source="ours", config=Align)
def align(context: Context, cfg: Align) -> str:
    """Train on train.jsonl, evaluate on held_out.jsonl; leaves adapter (or model) and training.jsonl."""
    from theodolite.training.offline import train  # brings transformers.Trainer, seconds that a typo need not cost
    from theodolite.training.progress import Progress

    objective = parse(cfg.objective)
    train_path = context.need("train.jsonl", "align trains on curated data")
    loaded = context.load()
    longest = cfg.max_length or loaded.max_length
    teachers = [load_model(t, say=lambda text: context.say("model", text)) for t in cfg.teacher]
    examples = read_examples(train_path)
    held_path = context.find("held_out.jsonl")
    held = read_examples(held_path) if held_path else []

    def ready(rows: list[Example]) -> Prepared:
        return prepare(
            rows,
            objective.data,
            loaded.tokenizer,
            max_length=longest,
            roles=objective.roles,
            teachers=teachers,
            shots=cfg.demonstrations,
            tell=context.progress,
        )

    data, held_out = ready(examples), ready(held) if held else None
    for which in filter(None, (data, held_out)):
        _say_dropped(context, which)
    trained = train(
        loaded,
        data,
        cfg,
        context.folder,
        held_out=held_out,
        seed=context.seed,
        say=context.say,
        tell=context.progress,
        reference_cache=home() / "reference",
        callbacks=[Progress(context.progress, f"aligning with {objective.title}")],
        teacher=teachers[0] if teachers and objective.data != "teacher" else None,
    )
    last = trained.log[-1] if trained.log else {}
    ends = next((row["loss"] for row in reversed(trained.log) if "loss" in row), None)
    note = f", loss {ends:.3f} at the end" if ends is not None else ""
    steps = int(last.get("step", trained.steps))
    return f"{objective.title} on {len(data.bundles)} examples, {steps} steps{note}"


def _say_dropped(context: Context, data: Prepared) -> None:
    if data.dropped:
        shown = "; ".join(data.dropped[:3])
        more = f"; and {len(data.dropped) - 3} more" if len(data.dropped) > 3 else ""
        context.say("warning", f"{len(data.dropped)} rows were left out of training: {shown}{more}")
