"""A look before the run: what is trained on, what it costs, what may be wrong with the data.

Nothing is trained or sampled. The model itself is not loaded, only its config and tokenizer.
"""

from __future__ import annotations

import html as html_
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from theodolite.data import read
from theodolite.data.select import leakage, length_bias, split
from theodolite.data.synthesize.instructions import build
from theodolite.models.adapters import attach_lora
from theodolite.models.chat import end_ids, prompt_ids
from theodolite.models.load import context_length, load_tokenizer
from theodolite.models.locate import resolve
from theodolite.objectives.combine import parse
from theodolite.runs.recipe import Recipe
from theodolite.runs.steps.curate import Curate
from theodolite.runs.steps.measure import Measure
from theodolite.stats import units_needed
from theodolite.training.bundles import prepare
from theodolite.training.config import Align
from theodolite.types import Example, Group


@dataclass(slots=True)
class Token:
    """A piece of text, and whether the loss sees it."""

    text: str
    scored: bool


@dataclass(slots=True)
class Plan:
    """What `theodolite plan` found. `problems` are things to mend; `notes` are things to know."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    preview: list[tuple[str, list[Token]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        preview = [{"title": t, "tokens": [[k.text, k.scored] for k in tokens]} for t, tokens in self.preview]
        return {
            "name": self.name,
            "facts": self.facts,
            "preview": preview,
            "notes": self.notes,
            "problems": self.problems,
        }


def make_plan(recipe: Recipe, *, effect: float = 0.1, calm: Callable[[], None] = lambda: None) -> Plan:
    """Everything that can be known beforehand."""
    calm()
    from transformers import AutoConfig, AutoModelForCausalLM

    made = Plan(recipe.head.name)
    path = resolve(recipe.head.model.name)
    tokenizer = load_tokenizer(path, recipe.head.model)
    config = AutoConfig.from_pretrained(path, trust_remote_code=recipe.head.model.trust_remote_code)
    import torch

    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    size = sum(p.numel() for p in skeleton.parameters())
    made.facts |= {"model": recipe.head.model.name, "parameters": size, "seed": recipe.head.seed}
    _template(made, tokenizer)
    curate = next((s.config for s in recipe.steps if isinstance(s.config, Curate)), None)
    align = next((s.config for s in recipe.steps if isinstance(s.config, Align)), None)
    measure = next((s.config for s in recipe.steps if isinstance(s.config, Measure)), None)
    limit = recipe.head.model.max_length or context_length(_Configured(config))
    groups = _data(made, recipe, curate, align, tokenizer, limit) if curate else []
    if align is not None:
        _cost(made, align, groups, skeleton)
    if measure is not None and curate is not None:
        _power(made, curate, measure, effect)
    return made


@dataclass(slots=True)
class _Configured:
    config: Any


def _template(made: Plan, tokenizer: Any) -> None:
    """Do a turn's begin and end tokens stand where they should, once?"""
    example = Example.of("Hello.", "Good day.")
    prompt = prompt_ids(tokenizer, example.prompt)
    ends = end_ids(tokenizer)
    group = prepare([example], "sft", tokenizer, max_length=1 << 20).bundles[0][0]
    if group.responses[0][-1] not in ends:
        made.problems.append("a response does not end with an end-of-turn token, so the model would not learn to stop.")
    if len(prompt) > 1 and prompt[0] == prompt[1] == tokenizer.bos_token_id:
        made.problems.append(
            "the prompt begins with two begin-of-text tokens; the chat template and the tokenizer both add one."
        )
    made.facts["ends a turn"] = tokenizer.decode(group.responses[0][-1:])


def _data(made: Plan, recipe: Recipe, curate: Curate, align: Align | None, tokenizer: Any, limit: int) -> list[Group]:
    if curate.instructions is not None:
        ask = curate.instructions
        train, held = (
            build(n, seed=recipe.head.seed, topics=t, constraints=ask.constraints, max_constraints=ask.max_constraints)
            for n, t in ((ask.train, "train"), (ask.held_out, "held_out"))
        )
        answers = (ask.train + ask.held_out) * curate.sample.k
        made.facts |= {
            "instructions": len(train),
            "held-out instructions": len(held),
            "answers to sample first": answers,
        }
        made.notes.append(f"an instruction, for example: {train[0].question}")
        _twins(made, train, held)
        return []
    assert curate.read is not None
    found = read(
        recipe.path(curate.read.path), format=curate.read.format, split=curate.read.split, limit=curate.read.limit
    )
    made.facts |= {"rows": found.rows, "usable rows": len(found.examples), "format": found.format}
    made.notes += found.report().splitlines()
    train, held = split(found.examples, curate.held_out, recipe.head.seed) if curate.held_out else (found.examples, [])
    made.facts |= {"to learn from": len(train), "held out": len(held)}
    _twins(made, train, held)
    if align is None:
        return []
    objective = parse(align.objective)
    kind = objective.data
    if kind == "pairs":
        bias = length_bias(train)
        made.notes.append(
            f"length bias: in {bias.value:.0%} of the pairs the chosen answer is longer ({bias.low:.0%} to {bias.high:.0%})"
        )
    ready = prepare(train, kind, tokenizer, max_length=align.max_length or limit, roles=objective.roles)
    groups = [g for bundle in ready.bundles for g in bundle]
    made.problems += [f"{len(ready.dropped)} rows will be left out: {ready.dropped[0]}"] if ready.dropped else []
    names = ("chosen", "rejected") if kind == "pairs" else [f"response {i + 1}" for i in range(len(groups[0]))]
    for number, name in enumerate(names[:2]):
        made.preview.append((f"row 1, {name}", preview(tokenizer, groups[0], number)))
    return groups


def preview(tokenizer: Any, group: Group, number: int) -> list[Token]:
    """The prompt and one response token by token, with the loss mask."""
    weights = group.weights[number] if group.weights else (1.0,) * len(group.responses[number])
    scored = [False] * len(group.prompt) + [w != 0 for w in weights]
    ids = [*group.prompt, *group.responses[number]]
    return [Token(tokenizer.decode([i]), s) for i, s in zip(ids, scored)]


def _twins(made: Plan, train: Sequence[Example], held: Sequence[Example]) -> None:
    twins = leakage(train, held) if held else []
    if twins:
        i, j, how = twins[0][:3]
        made.problems.append(
            f"{len(twins)} held-out prompts are nearly in the training data (row {j + 1} is {how:.0%} like training row {i + 1})."
        )
    else:
        made.notes.append("no held-out prompt is nearly the same as a training prompt")


def _cost(made: Plan, align: Align, groups: Sequence[Group], skeleton: Any) -> None:
    """Memory of one pack and time of all of them; the time assumes 60 % of this machine's matmul peak."""
    size = sum(p.numel() for p in skeleton.parameters())
    shape = skeleton.config.get_text_config()
    trained = size
    if align.lora is not None:
        adapted = attach_lora(skeleton, align.lora)
        trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    made.facts["trained parameters"] = trained
    tokens = sum(g.tokens for g in groups)
    if tokens:
        per_step = align.batch * align.accumulate
        steps = align.max_steps or math.ceil(math.ceil(len(groups) / per_step) * align.epochs)
        seen = tokens * (steps * per_step / len(groups) if align.max_steps else align.epochs)
        flops = (4 if align.lora else 6) * size * seen + (2 * size * tokens if parse(align.objective).reference else 0)
        made.facts |= {"optimizer steps": steps, "tokens in one pass over the data": tokens}
        made.facts["training time (about)"] = f"{max(1, round(flops / matmul_peak() / 0.6 / 60))} min on this machine"
    longest = max((g.tokens for g in groups), default=align.token_budget)
    pack = max(align.token_budget, longest)
    inner = getattr(shape, "intermediate_size", None) or 4 * shape.hidden_size
    activations = 4 * pack * shape.num_hidden_layers * (6 * shape.hidden_size + 2.5 * inner)
    if align.gradient_checkpointing:
        activations = 4 * pack * (shape.num_hidden_layers * shape.hidden_size + 6 * shape.hidden_size + 2.5 * inner)
    made.facts["memory (about)"] = f"{(4 * size + 12 * trained + activations) / 1e9 + 0.5:.1f} GB"
    if longest > align.token_budget:
        made.notes.append(
            f"the longest group has {longest} tokens, more than token_budget {align.token_budget}: it gets a pass of its own"
        )


def matmul_peak(seconds: float = 0.5) -> float:
    """FLOPs a second that a large float32 matrix product reaches here, now."""
    import time

    import torch

    x = torch.randn(1024, 1024)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        x @ x
        done += 1
    return done * 2 * 1024**3 / (time.perf_counter() - start)


ANSWERS_AGREE, SIDES_AGREE = 0.4, 0.3
"""Correlations the sample size assumes: of two answers to one prompt, and of a prompt's rate before and after."""


def _power(made: Plan, curate: Curate, measure: Measure, effect: float) -> None:
    """Prompts it takes to see a difference `effect` in a rate near one half: paired, 80 % power.

    sd of a prompt's difference = sqrt(2 * 1/4 * (c + (1 - c)/k) * (1 - s)), with c and s the two constants above.
    """
    if curate.instructions is None:
        return
    k = measure.sample.k
    sd = math.sqrt(0.5 * (ANSWERS_AGREE + (1 - ANSWERS_AGREE) / k) * (1 - SIDES_AGREE))
    needed, have = units_needed(effect, sd, measure.level), curate.instructions.held_out
    line = (
        f"to see a difference of {100 * effect:.0f} points in a rate takes about {needed} held-out prompts with "
        f"{k} answers each (paired, 80 % power); the recipe has {have}"
    )
    (made.notes if have >= needed else made.problems).append(line)


def show(made: Plan) -> None:
    """The plan in the terminal, scored tokens coloured."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(f"plan of {made.name}\n", style="bold")
    for key, value in made.facts.items():
        console.print(f"  {key:32} {value:,}" if isinstance(value, int) else f"  {key:32} {value}")
    for title, tokens in made.preview:
        console.print(f"\n{title}: the loss sees the coloured part", style="dim")
        text = Text()
        for token in tokens:
            text.append(token.text, style="black on green" if token.scored else "dim")
        console.print(text)
    console.print()
    for note in made.notes:
        console.print(f"  · {note}")
    for problem in made.problems:
        console.print(f"  ! {problem}", style="yellow")
    if not made.problems:
        console.print("  ✓ no problem found", style="green")


def page(made: Plan) -> str:
    """The plan as one HTML file without scripts."""
    rows = "".join(f"<tr><th>{html_.escape(k)}</th><td>{html_.escape(str(v))}</td></tr>" for k, v in made.facts.items())
    shown = "".join(
        f"<h2>{html_.escape(title)}</h2><p class=mask>"
        + "".join(f"<{tag}>{html_.escape(t.text)}</{tag}>" for t in tokens for tag in ["mark" if t.scored else "span"])
        + "</p>"
        for title, tokens in made.preview
    )
    notes = "".join(f"<li>{html_.escape(n)}</li>" for n in made.notes)
    problems = "".join(f"<li><strong>{html_.escape(p)}</strong></li>" for p in made.problems) or "<li>none found</li>"
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem}"
        "th{text-align:left;font-weight:400;padding-right:2rem;opacity:.75}"
        ".mask{white-space:pre-wrap;font:14px/1.6 ui-monospace,monospace}mark{background:#2e8b5755;color:inherit}"
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Plan of {html_.escape(made.name)}</title><style>{style}</style><h1>Plan of {html_.escape(made.name)}</h1>"
        f"<table>{rows}</table>{shown}<h2>To know</h2><ul>{notes}</ul><h2>Problems</h2><ul>{problems}</ul></html>"
    )
