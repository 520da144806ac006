"""How likely a local model finds given texts: the one thing that a judge without writing needs from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from theodolite.judges.verdict import Progress
from theodolite.types import Group, Message, Response

CHUNK = 16
"""choices scored before progress is told"""


@dataclass(frozen=True, slots=True)
class Choice:
    """A prompt and the texts to be weighed against one another after it.

    lead: how the answer begins already, the same for all options. whole: the options are whole answers, and the end of
    the turn is scored with them.
    """

    prompt: tuple[Message, ...]
    options: tuple[str, ...]
    lead: str = ""
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Weighed:
    """logps: summed log-probs of the options in nats; tokens: how many each has; why: the reason where there are none."""

    logps: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    why: str = ""


class Scorer(Protocol):
    def __call__(self, choices: Sequence[Choice], progress: Progress | None = None) -> list[Weighed]:
        """One result a choice, in the order given."""


class LocalScorer:
    """Scores with a transformers model in this process, prompts computed once for all their options."""

    def __init__(self, model: Any, tokenizer: Any, max_length: int) -> None:
        self.model, self.tokenizer, self.max_length = model, tokenizer, max_length

    def __call__(self, choices: Sequence[Choice], progress: Progress | None = None) -> list[Weighed]:
        out: list[Weighed] = []
        for start in range(0, len(choices), CHUNK):
            out += self._chunk(choices[start : start + CHUNK])
            if progress is not None:
                progress(len(out), len(choices))
        return out

    def _chunk(self, choices: Sequence[Choice]) -> list[Weighed]:
        import torch

        from theodolite.engine.logprobs import token_logps

        groups = [self.group(c) for c in choices]
        fitting = [g for g in groups if len(g.prompt) + max(map(len, g.responses)) <= self.max_length]
        sums: list[float] = []
        if fitting:
            with torch.no_grad():
                scored = token_logps(self.model, fitting)
            sums = (scored.policy.double() * scored.weight.double()).sum(-1).tolist()
        at, out = 0, []
        fits = {id(g) for g in fitting}
        for group in groups:
            if id(group) not in fits:
                out.append(Weighed(why=f"too long for the judge's context of {self.max_length} tokens"))
                continue
            out.append(Weighed(tuple(sums[at : at + len(group)]), tuple(map(len, group.responses))))
            at += len(group)
        return out

    def group(self, choice: Choice) -> Group:
        """The choice tokenised. Lead and option are tokenised together; what all options share joins the prompt."""
        from theodolite.models.chat import prompt_ids, response_ids

        prompt = prompt_ids(self.tokenizer, choice.prompt)
        if choice.whole:
            return Group(
                prompt, tuple(response_ids(self.tokenizer, choice.prompt, Response(o)) for o in choice.options)
            )
        ids = [tuple(self.tokenizer(choice.lead + o, add_special_tokens=False)["input_ids"]) for o in choice.options]
        same = _shared(ids)
        if min(len(i) for i in ids) == same:
            raise ValueError(f"one of the options {choice.options} is the beginning of another")
        return Group(prompt + ids[0][:same], tuple(i[same:] for i in ids))


def _shared(ids: Sequence[tuple[int, ...]]) -> int:
    """Length of the beginning that all have in common."""
    n = 0
    for column in zip(*ids):
        if len(set(column)) > 1:
            break
        n += 1
    return n
