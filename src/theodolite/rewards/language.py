"""Which language a text is written in, from scripts, function words, letters and word pieces; no dependency.

Step 1 counts letters by Unicode script. A script that one language of our list owns (Thai, Tamil, Hangul...)
decides at once. Step 2, for Latin, Cyrillic, Arabic and Devanagari, gives each candidate language

    score = mean over its tokens of  1[token is a function word] / (candidates that share it)
                                   + 0.5 * 1[token has a letter of its own] + 0.15 * 1[token has a typical piece]

and answers the best one when it is high and clear enough, else None. The profiles (language_profiles.json) are
written by us.

Limits: below about five words the answer is often None; close relatives outside the list (Norwegian, Belarusian,
Serbian, Malay, Catalan) are answered with their neighbour; romanised Hindi or Arabic is not recognised; a mixed
text gets its largest part's language. It replaces the `langdetect` of the official IFEval scorer, which is
stochastic on short texts and poor on all-capitals text; we fold case first.
"""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections import Counter
from importlib import resources
from typing import NamedTuple

_SCRIPTS: dict[str, tuple[tuple[int, int], ...]] = {
    "latin": ((0x41, 0x5A), (0x61, 0x7A), (0xAA, 0xAA), (0xBA, 0xBA), (0xC0, 0x24F), (0x1E00, 0x1EFF)),
    "greek": ((0x370, 0x3FF), (0x1F00, 0x1FFF)),
    "cyrillic": ((0x400, 0x52F),),
    "hebrew": ((0x590, 0x5FF),),
    "arabic": ((0x600, 0x6FF), (0x750, 0x77F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF)),
    "devanagari": ((0x900, 0x97F),),
    "bengali": ((0x980, 0x9FF),),
    "gurmukhi": ((0xA00, 0xA7F),),
    "gujarati": ((0xA80, 0xAFF),),
    "tamil": ((0xB80, 0xBFF),),
    "telugu": ((0xC00, 0xC7F),),
    "kannada": ((0xC80, 0xCFF),),
    "malayalam": ((0xD00, 0xD7F),),
    "thai": ((0xE00, 0xE7F),),
    "hangul": ((0x1100, 0x11FF), (0x3130, 0x318F), (0xAC00, 0xD7AF)),
    "kana": ((0x3040, 0x30FF), (0x31F0, 0x31FF)),
    "han": ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF)),
}
_OWNED = {
    "greek": "el",
    "hebrew": "he",
    "bengali": "bn",
    "gurmukhi": "pa",
    "gujarati": "gu",
    "tamil": "ta",
    "telugu": "te",
    "kannada": "kn",
    "malayalam": "ml",
    "thai": "th",
    "hangul": "ko",
}
_OWNED_NAMES = {
    "el": "Greek",
    "he": "Hebrew",
    "bn": "Bengali",
    "pa": "Punjabi",
    "gu": "Gujarati",
    "ta": "Tamil",
    "te": "Telugu",
    "kn": "Kannada",
    "ml": "Malayalam",
    "th": "Thai",
    "ko": "Korean",
    "ja": "Japanese",
    "zh": "Chinese",
}
_LETTER, _PIECE = 0.5, 0.15
_ENOUGH, _CLEAR = 0.12, 1.2
"""The best score must reach _ENOUGH and be _CLEAR times the second."""


class Profile(NamedTuple):
    name: str
    script: str
    words: frozenset[str]
    letters: frozenset[str]
    pieces: re.Pattern[str]


@functools.cache
def profiles() -> dict[str, Profile]:
    """Language code -> profile, for the languages that share a script."""
    text = resources.files(__package__).joinpath("language_profiles.json").read_text(encoding="utf-8")
    return {
        code: Profile(
            name=row["name"],
            script=row["script"],
            words=frozenset(_plain(row["words"]).split()),
            letters=frozenset(_plain(row["letters"])),
            pieces=re.compile("|".join(_plain(row["grams"]).split())),
        )
        for code, row in json.loads(text).items()
    }


@functools.cache
def names() -> dict[str, str]:
    """Language code -> English name, for every language `detect` can answer."""
    return dict(sorted((_OWNED_NAMES | {code: p.name for code, p in profiles().items()}).items()))


def detect(text: str) -> str | None:
    """The ISO 639-1 code of the text's language, or None when there is too little to tell."""
    text = _plain(re.sub(r"https?://\S+", " ", text))
    counts = _letters_by_script(text)
    if not counts:
        return None
    if counts["kana"] and counts["kana"] + counts["han"] >= 0.5 * counts.total():
        return "ja"
    script, _ = counts.most_common(1)[0]
    if script in _OWNED:
        return _OWNED[script]
    if script == "han":
        return "zh"
    return _clear_winner(scores(text, script))


def scores(text: str, script: str) -> dict[str, float]:
    """The score of step 2 for each language of that script; higher is likelier, 0 is no evidence."""
    tokens = [t for t in _tokens(_plain(text)) if script_of(t) == script]
    rivals, sharing = _rivals(script)
    if not tokens:
        return dict.fromkeys(rivals, 0.0)
    return {code: sum(_evidence(t, p, sharing) for t in tokens) / len(tokens) for code, p in rivals.items()}


def script_of(text: str) -> str | None:
    """The script most letters belong to, or None without letters."""
    counts = _letters_by_script(text)
    return counts.most_common(1)[0][0] if counts else None


@functools.cache
def _rivals(script: str) -> tuple[dict[str, Profile], Counter[str]]:
    """The languages of a script, and how many of them have each function word."""
    rivals = {code: p for code, p in profiles().items() if p.script == script}
    return rivals, Counter(word for p in rivals.values() for word in p.words)


def _evidence(token: str, profile: Profile, sharing: Counter[str]) -> float:
    known = 1 / sharing[token] if token in profile.words else 0.0
    letter = _LETTER if not profile.letters.isdisjoint(token) else 0.0
    piece = _PIECE if profile.pieces.search(token) else 0.0
    return known + letter + piece


def _clear_winner(found: dict[str, float]) -> str | None:
    ranked = sorted(found.items(), key=lambda item: -item[1])
    (best, high), (_, second) = ranked[0], ranked[1]
    return best if high >= _ENOUGH and high >= _CLEAR * second else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower()


def _tokens(text: str) -> list[str]:
    """Words with their combining marks; apostrophes and hyphens part words."""
    kept = "".join(c if unicodedata.category(c)[0] in "LM" or c in "¿¡" else " " for c in text)
    return kept.split()


def _letters_by_script(text: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    for character, n in Counter(text).items():
        if unicodedata.category(character)[0] == "L" and (script := _script(ord(character))):
            counts[script] += n
    return counts


@functools.lru_cache(maxsize=4096)
def _script(code: int) -> str | None:
    for script, ranges in _SCRIPTS.items():
        if any(low <= code <= high for low, high in ranges):
            return script
    return None
