"""Several answers to one prompt with scores or ranks; UltraFeedback's completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from theodolite.data.readers._row import (
    Row,
    RowError,
    check_text,
    distinct,
    example,
    number,
    present,
    prompt_of,
    text,
    unpack,
)
from theodolite.data.readers._row import value as value_of
from theodolite.registry import register
from theodolite.types import Example, Response

_TEXT = ("response", "text", "content", "completion", "answer", "output")
_SCORE = ("overall_score", "score", "fine-grained_score", "rating", "reward")
_PROMPT = ("prompt", "instruction", "question", "query")


@register(
    "reader",
    "scored",
    source="arXiv:2310.01377 (UltraFeedback); ranked answers as in Nectar",
    columns=(
        "prompt|instruction|question|query responses|completions|answers=list",
        "prompt|instruction|question|query responses|completions|answers=list scores|ranks=list",
        "prompt|instruction|question|query completion|response|answer|output score|rating",
    ),
)
def scored(row: Row) -> Example:
    """A prompt and K answers, with `scores` (higher is better) or `ranks` (lower is better) beside or inside them.

    {"prompt": "Name a colour.", "responses": ["Blue.", "Seven."], "scores": [4.5, 1]}
    {"instruction": "...", "completions": [{"response": "...", "overall_score": 7.5, "model": "a"}, ...]}

    A rank r becomes the score -r. Answers without any score are kept without. One answer with one score is fine too.
    """
    name = present(row, "responses", "completions", "answers")
    prompt = prompt_of(row, *_PROMPT)
    used = ("responses", "completions", "answers", "scores", "ranks", "score", "rating", *_PROMPT, *_TEXT)
    if name is None:
        single = Response(text(row, *_TEXT), score=number(value_of(row, "score", "rating"), "score"))
        return example(row, prompt, (single,), used)
    found = unpack(row[name])
    if not isinstance(found, list) or not found:
        raise RowError(
            f"'{name}' is not a list of answers", "give a list of texts, or of objects with a text and a score"
        )
    responses = [_response(r, f"{name}[{i}]") for i, r in enumerate(found)]
    if len(responses) > 1:
        distinct(*(r.text for r in responses))
    beside = _beside(row, len(responses))
    if beside is not None:
        responses = [Response(r.text, score=s, source=r.source, meta=r.meta) for r, s in zip(responses, beside)]
    return example(row, prompt, responses, used)


def _beside(row: Row, k: int) -> list[float] | None:
    """Scores from the columns `scores` or `ranks`, which must be as many as the answers."""
    name = present(row, "scores", "ranks")
    if name is None:
        return None
    found = unpack(row[name])
    if not isinstance(found, list) or len(found) != k:
        n = len(found) if isinstance(found, list) else "no list of"
        raise RowError(f"{n} {name} for {k} answers", f"give one of the {name} to each answer")
    sign = 1.0 if name == "scores" else -1.0
    return [sign * number(x, name) for x in found]


def _response(found: Any, what: str) -> Response:
    if not isinstance(found, Mapping):
        return Response(check_text(found, what))
    name = present(found, *_TEXT)
    if name is None:
        raise RowError(
            f"'{what}' has no text (it has: {', '.join(map(str, found))})", f"name it one of {', '.join(_TEXT)}"
        )
    score = present(found, *_SCORE)
    rank = present(found, "rank")
    made = (
        number(found[score], f"{what}.{score}") if score else -number(found["rank"], f"{what}.rank") if rank else None
    )
    source = present(found, "model", "source")
    aspects = {k: r for k, v in _annotations(found).items() if (r := _rating(v)) is not None}
    return Response(
        check_text(found[name], what),
        score=made,
        source=str(found[source]) if source else None,
        judgment=found["critique"] if isinstance(found.get("critique"), str) and found["critique"].strip() else None,
        meta={"aspects": aspects} if aspects else {},
    )


def _annotations(found: Mapping[str, Any]) -> Mapping[str, Any]:
    notes = found.get("annotations")
    return notes if isinstance(notes, Mapping) else {}


def _rating(note: Any) -> float | None:
    """UltraFeedback's rating of one aspect: {'Rating': '4', ...}; 'N/A' is no rating."""
    try:
        return float(note["Rating"])
    except (KeyError, TypeError, ValueError):
        return None
