"""Our own JSONL: Examples as `write_jsonl` wrote them."""

from __future__ import annotations

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
    except (KeyError, TypeError, AttributeError) as error:
        raise RowError(f"not an Example as we write it ({error})", "write rows with Example.to_json") from None
    if not made.prompt:
        raise RowError("there is no prompt", "give at least one message")
    if bad := next((r for r in made.responses if not isinstance(r.text, str)), None):
        raise RowError(f"a response's text is a {type(bad.text).__name__}", "write it as a string")
    return made
