"""Bad answers, each to be held against the model's own answers to the same prompt (D2O)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from theodolite.data.views import LeftOut, View, known_scores
from theodolite.types import Example, Response


def view(examples: Sequence[Example]) -> View:
    """One bad response an Example, labelled so, and those that carry the ids a sampler drew.

    Bad is what is labelled bad, else the lowest of at least two different scores (of equals the first).
    """
    kept, out = [], []
    for e in examples:
        bad = _bad(e)
        if bad is None:
            out.append(LeftOut(e.id, "no response that is labelled bad or scored below another"))
        else:
            own = [r for r in e.responses if r.tokens is not None and r is not bad]
            kept.append(e.with_responses([replace(bad, label=False), *own]))
    return View(kept, out)


def _bad(e: Example) -> Response | None:
    marked = next((r for r in e.responses if r.label is False and r.text.strip()), None)
    if marked is not None:
        return marked
    scored = [(s, r) for s, r in zip(known_scores(e), e.responses) if s is not None and r.text.strip()]
    if len({s for s, _ in scored}) < 2:
        return None
    return min(scored, key=lambda x: x[0])[1]
