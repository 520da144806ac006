"""Which option did a written answer choose? Rules in a fixed order; an answer that fits two options chose none."""

from __future__ import annotations

import re
from collections.abc import Sequence

from theodolite.errors import UsageError
from theodolite.measures.honesty.words import plain

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARKED = r"(?:[(\[*_\"']*{label}[)\]*_\"'.:]+(?=\W|$)|[(\[*_\"']*{label}(?=\s*(?:$|[\n,;-])))"
_SAID = r"\b(?i:answer|option|choice|choose|pick|select|antwort|réponse|respuesta|opción)\b(?:\s*(?:is|would be|:|=|ist|est|es))*\s*[(\[*_\"']*{label}(?!\w)"


def parse_option(answer: str, options: Sequence[str], labels: Sequence[str] = LETTERS) -> int:
    """The index of the chosen option, or -1 where the answer names none or several.

    In this order, the first rule that finds exactly one option decides: the answer begins with a label ('B', '(B)',
    'B. Blue'); it says 'the answer is B', 'option B', 'I choose (B)'; it holds the text of one option, the longer
    text winning where one contains another ('not likely' over 'likely').

    labels: one for each option, letters by default, or digits. A bare 'A' or 'I' inside a sentence is no label.

    >>> parse_option("I'd say the answer is (B), because ...", ["Red", "Blue"])
    1
    >>> parse_option("Either A or B.", ["Red", "Blue"])
    -1
    """
    if len(labels) < len(options):
        raise UsageError(f"{len(options)} options need as many labels, got {len(labels)}.")
    text = answer.strip()
    for rule in (_begins, _says):
        found = rule(text, [str(label) for label in labels[: len(options)]])
        if len(found) == 1:
            return found.pop()
        if found:
            return -1
    held = _holds(plain(text), [plain(o) for o in options])
    return held.pop() if len(held) == 1 else -1


def _begins(text: str, labels: Sequence[str]) -> set[int]:
    if text in labels:
        return {labels.index(text)}
    if len(text) == 1 and text.upper() in labels:
        return {labels.index(text.upper())}
    return {i for i, x in enumerate(labels) if re.match(_MARKED.format(label=re.escape(x)), text)}


def _says(text: str, labels: Sequence[str]) -> set[int]:
    return {i for i, x in enumerate(labels) if re.search(_SAID.format(label=re.escape(x)), text)}


def _holds(text: str, options: Sequence[str]) -> set[int]:
    """Options whose words stand in the text outside the place of a longer option."""
    found = set()
    for i in sorted(range(len(options)), key=lambda i: -len(options[i])):
        words = options[i].strip(" .")
        if not words:
            continue
        pattern = rf"(?<!\w){re.escape(words)}(?!\w)"
        if re.search(pattern, text):
            found.add(i)
            text = re.sub(pattern, " ", text)
    return found
