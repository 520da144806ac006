"""curate: get the data to learn from. Read it from a file, or have the model answer instructions that a program verifies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from theodolite.config import Config
from theodolite.data import read, views, write_jsonl
from theodolite.data.select import by_length, leakage, length_bias, split
from theodolite.data.synthesize.instructions import build
from theodolite.errors import DataError
from theodolite.registry import register
from theodolite.rewards.rules import VerifiableReward, score
from theodolite.runs.context import Context
from theodolite.runs.sampling import Sample, sample_resumably
from theodolite.training import degrees, negatives, renderings
from theodolite.training.strike import struck_out
from theodolite.types import Example


class Read(Config):
    """Data from a file, a folder or the hub."""

    path: str
    """a .jsonl, .json, .csv or .parquet file (also .gz), or a hub dataset name; $VARIABLES are filled in"""
    format: str = "auto"
    """name of the reader (see `theodolite list reader`); auto looks at the columns"""
    split: str = "train"
    """split of a hub dataset"""
    limit: int | None = Field(None, gt=0)
    """take this many good rows at most"""
    max_words: int | None = Field(None, gt=0)
    """leave out rows with more words in the prompt or in one of the answers; limit counts the rows that remain"""


class Instructions(Config):
    """Instructions that a program can verify, composed from written topics and constraints."""

    train: int = Field(96, gt=0)
    """instructions to learn from"""
    held_out: int = Field(48, gt=0)
    """instructions to measure on; they share no topic with the training ones"""
    constraints: str | list[str] = "easy"
    """a preset (easy, all) or a list of constraint names (see `theodolite list constraint`)"""
    max_constraints: int = Field(1, gt=0, le=4)
    """most constraints in one instruction"""


class Pairs(Config):
    """How scored answers become preference pairs."""

    how: Literal["all", "best_worst", "adjacent"] = "best_worst"
    """which answers of a prompt are paired"""
    min_gap: float = Field(0.0, ge=0)
    """smallest difference in score that makes a pair"""
    max_per_prompt: int | None = Field(None, gt=0)
    """most pairs from one prompt"""


class Curate(Config):
    """Make train.jsonl, held_out.jsonl and, for instructions, prompts.jsonl."""

    read: Read | None = None
    """read data, or"""
    instructions: Instructions | None = None
    """compose instructions and sample answers to them"""
    sample: Sample = Sample(k=8)
    """how the model answers the training instructions"""
    view: Literal[
        "auto",
        "sft",
        "pairs",
        "rankings",
        "labels",
        "spans",
        "judgments",
        "edits",
        "negatives",
        "teacher",
        "demonstrations",
        "renderings",
        "degrees",
        "votes",
    ] = "auto"
    """what each row becomes; auto is what the recipe's objective needs, pairs where there is none"""
    typos: float = Field(0.3, ge=0, le=1)
    """view renderings: rows without an easier rendering get a harder one, with typing errors in this share of words"""
    strike_out: bool = False
    """view spans: a single response gets a second, better one, which is itself without the sentences judged false"""
    pairs: Pairs = Pairs()
    """how answers are paired"""
    held_out: float | int = Field(0.1, ge=0)
    """share (below 1) or number of prompts kept for measuring, when data is read"""

    @model_validator(mode="after")
    def _one_source(self) -> Curate:
        if (self.read is None) == (self.instructions is None):
            raise ValueError("curate needs either read or instructions, not both and not neither")
        return self

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Curate:
        """An option that this recipe would not use is refused, unless it stands at its default."""
        uses = {
            "sample": self.instructions is not None or self.view == "negatives",
            "held_out": self.read is not None,
            "pairs": self.view in ("pairs", "votes"),
            "typos": self.view == "renderings",
            "strike_out": self.view == "spans",
        }
        fields = type(self).model_fields
        idle = [k for k, used in uses.items() if not used and getattr(self, k) != fields[k].get_default()]
        if self.view == "auto":  # the objective will say; this is looked at again then
            idle = [k for k in idle if k == "held_out"]
        if idle:
            why = {
                "sample": "nothing is sampled where data is read",
                "held_out": "instructions.held_out says how many instructions are held out",
                "pairs": f"the view is {self.view}",
                "typos": f"the view is {self.view}, not renderings",
                "strike_out": f"the view is {self.view}, not spans",
            }
            raise ValueError(f"{idle[0]} would do nothing here: {why[idle[0]]}; leave it out")
        return self

    def files(self) -> tuple[str, ...]:
        return (self.read.path,) if self.read else ()


@register("step", "curate", source="ours", config=Curate)
def curate(context: Context, cfg: Curate) -> str:
    """Read or synthesize the data, shape it for the objective, hold some out, and say what was left out."""
    train, held_out, notes = _from_file(context, cfg) if cfg.read else _from_instructions(context, cfg)
    seed = context.seed
    kept, held = _shaped(train, cfg, notes, seed), _shaped(held_out, cfg, notes, seed) if held_out else []
    if cfg.view == "negatives":
        kept, held = (
            own_answers(context, rows, cfg.sample, name) for rows, name in ((kept, "own"), (held, "own_held_out"))
        )
    if not kept:
        raise DataError(
            f"no {cfg.view} could be made: {_reasons(notes)}. Sample more answers (sample.k) or other data."
        )
    write_jsonl(kept, context.folder / "train.jsonl")
    write_jsonl(held, context.folder / "held_out.jsonl")
    notes |= {"train": len(kept), "held_out": len(held)}
    if "rows" in notes:
        notes["kept"] = len(kept) + len(held)
    _look(context, cfg, kept, held, notes)
    (context.folder / "data.json").write_text(json.dumps(notes, indent=2, ensure_ascii=False))
    what = cfg.view if cfg.view in ("pairs", "rankings", "edits") else "rows"
    return f"{len(kept)} {what} to learn from, {len(held)} held out"


def _from_file(context: Context, cfg: Curate) -> tuple[list[Example], list[Example], dict[str, Any]]:
    assert cfg.read is not None
    limit = cfg.read.limit if cfg.read.max_words is None else None
    found = read(context.recipe.path(cfg.read.path), format=cfg.read.format, split=cfg.read.split, limit=limit)
    for line in found.report().splitlines()[1:]:
        context.say("data", line)
    short = by_length(found.examples, max_prompt=cfg.read.max_words, max_response=cfg.read.max_words)
    rows = short.examples[: cfg.read.limit]
    share = cfg.held_out if isinstance(cfg.held_out, int) or cfg.held_out < 1 else int(cfg.held_out)
    if not rows:
        raise DataError(f"every row of {cfg.read.path} has more than {cfg.read.max_words} words. Raise max_words.")
    train, held = split(rows, share, context.seed) if share else (rows, [])
    bad = [{"row": b.row, "reason": b.reason, "fix": b.fix} for b in found.bad]
    return (
        train,
        held,
        {
            "source": cfg.read.path,
            "format": found.format,
            "rows": found.rows,
            "bad": bad,
            "left_out": [row.reason for row in short.left_out],
        },
    )


def _from_instructions(context: Context, cfg: Curate) -> tuple[list[Example], list[Example], dict[str, Any]]:
    assert cfg.instructions is not None
    ask = cfg.instructions

    def made(n: int, topics: str, seed: int) -> list[Example]:
        return build(n, seed=seed, topics=topics, constraints=ask.constraints, max_constraints=ask.max_constraints)

    train = made(ask.train, "train", context.seed)
    held = made(ask.held_out, "held_out", context.seed)
    write_jsonl(held, context.folder / "prompts.jsonl")
    answered = sample_resumably(context, train, cfg.sample, "train", "answering training instructions")
    before = sample_resumably(context, held, cfg.sample, "before", "answering held-out instructions, before")
    train, before = score(answered, VerifiableReward()), score(before, VerifiableReward())
    passed = sum(r.score == 1 for e in train for r in e.responses) / sum(len(e.responses) for e in train)
    context.say("data", f"{passed:.0%} of the model's own answers to the training instructions meet every constraint")
    return train, before, {"source": "verifiable instructions", "bad": [], "left_out": []}


def _shaped(examples: Sequence[Example], cfg: Curate, notes: dict[str, Any], seed: int) -> list[Example]:
    """The rows an objective can use; what is left out is counted in `notes` with its reason."""
    if cfg.view in ("pairs", "votes"):
        kept, left = views.pairs(
            examples, how=cfg.pairs.how, min_gap=cfg.pairs.min_gap, max_per_prompt=cfg.pairs.max_per_prompt
        )
    elif cfg.view == "negatives":
        kept, left = negatives.view(examples)
    elif cfg.view == "renderings":
        kept, left = renderings.view(examples, cfg.typos, seed)
    elif cfg.view == "degrees":
        kept, left = degrees.view(examples)
    else:
        options = {"plain": True} if cfg.view == "judgments" else {}
        name = {"teacher": "sft", "demonstrations": "sft"}.get(cfg.view, cfg.view)
        kept, left = views.view(name, examples, **options)
        if cfg.view == "spans" and cfg.strike_out:
            kept, more = struck_out(kept)
            left = [*left, *more]
    notes["left_out"] += [row.reason for row in left]
    return kept


def own_answers(context: Context, rows: Sequence[Example], cfg: Sample, name: str) -> list[Example]:
    """The rows of `negatives.view`, those without the model's own answers with `cfg.k` freshly drawn ones."""
    lacking = [e.with_responses(()) for e in rows if not any(r.tokens is not None for r in e.responses)]
    drawn = sample_resumably(context, lacking, cfg, name, "answering the prompts of bad answers") if lacking else []
    fresh = {e.id: e.responses for e in drawn}
    return [e.with_responses([*e.responses, *fresh.get(e.id, ())]) for e in rows]


def _look(
    context: Context, cfg: Curate, kept: Sequence[Example], held: Sequence[Example], notes: dict[str, Any]
) -> None:
    """Length bias and leakage: the two quiet ways for data to teach something else."""
    if cfg.view == "pairs":
        bias = length_bias(kept)
        notes["length_bias"] = (
            f"the chosen answer is the longer one in {bias.value:.0%} of the pairs ({bias.low:.0%} to {bias.high:.0%})"
        )
        if bias.low > 0.55 or bias.high < 0.45:
            longer = "longer" if bias.value > 0.5 else "shorter"
            context.say(
                "warning",
                f"in {bias.value if bias.value > 0.5 else 1 - bias.value:.0%} of the pairs the chosen answer is the {longer} "
                f"one, so length alone can be learnt. Watch the length reading.",
            )
    twins = leakage(kept, held) if held else []
    notes["leakage"] = len(twins)
    if twins:
        context.say("warning", f"{len(twins)} held-out prompts are nearly the same as a training prompt.")


def _reasons(notes: dict[str, Any]) -> str:
    counts: dict[str, int] = {}
    for reason in notes["left_out"]:
        counts[reason] = counts.get(reason, 0) + 1
    return "; ".join(f"{n} x {r}" for r, n in sorted(counts.items(), key=lambda x: -x[1])[:3]) or "there were no rows"


def read_examples(path: Path) -> list[Example]:
    """Examples as `write_jsonl` wrote them."""
    return [Example.from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line]
