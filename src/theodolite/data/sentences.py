"""Sentences with their places in the text: [(start, end), ...], in characters, white space left out.

Rules, not a model: a sentence ends at . ! ? … (with closing quotes and brackets) before white space and something
that may begin a sentence, at 。！？ anywhere, and at a line break that ends a paragraph or begins a list item.
It does not end after a known abbreviation, an initial, or the number of a list item. What it does not do: languages
without these marks (Thai), or an abbreviation that is not listed and stands before a capital.
"""

from __future__ import annotations

import re

_END = re.compile(r"[.!?…]+[\"'”’»)\]*_]*(?=\s)|[。！？]+[”’」』）]*|\n(?=\s*\n|\s*(?:[-*•#]|\d+[.)])\s)|\n\s*\n")
_ABBREVIATIONS = {
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "e.g", "i.e", "cf", "al", "fig", "no", "vol",
    "pp", "ca", "inc", "ltd", "co", "corp", "dept", "gov", "sen", "rep", "gen", "col", "lt", "sgt", "capt", "rev",
    "hon", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "a.m", "p.m", "u.s",
    "u.k", "u.n", "ph.d", "approx", "est",
}  # fmt: skip
_MAY_START = re.compile(r"\s*[\"'“‘«(\[*_#•¿¡-]*(?:[^\W\d_a-zß-öø-ÿ]|\d)|\s*\n")


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, in order; `text[start:end]` has no white space around it.

    >>> sentences("Dr. Low left. She is 3.5 m up!  Why?")
    [(0, 13), (14, 30), (32, 36)]
    """
    cuts = [m.end() for m in _END.finditer(text) if _ends(text, m)]
    bounds = zip([0, *cuts], [*cuts, len(text)])
    return [span for a, b in bounds if (span := _trim(text, a, b)) is not None]


def _ends(text: str, mark: re.Match[str]) -> bool:
    if mark[0][0] in "。！？\n":
        return True
    if not _MAY_START.match(text, mark.end()):
        return False
    return not (mark[0] == "." and _is_short(text, mark.start()))


def _is_short(text: str, at: int) -> bool:
    """Does the full stop at `at` belong to an abbreviation, an initial or a list number?"""
    start = max(text.rfind(c, 0, at) for c in " \n\t(\"'“") + 1
    word = text[start:at]
    if word.isdigit() and len(word) <= 3:
        line = text.rfind("\n", 0, at) + 1
        return not text[line:start].strip(" \t-*#>")  # '12. Stir.' begins a line
    return word.lower() in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word.isupper() and word != "I")


def _trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
