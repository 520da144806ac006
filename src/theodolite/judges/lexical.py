"""Judges that compare words with known right answers: exact match, contains, word set.

An exact match is always a containment too; contains and word_set differ both ways ('art' is in 'party', 'b a' has the
words of 'a b'). The reference implementation (UMass-Meta-LLM-Eval/llm_eval, evaluator/classic_evaluator.py) is
case-sensitive; here case does not count unless `normaliser: exact` says so, which reproduces it up to the white space
around the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Literal

from theodolite.config import Config
from theodolite.judges.verdict import Answer, Progress, Verdict
from theodolite.registry import register

Normaliser = Literal["exact", "case", "answer"]
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


class Lexical(Config):
    """How texts are made comparable."""

    normaliser: Normaliser = "case"
    """exact: only white space at the ends is dropped; case: nor does case count; answer: nor punctuation and English articles (SQuAD)"""


def normalised(text: str, how: Normaliser) -> str:
    """The text as lexical judges compare it. `normalised(" The  Cat. ", "answer")` is 'cat'."""
    if how == "exact":
        return text.strip()
    text = unicodedata.normalize("NFKC", text).casefold()
    if how == "answer":
        text = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in text)
        text = _ARTICLES.sub(" ", text)
    return " ".join(text.split())


def words(text: str) -> set[str]:
    """The words of a text, punctuation at their ends dropped."""
    return {w for raw in text.split() if (w := raw.strip(".,;:!?\"'()[]{}"))}


class _LexicalJudge:
    """Grades 1 or 0; no reference, no verdict."""

    middle = 0.5
    says: Callable[[str, str], bool]

    def __init__(self, cfg: Lexical | None = None, means: Any = None) -> None:
        self.cfg = cfg or Lexical()

    def grade(self, items: Sequence[Answer], *, progress: Progress | None = None) -> list[Verdict]:
        """1.0 where any reference is met, else 0.0; missing where there is no reference that says anything."""
        out = [self._one(item) for item in items]
        if progress is not None:
            progress(len(items), len(items))
        return out

    def _one(self, item: Answer) -> Verdict:
        known = [r for raw in item.references if (r := normalised(raw, self.cfg.normaliser))]
        if not known:
            return Verdict.missing("no reference answer")
        answer = normalised(item.text, self.cfg.normaliser)
        right = any(type(self).says(answer, reference) for reference in known)
        return Verdict(grade=float(right), probability=float(right), raw=answer)


@register(
    "judge",
    "exact_match",
    source="llm_eval/evaluator/classic_evaluator.py (UMass-Meta-LLM-Eval); case-insensitive here",
    config=Lexical,
    protocol="lexical",
)
class ExactMatch(_LexicalJudge):
    """Is the answer one of the references? Grade 1 or 0."""

    says = staticmethod(lambda answer, reference: answer == reference)


@register(
    "judge",
    "contains",
    source="llm_eval/evaluator/classic_evaluator.py (UMass-Meta-LLM-Eval); case-insensitive here",
    config=Lexical,
    protocol="lexical",
)
class Contains(_LexicalJudge):
    """Is any reference a part of the answer? Grade 1 or 0. 'art' is a part of 'party': letters are compared, not words."""

    says = staticmethod(lambda answer, reference: reference in answer)


@register(
    "judge",
    "word_set",
    source="llm_eval/evaluator/classic_evaluator.py (UMass-Meta-LLM-Eval), word variant",
    config=Lexical,
    protocol="lexical",
)
class WordSet(_LexicalJudge):
    """Do all words of any reference occur in the answer, in any order? Grade 1 or 0."""

    says = staticmethod(lambda answer, reference: bool(words(reference)) and words(reference) <= words(answer))
