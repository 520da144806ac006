"""Fakes: a sampler that says what a function says, a scorer that knows what a function knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from theodolite.engine.remote import SamplingStopped
from theodolite.engine.sampling import Sampling, SamplingInterrupted
from theodolite.judges.scorer import Choice, Weighed
from theodolite.types import Example, Response


class ScriptedSampler:
    """Answers the last user turn by `reply(text, number of the sample)`; loses the server, or is told to stop (end),
    after `lasts` requests."""

    def __init__(
        self,
        reply: Callable[[str, int], str],
        lasts: int | None = None,
        end: type[SamplingStopped | SamplingInterrupted] = SamplingStopped,
    ) -> None:
        self.reply, self.lasts, self.end = reply, lasts, end
        self.asked: list[str] = []
        self.configs: list[Sampling] = []

    def sample(self, examples: Sequence[Example], cfg: Sampling, *, progress: Any = None) -> list[Example]:
        done: list[Example] = []
        self.configs.append(cfg)
        for e in examples:
            if self.lasts is not None and len(self.asked) >= self.lasts:
                raise self.end("the server stopped answering: it is gone.", done, [])
            self.asked.append(e.question)
            done.append(e.with_responses([Response(self.reply(e.question, k)) for k in range(cfg.k)]))
            if progress is not None:
                progress(len(done) * cfg.k, len(examples) * cfg.k)
        return done


class ScriptedScorer:
    """Log-probs by `know(choice)`; every option has as many tokens as words."""

    def __init__(self, know: Callable[[Choice], Sequence[float]]) -> None:
        self.know = know
        self.seen: list[Choice] = []

    def __call__(self, choices: Sequence[Choice], progress: Any = None) -> list[Weighed]:
        self.seen += choices
        return [Weighed(tuple(self.know(c)), tuple(max(1, len(o.split())) for o in c.options)) for c in choices]


@pytest.fixture
def scripted_sampler() -> type[ScriptedSampler]:
    return ScriptedSampler


@pytest.fixture
def scripted_scorer() -> type[ScriptedScorer]:
    return ScriptedScorer
