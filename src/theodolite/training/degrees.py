"""SPO's degrees (arXiv:2409.17791; details ours): an answer, and the same answer with more and more key words removed.

Key words are those of the highest tf-idf, a document being an answer: count in the answer times log(N / documents
with the word). The share removed is of the answer's words; ties go to the earlier word.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from theodolite.data import views
from theodolite.data.views import LeftOut, View
from theodolite.errors import DataError
from theodolite.models.chat import group_of
from theodolite.types import Example, Group, Response, Role

SHARES = (0.0, 0.25, 0.5, 0.75)
"""share of the words removed at degree 0, 1, 2, 3"""
_WORD = re.compile(r"\w+", re.UNICODE)


def view(examples: Sequence[Example]) -> View:
    """Pairs, each with four copies of the chosen answer that have lost 0, 1/4, 1/2 and 3/4 of their words."""
    found, out = views.pairs(examples, "best_worst")
    rare = rarity([r.text for e in found for r in e.responses])
    kept = []
    for e in found:
        text = e.responses[0].text
        if len(_WORD.findall(text)) < 4:
            out.append(LeftOut(e.id, "a chosen answer of fewer than four words, from which no quarter can be removed"))
            continue
        copies = [Response(removed(text, share, rare), meta={"degree": d}) for d, share in enumerate(SHARES)]
        kept.append(e.with_responses([*e.responses, *copies]))
    return View(kept, out)


def rarity(texts: Sequence[str]) -> dict[str, float]:
    """word -> log(N / number of texts that hold it)."""
    held = Counter(w for t in texts for w in set(_WORD.findall(t.lower())))
    return {w: math.log(len(texts) / n) for w, n in held.items()}


def removed(text: str, share: float, rare: Mapping[str, float]) -> str:
    """`text` without the `share` of its words that weigh most."""
    words = list(_WORD.finditer(text))
    count = Counter(m[0].lower() for m in words)
    weight = [count[m[0].lower()] * rare.get(m[0].lower(), 0.0) for m in words]
    gone = set(sorted(range(len(words)), key=lambda i: (-weight[i], i))[: round(share * len(words))])
    pieces, at = [], 0
    for i, m in enumerate(words):
        if i in gone:
            pieces.append(text[at : m.start()])
            at = m.end()
    return re.sub(r"[ \t]{2,}", " ", "".join([*pieces, text[at:]])).strip()


def bundle(example: Example, tokenizer: Any, max_length: int) -> tuple[Group, ...]:
    """The pair and the answers with a degree, which is their score."""
    plain = [r for r in example.responses if "degree" not in r.meta]
    marked = [r for r in example.responses if "degree" in r.meta]
    if len(plain) != 2 or not marked:
        raise DataError(f"example '{example.id}' needs a pair, and answers with a degree of removal in their meta.")
    roles = (Role.CHOSEN, Role.REJECTED, *[Role.OTHER] * len(marked))
    group = group_of(example.with_responses([*plain, *marked]), tokenizer, max_length=max_length, roles=roles)
    if group.responses[0] == group.responses[1]:
        raise DataError(f"example '{example.id}' has equal chosen and rejected responses, which teach nothing.")
    return (replace(group, scores=(math.nan, math.nan, *(float(r.meta["degree"]) for r in marked))),)
