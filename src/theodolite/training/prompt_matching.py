"""How much likelier a prompt is among liked rows than among disliked ones: BCO's underlying distribution matching.

    w(x) = clamp(p / (1 - p), 0.5, 10),    p = P(liked | prompt x), both labels as frequent

People like and dislike answers to different questions. Disliked rows weighted by w stand for the prompts of the liked
ones, so that what is learned from the two is about answers and not about questions (arXiv:2404.04656, underlying
distribution matching by importance weights). Prompts that are alike have w = 1.

A prompt's vector is the mean of the reference's last hidden states over its tokens; the reference is the policy before
training. The paper and TRL's former BCO trainer take an encoder of texts, and TRL lets the user bring one. The
classifier is scikit-learn's logistic regression with balanced labels, on standardised vectors, fitted once before
training on at most SAMPLE rows of each label.

TRL fits it with C = 1 and asks it about the prompts it was fitted on. With vectors longer than there are rows any two
labels can be told apart so, and every disliked row would weigh 0.5 whatever its prompt. Here a prompt of the sample is
judged by a classifier that has not seen it (cross-validation by prompt), and C is the one with the least log loss there,
C = 1 the largest. Where that loss is not lower by two standard errors (over prompts) than log 2, that of saying 1/2 of
every prompt, the prompts count as alike and all weights are 1.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from theodolite.engine.forward import inner
from theodolite.engine.logprobs import token_logps
from theodolite.engine.reference import ReferenceCache, evaluating, model_fingerprint
from theodolite.errors import DataError
from theodolite.objectives.unpaired import udm_weight
from theodolite.training.bundles import Bundle
from theodolite.types import Group, Role

SAMPLE = 1024
"""most rows of a label that the classifier is fitted on, spread evenly over the data; TRL's prompt_sample_size"""
FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""scikit-learn's C: the larger, the less the classifier is held back"""
LOW, HIGH = 0.5, 10.0

Prompt = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Matching:
    """What the prompts say of the label. chance: prompt -> P(liked). accuracy: balanced, cross-validated by prompt (0.5
    is guessing). C: the strength used, 0 where none was clearly better than guessing. folds: of the cross-validation."""

    chance: Mapping[Prompt, float]
    accuracy: float
    C: float
    folds: int

    @property
    def weights(self) -> dict[Prompt, float]:
        """Prompt -> the weight of disliked rows with it."""
        found = udm_weight(torch.tensor(list(self.chance.values()), dtype=torch.float64), LOW, HIGH)
        return dict(zip(self.chance, found.tolist(), strict=True))


def prompt_weights(
    model: Any,
    train: Sequence[Bundle],
    held_out: Sequence[Bundle] = (),
    *,
    budget: int,
    cache: Path | None = None,
    say: Callable[[str, str], None] = lambda event, text: None,
    tell: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[Prompt, float]:
    """The weight of each prompt of both data sets, told by the labels of `train` alone.

    model: the reference. budget: tokens a forward pass. cache: a folder that keeps the vectors, as the reference's
    log-probs are kept. Nothing is drawn, so a resumed training finds the same weights. DataError where no classifier
    can be fitted: one label only, or a label with fewer than two different prompts.
    """
    rows = [(g.prompt, bool(label)) for b in train for g in b for label in _labels(g)]
    _check(rows)
    prompts = list(dict.fromkeys(g.prompt for b in (*train, *held_out) for g in b))
    vectors = embedded(model, prompts, budget=budget, cache=cache, tell=tell)
    found = matched(dict(zip(prompts, vectors, strict=True)), rows)
    weights = found.weights
    _tell_user(found, np.array([weights[p] for p, liked in rows if not liked]), say)
    return weights


def matched(vectors: Mapping[Prompt, np.ndarray], rows: Sequence[tuple[Prompt, bool]]) -> Matching:
    """P(liked) of every prompt in `vectors` (d,), from the labels of `rows`."""
    _check(rows)
    sample = _spread(rows)
    number = {p: i for i, p in enumerate(dict.fromkeys(p for p, _ in sample))}
    x = np.stack([vectors[p] for p, _ in sample]).astype(np.float64)
    liked = np.array([good for _, good in sample])
    groups = np.array([number[p] for p, _ in sample])
    even = compute_sample_weight("balanced", liked)
    folds = min(FOLDS, *_different(sample))
    parts = list(StratifiedGroupKFold(folds).split(x, liked, groups))
    unseen = {c: cross_val_predict(_classifier(c), x, liked, cv=parts, method="predict_proba")[:, 1] for c in STRENGTHS}
    gains = {c: np.bincount(groups, even * (math.log(2) - _loss(p, liked))) for c, p in unseen.items()}
    best = max(STRENGTHS, key=lambda c: float(gains[c].sum()))
    accuracy = float(balanced_accuracy_score(liked, unseen[best] > 0.5))
    if not gains[best].sum() > 2 * math.sqrt(float((gains[best] ** 2).sum())):
        return Matching(dict.fromkeys(vectors, 0.5), accuracy, 0.0, folds)
    whole = _classifier(best).fit(x, liked)
    chance = dict(zip(vectors, whole.predict_proba(np.stack(list(vectors.values())))[:, 1].tolist(), strict=True))
    chance |= {p: float(unseen[best][i]) for i, (p, _) in enumerate(sample)}
    return Matching(chance, accuracy, best, folds)


def embedded(
    model: Any,
    prompts: Sequence[Prompt],
    *,
    budget: int,
    cache: Path | None = None,
    tell: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> np.ndarray:
    """(n, d) float32: the mean over each prompt's tokens of the model's last hidden states, at plain positions."""
    key = model_fingerprint(model)
    digest = hashlib.sha256(f"prompts {key}".encode())
    for prompt in prompts:
        digest.update(np.array([len(prompt), *prompt], np.int64).tobytes())
    width = inner(model).get_input_embeddings().weight.shape[1]

    def compute() -> np.ndarray:
        found = np.zeros((len(prompts), width), np.float32)
        done = 0
        for part in _batches(prompts, budget):
            found[part] = _means(model, [prompts[i] for i in part], budget)
            done += len(part)
            tell("reading the prompts with the reference", done, len(prompts))
        return found.reshape(-1)

    flat = ReferenceCache(cache, key).array(digest.hexdigest()[:32], len(prompts) * width, compute)
    return flat.reshape(len(prompts), width)


def _means(model: Any, prompts: Sequence[Prompt], budget: int) -> np.ndarray:
    """The engine gives the state that predicts each token of a response. With the prompt's first token as prompt and the
    others, with any token behind them, as response, those are the states of all the prompt's tokens."""
    groups = [Group(p[:1], (p[1:] + p[:1],)) for p in prompts]
    with evaluating(model), torch.no_grad():
        got = token_logps(model, groups, extras=("state",), budget=budget)
    lengths = torch.tensor([len(p) for p in prompts], device=got.policy.device)
    states = got.extras["state"].float()
    beyond = torch.arange(states.shape[1], device=states.device) >= lengths[:, None]
    means: Any = (states.masked_fill(beyond[..., None], 0.0).sum(1) / lengths[:, None]).cpu().numpy()
    return np.asarray(means, np.float32)


def _batches(prompts: Sequence[Prompt], budget: int) -> Iterator[list[int]]:
    """Numbers of the prompts, shortest first, at most `budget` tokens together when padded to the longest of them."""
    part: list[int] = []
    for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
        if part and (len(part) + 1) * len(prompts[i]) > budget:
            yield part
            part = []
        part.append(i)
    if part:
        yield part


def _labels(group: Group) -> list[int]:
    """The labels of a group's plain rows, where they are known."""
    roles = group.roles or (Role.OTHER,) * len(group)
    return [x for x, role in zip(group.labels or (), roles) if role == Role.OTHER and x in (0, 1)]


def _loss(chance: np.ndarray, liked: np.ndarray) -> np.ndarray:
    """(n,) -log of the chance that was given to what each row is, nats."""
    given: np.ndarray = np.where(liked, chance, 1 - chance)
    return np.asarray(-np.log(given.clip(min=1e-15)))


def _classifier(strength: float) -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, class_weight="balanced", max_iter=1000))


def _spread(rows: Sequence[tuple[Prompt, bool]]) -> list[tuple[Prompt, bool]]:
    """At most SAMPLE rows of each label, evenly spread over the data, in its order."""
    kept: list[int] = []
    for label in (True, False):
        of = [i for i, (_, liked) in enumerate(rows) if liked == label]
        kept += of if len(of) <= SAMPLE else [of[j * len(of) // SAMPLE] for j in range(SAMPLE)]
    return [rows[i] for i in sorted(kept)]


def _different(rows: Sequence[tuple[Prompt, bool]]) -> tuple[int, int]:
    """How many different prompts the liked rows have, and how many the disliked ones."""
    liked, disliked = ({p for p, good in rows if good == label} for label in (True, False))
    return len(liked), len(disliked)


def _check(rows: Sequence[tuple[Prompt, bool]]) -> None:
    liked, disliked = _different(rows)
    if min(liked, disliked) < 2:
        raise DataError(
            "distribution_matching weighs disliked rows by how likely their prompts are among the liked ones, which "
            f"asks for at least two different prompts of either; got {liked} among {sum(good for _, good in rows)} liked "
            f"rows and {disliked} among {sum(not good for _, good in rows)} disliked ones. Add rows, or leave "
            "distribution_matching out."
        )


def _tell_user(found: Matching, disliked: np.ndarray, say: Callable[[str, str], None]) -> None:
    seen = f"a classifier tells prompts of liked rows from those of disliked ones with accuracy {found.accuracy:.2f} "
    seen += f"(balanced, {found.folds}-fold by prompt; guessing has 0.5)"
    if found.C == 0:
        say("data", f"{seen}, not clearly better than guessing: every disliked row weighs 1.")
        return
    low, high = (int((disliked == bound).sum()) for bound in (LOW, HIGH))
    say(
        "data",
        f"{seen}; disliked rows weigh {disliked.min():.2f} to {disliked.max():.2f}, {disliked.mean():.2f} on average, "
        f"{low + high} of {len(disliked)} at a bound (C = {found.C:g}).",
    )
    if 2 * low > len(disliked):
        say(
            "warning",
            f"{low} of {len(disliked)} disliked rows have prompts unlike those of liked rows and weigh no more than the "
            f"bound, {LOW:g}. Where the prompts hardly overlap no weight can make them match; compare with a run "
            "without distribution_matching.",
        )
