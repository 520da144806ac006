"""Having a sampler write: what doesn't fit is told, what a server refuses is told, what was written is never lost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from theodolite.engine.remote import SamplingStopped
from theodolite.engine.sampling import Sampler, Sampling, SamplingInterrupted
from theodolite.judges.verdict import Progress
from theodolite.types import Example, Message

_REFUSED = re.compile(r"prompt \d+ \(id '(\d+)'\) was refused with HTTP (?:400|413|422)\b")
"""refusals that may speak of one request, such as one that is too long, and not of the key or the address"""
PATIENCE = 3
"""refusals in a row, with not one request answered, until the fault is taken to be the server's or ours"""


@dataclass(frozen=True, slots=True)
class Written:
    """What came of one request: texts, or none and why."""

    texts: tuple[str, ...] = ()
    why: str = ""


class WritingStopped(Exception):
    """The server was lost, or (by_user) Ctrl-C came. done: what came of requests before, by place in the list."""

    def __init__(self, letter: str, done: Mapping[int, Written], by_user: bool = False) -> None:
        super().__init__(letter)
        self.letter, self.done, self.by_user = letter, dict(done), by_user


def write(
    sampler: Sampler, requests: Sequence[Sequence[Message]], cfg: Sampling, progress: Progress | None = None
) -> list[Written]:
    """`cfg.k` texts for each request, in the order given; raises WritingStopped on Ctrl-C or where the server is lost.

    A request that leaves no room in a local model's context is not sent. One that a server refuses as malformed or too
    long has no text and says so; where nothing at all is answered, the refusal is the letter.
    """
    out: dict[int, Written] = {}
    waiting: list[Example] = []
    for i, messages in enumerate(requests):
        if why := _no_room(sampler, messages, cfg.max_new_tokens):
            out[i] = Written(why=why)
        else:
            waiting.append(Example(tuple(messages), id=str(i)))
    letters: list[str] = []
    while waiting:
        try:
            done = sampler.sample(waiting, cfg, progress=_counting(progress, len(requests), len(waiting), cfg.k))
        except SamplingInterrupted as stopped:
            raise WritingStopped("judging was interrupted.", _answered(out | _written(stopped.done)), True) from stopped
        except SamplingStopped as stopped:
            done = stopped.done
            out |= _written(done)
            refused, answered = _REFUSED.search(str(stopped)), any(w.texts for w in out.values())
            letters.append(str(stopped))
            if refused is None or (len(letters) >= PATIENCE and not answered):
                raise WritingStopped(str(stopped), _answered(out)) from stopped
            out[int(refused.group(1))] = Written(why="refused by the server, perhaps as too long")
        out |= _written(done)
        waiting = [e for e in waiting if int(e.id) not in out]
    if letters and not any(w.texts for w in out.values()):
        raise WritingStopped(letters[0], {})
    return [out[i] for i in range(len(requests))]


def _written(examples: Sequence[Example]) -> dict[int, Written]:
    return {int(e.id): Written(tuple(r.text for r in e.responses)) for e in examples}


def _answered(out: Mapping[int, Written]) -> dict[int, Written]:
    return {i: w for i, w in out.items() if w.texts}


def _no_room(sampler: Sampler, messages: Sequence[Message], new: int) -> str:
    """Why a request does not fit into a local model's context; '' where it does, or where only the server knows."""
    model, tokenizer = getattr(sampler, "model", None), getattr(sampler, "tokenizer", None)
    if tokenizer is None or not hasattr(model, "config"):
        return ""
    from theodolite.models.chat import prompt_ids
    from theodolite.models.load import context_length

    need, room = len(prompt_ids(tokenizer, messages)) + new, context_length(model)
    return "" if need <= room else f"too long for the judge's context of {room} tokens"


def _counting(progress: Progress | None, total: int, waiting: int, k: int) -> Progress | None:
    """Progress in requests, over all of them, from a sampler that counts texts of those still waiting."""
    if progress is None:
        return None
    return lambda done, _: progress(total - waiting + done // k, total)
