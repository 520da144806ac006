"""From a name and options to a judge, with what it may use: a model here, or a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from theodolite import registry
from theodolite.config import Config, Source
from theodolite.engine.sampling import Sampler
from theodolite.errors import UsageError
from theodolite.judges.jury import ByGrade, GradingJury, Jury
from theodolite.judges.rubric import Rubric
from theodolite.judges.scorer import LocalScorer, Scorer
from theodolite.judges.verdict import GradingJudge, Judge, PairJudge


@dataclass(frozen=True, slots=True)
class Means:
    """What a judge may use. name: of the model, for the record. rubric: the user's norms in place of ours."""

    sampler: Sampler | None = None
    scorer: Scorer | None = None
    rubric: Rubric | None = None
    name: str = ""


class NoOptions(Config):
    """For judges that have none."""


def local_means(model: str, rubric: Rubric | None = None, say: Callable[[str], None] = lambda _: None) -> Means:
    """A model in this process: it can write and score."""
    from theodolite.engine.sampling import LocalSampler
    from theodolite.models.load import fingerprint, load_model

    loaded = load_model(model, say=say)
    sampler = LocalSampler(loaded.model, loaded.tokenizer, name=loaded.name)
    scorer = LocalScorer(loaded.model, loaded.tokenizer, loaded.max_length)
    prints = [fingerprint(p) for p in (loaded.path, Path(model)) if p.is_dir()]  # the second is an adapter's folder
    return Means(sampler, scorer, rubric, " ".join([loaded.name, *dict.fromkeys(prints)]))


def remote_means(
    endpoint: str, model: str, rubric: Rubric | None = None, *, api_key_env: str | None = None, **options: Any
) -> Means:
    """A model behind an OpenAI-compatible endpoint: it can write. options: of RemoteSampler (timeout, retries, ...)."""
    from theodolite.engine.remote import RemoteSampler

    sampler = RemoteSampler(endpoint, model, api_key_env=api_key_env, logprobs=False, **options)
    return Means(sampler, None, rubric, f"{model} at {endpoint}")


def settings(name: str, options: dict[str, Any]) -> Config:
    """A judge's options, checked; a wrong one is answered with the nearest right one."""
    entry = registry.get("judge", name)
    made: Config = Source({}, {}, f"judge {name}").validate(entry.config or NoOptions, data=options)
    return made


def reads_norms(name: str) -> bool:
    """Is this judge told norms? The others judge without any, so a rubric changes nothing for them."""
    return bool(getattr(registry.get("judge", name).function, "reads_norms", False))


def build(name: str, means: Means | None = None, *, apart: bool = False, **options: Any) -> Judge:
    """The judge of that name: `build("critique", remote_means(url, "m"), samples=5, temperature=1)`.

    apart: ask about each norm of the rubric by itself and let the answers vote with the norms' weights.
    """
    entry, cfg = registry.get("judge", name), settings(name, options)
    if not apart:
        judge: Judge = entry.function(cfg, means)
        return judge
    if means is None or means.rubric is None or not reads_norms(name):
        raise UsageError(
            f"norms apart need a rubric, and a judge that reads norms ('{name}' {'does' if reads_norms(name) else 'does not'})."
        )
    parts = {r.norms[0].name: (entry.function(cfg, replace(means, rubric=r)), w) for r, w in means.rubric.apart()}
    judges = {n: j for n, (j, _) in parts.items()}
    weights = {n: float(w) for n, (_, w) in parts.items()}
    return GradingJury(judges, weights) if entry.protocol == "single" else Jury(judges, weights)


def as_pair_judge(judge: Judge) -> PairJudge:
    """A grading judge compares by grade; a pairwise one stays as it is."""
    return ByGrade(judge) if isinstance(judge, GradingJudge) else judge
