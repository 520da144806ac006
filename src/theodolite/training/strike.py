"""A corrected answer by deletion: the same text without the sentences that were judged false."""

from __future__ import annotations

import re
from collections.abc import Sequence

from theodolite.data.sentences import sentences
from theodolite.data.views import LeftOut, View
from theodolite.types import Example, Response, Span

FALSE = "hallucination"


def struck_out(examples: Sequence[Example]) -> View:
    """Examples of `views.spans`: a single response that has a false and a true sentence gets the struck-out text beside
    it; single responses that have not cannot be paired; Examples of several responses stay as they are."""
    kept, out = [], []
    for e in examples:
        if len(e.responses) != 1:
            kept.append(e)
            continue
        better = without_false(e.responses[0])
        if better is None:
            out.append(LeftOut(e.id, "a single response that does not hold both a true and a false sentence"))
        else:
            kept.append(e.with_responses([better, e.responses[0]]))
    return View(kept, out)


def without_false(response: Response) -> Response | None:
    """The response without its false sentences, every sentence of it judged ok; None where nothing or all would go."""
    false = sorted((s for s in response.spans if s.verdict == FALSE), key=lambda s: s.start)
    pieces, at = [], 0
    for span in false:
        pieces.append(response.text[at : span.start])
        at = span.end
    text = re.sub(r"[ \t]{2,}", " ", "".join([*pieces, response.text[at:]])).strip()
    if not false or not re.search(r"\w", text):
        return None
    return Response(text, score=1.0, spans=tuple(Span(a, b, "ok") for a, b in sentences(text)), source="struck out")
