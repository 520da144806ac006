"""From what a judge wrote to its verdict. Strict: what cannot be read is None, never a tie and never a number.

The rules, for both kinds of verdict:
- the verdict stands behind a cue ('Verdict:', 'the better answer is', 'Grade:', 'rating of') or in brackets [[...]];
- of several the last one counts, since a critique may speak of verdicts before it gives its own;
- without either, the first and the last line are looked at: a line that is a verdict ('A', '**Answer B**.', '7/10')
  or begins with one ('Answer A is better because ...') counts, if the two lines do not contradict each other;
- a menu that was copied ('A or B', 'A/B', '6-7', or 'Verdict: A' on one line and 'Verdict: B' on the next) is no
  choice, and a grade outside its range is no grade.

Auto-J reads the last decision phrase of a critique (arXiv:2310.05470, codes/usage); so do we, but a failure is None
where its scripts fall back on a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from theodolite.judges.verdict import Winner

_THING = r"(?:answers?|responses?|assistants?|outputs?|options?|candidates?)"
_TIE = r"equally\s+good|equal|tied?|draw|neither|both"
_LETTER = r"(?-i:[AB])|[12]|(?<=[(\[\"'])[ab](?=[)\]\"'])"
_NAME = (
    rf"(?:the\s+|an?\s+(?=tie|draw))?(?:{_THING}\s*)?[\"'(\[]*(?P<word>{_TIE}|first|second|{_LETTER})(?![\w'])"
    rf"[\"')\]]*(?:\s+(?:{_THING}|one)\b)?"
)
_CUE = (
    r"\b(?:(?:final\s+)?(?:verdict|decision|winner|judge?ment)"
    rf"|(?:better|best|preferred|winning)\s+(?:one|{_THING}))\b(?:\s*(?:\bis\b|=|:|-))+\s*"
)
_CUED = re.compile(_CUE + _NAME + r"(?P<rest>[^\n]{0,24})", re.I)
_BRACKETS = re.compile(r"\[\[\s*([^\[\]\n]{1,40}?)\s*\]\]")
_ALONE = re.compile(rf"(?:the\s+|an?\s+(?=tie|draw))?(?:{_THING}\s*)?[\"'(\[]*(?P<word>{_TIE}|first|second|[AB12])"
                    rf"[\"')\]]*(?:\s+(?:{_THING}|one))?", re.I)  # fmt: skip
_ARENA = re.compile(r"([AB])\s*(>{1,2}|={1,2}|<{1,2})\s*([AB])")
_BETTER = re.compile(
    r"(?:(?:overall|therefore|thus|hence|so|in conclusion)\b,?\s+|i\s+(?:think|believe|conclude)\s+(?:that\s+)?)?"
    + _NAME
    + r"\s+(?:is|was)\s+(?:the\s+)?(?:clearly\s+|slightly\s+|much\s+)?(?:better|best|preferred|winner)\b(?P<rest>.*)",
    re.I,
)
_GOES_ON = re.compile(
    r"\s*(?:$|[.,;:!?()\[\]\"'–—-]|(?:is|was|are|were|wins?|because|since|as|over|by|for|due|with)\b)", re.I
)
_MENU = re.compile(rf"[\s,/|&-]*(?:or\b|and\b|vs\b\.?)?[\s\"'(\[]*(?:{_THING}\s*)?(?-i:[AB]|[12])(?![\w'])", re.I)
_TURNS = re.compile(r"\b(?:but|however|although|though|while|whereas|yet)\b", re.I)

_NUMBER = r"(?P<number>[+-]?\d+(?:\.\d+)?)"
_GRADE_CUED = re.compile(
    r"\b(?:grade|rating|score)\b(?:\s*(?:\bis\b|\bof\b|=|:))+\s*[\"'(\[]*" + _NUMBER + r"(?P<rest>[^\n]{0,12})", re.I
)
_GRADE_ALONE = re.compile(_NUMBER + r"(?:\s*(?:/|out\s+of)\s*(?P<top>\d+))?")
_NOT_ONE = re.compile(r"\s*(?:(?:-|–|to\b|or\b|and\b)\s*\d|,\d|%)", re.I)
_OUT_OF = re.compile(r"[\"')\]]*\s*(?:/|out\s+of\b)\s*(\d+)", re.I)


def parse_winner(text: str) -> Winner | None:
    """'A', 'B' or 'tie', or None where the text gives no verdict or more than one.

    `parse_winner("B is longer, but wrong.\\n\\nVerdict: A")` is 'A'; `parse_winner("Verdict: A or B")` is None.
    """
    text = _plain(text)
    found: list[tuple[int, Winner | None]] = [
        (m.start(), inside) for m in _BRACKETS.finditer(text) if (inside := _bracketed(m.group(1)))
    ]
    found += [(m.start(), _cued(m)) for m in _CUED.finditer(text)]
    if found:
        at, winner = max(found, key=lambda f: f[0])
        return None if _menu(text, at) else winner
    said = {w for line in _ends(text) if (w := _line(line)) is not None}
    return said.pop() if len(said) == 1 else None


def parse_grade(text: str, low: float = 1, high: float = 10) -> float | None:
    """The grade, or None: none found, outside low..high, a range ('6-7'), or out of another top ('4/5').

    `parse_grade("Clear and right.\\nGrade: [[8]]")` is 8.0; `parse_grade("Grade: 11")` is None, not 10.
    """
    text = _plain(text)
    found: list[tuple[int, float | None]] = []
    for m in _BRACKETS.finditer(text):
        if (inside := _GRADE_ALONE.fullmatch(m.group(1))) is not None:
            found.append((m.start(), _grade(inside["number"], inside["top"], low, high)))
    for m in _GRADE_CUED.finditer(text):
        top = _OUT_OF.match(m["rest"])
        one = not _NOT_ONE.match(m["rest"])
        found.append((m.start(), _grade(m["number"], top[1] if top else None, low, high) if one else None))
    if found:
        return max(found, key=lambda at: at[0])[1]
    lines = [_GRADE_ALONE.fullmatch(line) for line in _ends(text)]
    said = {_grade(m["number"], m["top"], low, high) for m in lines if m is not None}
    return said.pop() if len(said) == 1 else None


def parse_name(text: str, names: Sequence[str]) -> str | None:
    """The one of `names` that the text says (as a whole word, in any case); None for none or for several."""
    low = text.lower()
    said = [n for n in names if re.search(rf"(?<!\w){re.escape(n.lower())}(?!\w)", low)]
    return said[0] if len(said) == 1 else None


def _plain(text: str) -> str:
    """Without Markdown's emphasis and code marks, which stand in the middle of verdicts."""
    return re.sub(r"[*_`#]+", "", text)


def _ends(text: str) -> list[str]:
    """The first and the last line that say something, without the marks around them."""
    lines = [line for raw in text.splitlines() if (line := raw.strip(" \t.!:\"'"))]
    return [lines[0], lines[-1]] if lines else []


def _menu(text: str, at: int) -> bool:
    """Is the verdict at this place the next line of a list of different verdicts, copied from the request?"""
    before = [line.strip() for line in text[:at].splitlines() if line.strip()]
    here = text[at:].splitlines()[0].strip()
    lines = [_CUED.fullmatch(line) for line in (before[-1] if before else "", here)]
    bare = [_winner(m["word"]) for m in lines if m is not None and not m["rest"].strip(" .!")]
    return len(set(bare)) == 2


def _winner(word: str) -> Winner:
    low = word.lower()
    return "A" if low in ("a", "1", "first") else "B" if low in ("b", "2", "second") else "tie"


def _cued(m: re.Match[str]) -> Winner | None:
    tie = _winner(m["word"]) == "tie"
    if not _GOES_ON.match(m["rest"]) or (not tie and _MENU.match(m["rest"])):
        return None
    return _winner(m["word"])


def _bracketed(inside: str) -> Winner | None:
    """[[A]], [[Answer B]], [[tie]], MT-bench's [[C]] for a tie, Arena's [[A>>B]]; None for anything else."""
    if inside in ("C", "c"):
        return "tie"
    if (m := _ARENA.fullmatch(inside)) is not None and m[1] != m[3]:
        return "tie" if m[2][0] == "=" else _winner(m[1] if m[2][0] == ">" else m[3])
    return _winner(m["word"]) if (m := _ALONE.fullmatch(inside)) is not None else None


def _line(line: str) -> Winner | None:
    if (m := _ALONE.fullmatch(line)) is not None:
        return _winner(m["word"])
    m = _BETTER.fullmatch(line)
    return None if m is None or _TURNS.search(m["rest"]) else _winner(m["word"])


def _grade(number: str, top: str | None, low: float, high: float) -> float | None:
    value = float(number)
    if top is not None and float(top) != high:
        return None
    return value if low <= value <= high else None
