"""Two renderings of one question: a harder one that is trained on, and an easier one that shows how to answer.

The easier rendering stands in the row's meta, as `easier`: a text that replaces the last turn, or a list of messages.
Rows without one can be given a harder rendering instead: the prompt with typing errors, whose easier rendering is
the prompt as it was. (Math-PUMA, arXiv:2408.08640, renders a problem as an image and as text; typing errors are ours.)
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from theodolite.data import views
from theodolite.data.views import LeftOut, View
from theodolite.errors import DataError
from theodolite.models.chat import group_of, prompt_ids
from theodolite.types import Example, Group, Message


@dataclass(frozen=True, slots=True)
class Rendered(Group):
    """A group with a second, easier rendering of its prompt: ids of the same question, ending where the answer begins."""

    easier: tuple[int, ...] = ()

    def eased(self) -> Group:
        """The same answers under the easier rendering."""
        return Group(self.easier, self.responses, self.weights, self.scores, self.labels, self.roles, self.id)


_WORD = re.compile(r"[^\W\d_]{4,}")


def view(examples: Sequence[Example], typos: float, seed: int) -> View:
    """One response an Example, its prompt in the harder rendering and the easier one in meta['easier']."""
    found, out = views.sft(examples)
    kept = []
    for e in found:
        if e.meta.get("easier"):
            kept.append(e)
            continue
        made = _mistyped(e, typos, random.Random(f"{seed} {e.id}"))
        if made is None:
            out.append(LeftOut(e.id, "no easier rendering (meta.easier), and none could be made by typing errors"))
        else:
            kept.append(made)
    return View(kept, out)


def mistyped(text: str, share: float, rng: random.Random) -> str:
    """`text` with two neighbouring inner letters swapped in about `share` of its words of four letters and more."""

    def swap(match: re.Match[str]) -> str:
        word = match[0]
        places = [i for i in range(1, len(word) - 2) if word[i] != word[i + 1]]
        if rng.random() >= share or not places:
            return word
        i = rng.choice(places)
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]

    return _WORD.sub(swap, text)


def bundle(example: Example, tokenizer: Any, max_length: int) -> tuple[Group, ...]:
    """The answer under the harder rendering, the ids of the easier one beside it."""
    easier = example.meta.get("easier")
    if not easier or len(example.responses) != 1:
        raise DataError(
            f"example '{example.id}' needs one response and its question in an easier rendering, in meta.easier."
        )
    group = group_of(example, tokenizer, max_length=max_length)
    ids = prompt_ids(tokenizer, _messages(example, easier))
    if len(ids) + len(group.responses[0]) > max_length:
        raise DataError(f"example '{example.id}' does not fit {max_length} tokens in its easier rendering.")
    return (Rendered(group.prompt, group.responses, None, group.scores, group.labels, group.roles, group.id, ids),)


def _mistyped(e: Example, share: float, rng: random.Random) -> Example | None:
    *before, last = e.prompt
    text = mistyped(last.content, share, rng)
    if text == last.content:
        return None
    return replace(e, prompt=(*before, Message(last.role, text)), meta={**e.meta, "easier": last.content})


def _messages(example: Example, easier: Any) -> tuple[Message, ...]:
    if isinstance(easier, str):
        *before, last = example.prompt
        return (*before, Message(last.role, easier))
    try:
        return tuple(Message(str(m["role"]), str(m["content"])) for m in easier)
    except (TypeError, KeyError):
        raise DataError(
            f"example '{example.id}': meta.easier must be a text or a list of messages, got {str(easier)[:60]!r}."
        ) from None
