"""Our own JSONL: Examples as `write_jsonl` wrote them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from theodolite.data.readers._row import Row, RowError
from theodolite.registry import register
from theodolite.types import Example


@register(
    "reader",
    "example",
    source="ours: theodolite.types.Example.to_json",
    columns=("prompt=messages responses=list meta=object",),
)
def own(row: Row) -> Example:
    """An Example as it was written; nothing is judged again, so a sampler's empty answer stays.

    {"id": "1", "prompt": [{"role": "user", "content": "Hi"}], "responses": [{"text": "Hello", "score": 1}], "meta": {}}
    """
    try:
        made = Example.from_json(row)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RowError(f"not an Example as we write it ({error!r})", "write rows with Example.to_json") from None
    if not made.prompt:
        raise RowError("there is no prompt", "give at least one message")
    if wrong := next(_wrong(made), None):
        raise RowError(f"not an Example as we write it: {wrong}", "write rows with Example.to_json")
    return made


def _wrong(e: Any) -> Iterator[str]:
    """What in an Example is of the wrong type; dataclasses do not look."""
    if not isinstance(e.id, str) or not isinstance(e.meta, Mapping):
        yield "id must be a text and meta an object"
    for i, m in enumerate(e.prompt):
        if not isinstance(m.role, str) or not isinstance(m.content, str):
            yield f"message {i} must have texts as role and content"
    for i, r in enumerate(e.responses):
        if not isinstance(r.text, str):
            yield f"the text of response {i} is a {type(r.text).__name__}"
        if r.score is not None and (isinstance(r.score, bool) or not isinstance(r.score, int | float)):
            yield f"the score of response {i} is a {type(r.score).__name__}"
        if r.label is not None and not isinstance(r.label, bool):
            yield f"the label of response {i} is {r.label!r}"
        if bad := next((s for s in r.spans if not _inside(s, r.text)), None):
            yield f"response {i} has a span {bad.start}:{bad.end} that is no place in its text"


def _inside(span: Any, text: str) -> bool:
    ends = (span.start, span.end)
    return all(isinstance(x, int) for x in ends) and 0 <= span.start <= span.end <= len(text)
