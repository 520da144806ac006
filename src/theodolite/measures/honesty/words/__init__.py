"""Word lists of the string classifiers, one JSON file a question, one entry a language. They are ours."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources

from theodolite.errors import UsageError, did_you_mean

Lists = Mapping[str, Sequence[str]]


@functools.cache
def lists(name: str) -> Mapping[str, Lists]:
    """language -> kind -> phrases of `name`.json beside this file."""
    text = resources.files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8")
    found: Mapping[str, Lists] = json.loads(text)
    return found


def phrases(name: str, kind: str, languages: Sequence[str]) -> tuple[str, ...]:
    """All phrases of one kind in these languages; an unknown language is answered with the known ones."""
    known = lists(name)
    for language in languages:
        if language not in known:
            raise UsageError(
                f"there is no '{name}' word list for the language '{language}'.{did_you_mean(language, known)} "
                f"There are: {', '.join(known)}."
            )
    return tuple(p for language in languages for p in known[language][kind])


def plain(text: str) -> str:
    """Lower case, straight quotes, single spaces: what the phrases are compared with."""
    table = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "„": '"', "‑": "-", "–": "-"})
    return " ".join(text.translate(table).lower().split())
