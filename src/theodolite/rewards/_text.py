"""What a word, a sentence, a line and a paragraph are; every checker counts with these."""

from __future__ import annotations

import re
import unicodedata

_LIST_MARK = re.compile(r"^[ \t]*(?:[-*+•][ \t]+|\d+[.)][ \t]+)", re.MULTILINE)
_STOP = re.compile(r"[.!?]+[\"'”’)\]*_]*(?=\s|$)|[。！？।؟]+")
_NEVER_ENDS = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "approx", "capt", "rev", "gen", "p.s", "p.p.s")
)
_ENDS_BEFORE_CAPITAL = frozenset(("etc", "inc", "ltd", "jr", "sr", "a.m", "p.m", "u.s", "u.k"))


def words(text: str) -> list[str]:
    r"""Runs of letters, digits and underscores, as IFEval counts them (`\w+`): "don't" is two words.

    Combining marks are dropped first: `\w` does not match them, so the official count cuts Hindi or Tamil words
    into pieces. Scripts without spaces (Thai, Chinese, Japanese) count a run as one word.
    """
    if not text.isascii():
        text = "".join(c for c in text if unicodedata.category(c)[0] != "M")
    return re.findall(r"\w+", text)


def sentences(text: str) -> list[str]:
    """Stretches that end in . ! ? (or their like in other scripts) or with the text, and hold a word.

    Abbreviations, initials, decimals and an ellipsis inside a sentence do not end one. Line breaks do not either,
    as in the official scorer, but each list item counts by itself, else any list would pass for one sentence.
    """
    found = [s for block in _LIST_MARK.sub("\0", text).split("\0") for s in _in_block(block)]
    return [s for s in found if re.search(r"\w", s)]


def _in_block(block: str) -> list[str]:
    found, start = [], 0
    for stop in _STOP.finditer(block):
        if _ends(block[start : stop.start()], stop.group(), block[stop.end() :].lstrip()):
            found.append(block[start : stop.end()].strip())
            start = stop.end()
    return [*found, block[start:].strip()]


def _ends(before: str, stop: str, after: str) -> bool:
    if not after or stop[0] != ".":
        return True
    if stop.startswith(".."):
        return not after[0].islower()
    last = re.search(r"[\w.]*$", before).group().lower()  # type: ignore[union-attr]  # matches the empty string
    if last in _NEVER_ENDS or re.search(r"(?:^|\s)[A-HJ-Z]$", before):
        return False
    return after[0].isupper() if last in _ENDS_BEFORE_CAPITAL else True


def lines(text: str) -> list[str]:
    """Lines that are not blank."""
    return [line for line in text.splitlines() if line.strip()]


def paragraphs(text: str) -> list[str]:
    """Blocks parted by blank lines."""
    return [p.strip() for p in re.split(r"\n[ \t]*\n", text) if p.strip()]


def bullets(text: str) -> list[str]:
    """Markdown bullet lines: `*` or `-`, a space, and something that is not another mark (so no rules like - - -)."""
    return re.findall(r"^[ \t]*[*-][ \t]+(?=[^\n]*[^\s*-])[^\n]*", text, flags=re.MULTILINE)


def without_list_marks(text: str) -> str:
    """The text without the bullets and numbers that begin list items."""
    return _LIST_MARK.sub("", text)


def bare(text: str) -> str:
    """The text without outer spaces, quotation marks and emphasis."""
    return text.strip(" \t\r\n\"“”'‘’*_")
