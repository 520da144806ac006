"""How far apart are vision tokens and text tokens inside a model that reads both?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from theodolite.errors import DataError
from theodolite.measures.intervals import grouped_jackknife
from theodolite.measures.records import Floats, Level, Records
from theodolite.registry import register
from theodolite.types import Reading

Compat = Literal["exact", "official_fast"]
NOTHING = 1e-12
"""a distance below this share of the total variance is rounding, and counts as 0"""


class Mir(Level):
    compat: Compat = "exact"
    """exact: the distance as defined. official_fast: what the released default mode computes, see `frechet`"""
    groups: int = Field(20, ge=3)
    """groups of prompts that the jackknife leaves out in turn"""


def text_scaled(vision: Floats, text: Floats, low_median: bool = False) -> tuple[Floats, Floats]:
    """Both divided by the mean norm of the text tokens; outliers of each modality replaced by its median row.

    An outlier's norm is more than 3 standard deviations (n - 1) from the median norm. vision: (n_v, d), text: (n_t, d).
    low_median: take the lower of two middle values, as torch does.
    """
    scale = np.linalg.norm(text, axis=1).mean()
    return _tamed(vision / scale, low_median), _tamed(text / scale, low_median)


def frechet(x: ArrayLike, y: ArrayLike, compat: Compat = "exact") -> float:
    """Squared Frechet distance of two Gaussians with the sets' means and covariances (n - 1).

        |mu_x - mu_y|^2 + tr S_x + tr S_y - 2 tr (S_x S_y)^(1/2)

    x: (n, d), y: (m, d). The last trace is the sum of singular values of xc yc' / sqrt((n-1)(m-1)), so no matrix root
    is taken; where n > d, xc is first replaced by its triangular factor. 0 for equal sets. The released fast mode
    iterates from a fixed point and so subtracts 2 tr(S_x S_y); `official_fast` gives that number.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    gap = float(((a.mean(0) - b.mean(0)) ** 2).sum())
    a, b = ((v - v.mean(0)) / math.sqrt(len(v) - 1) for v in (a, b))
    spread = float((a**2).sum() + (b**2).sum())
    a, b = (np.asarray(np.linalg.qr(v, mode="r")) if len(v) > v.shape[1] else v for v in (a, b))
    product = a @ b.T
    if compat == "official_fast":
        return gap + spread - 2 * float((product**2).sum())
    distance = gap + spread - 2 * float(np.linalg.svd(product, compute_uv=False).sum())
    return distance if distance > NOTHING * (gap + spread) else 0.0


def layer_distances(vision: ArrayLike, text: ArrayLike, compat: Compat = "exact") -> list[float]:
    """Frechet distance of the scaled tokens, layer by layer. vision: (L, n_v, d), text: (L, n_t, d)."""
    v, t = np.asarray(vision, float), np.asarray(text, float)
    return [frechet(*text_scaled(a, b, compat == "official_fast"), compat) for a, b in zip(v, t, strict=True)]


@register(
    "measure",
    "mir",
    source="arXiv:2410.07167 section 3 and its released code; exact trace term: ours",
    config=Mir,
    reads="records",
    needs=("vision", "text", "?vision_prompt", "?text_prompt"),
    question="How far apart are vision tokens and text tokens in the hidden states?",
    better="lower",
    range=(-math.inf, math.inf),
    unit="log10",
    not_measured="what the model answers about an image",
)
def mir(data: Records, rng: np.random.Generator, cfg: Mir) -> Reading:
    """Modality integration rate: log10 of the sum over layers of the Frechet distance; lower is better integrated.

    vision: (n_v, d) or (L, n_v, d), text: (n_t, d) or (L, n_t, d): token states of the decoder's layers without the
    embedding layer, pooled over prompts (the paper takes 100 image and text pairs). parts["layers"] has the
    distances. vision_prompt (n_v,) and text_prompt (n_t,) name each token's prompt and give the interval: a
    jackknife over groups of prompts on the log scale. The distance is biased upwards by about tr S / n: compare at
    equal numbers of tokens. Equal sets give minus infinity.
    """
    vision, text = (_layers(data, name) for name in ("vision", "text"))
    if vision.shape[0] != text.shape[0] or vision.shape[2] != text.shape[2]:
        raise DataError(
            "'vision' and 'text' must have the same layers and features, got "
            f"{vision.shape[0]} x {vision.shape[2]} and {text.shape[0]} x {text.shape[2]}."
        )
    fine = [np.asarray(np.isfinite(x).all((0, 2))) for x in (vision, text)]
    lost = sum(int((~ok).sum()) for ok in fine)
    prompts = _prompts(data, fine) if "vision_prompt" in data.columns and "text_prompt" in data.columns else None
    vision, text = vision[:, fine[0]], text[:, fine[1]]
    n_v, n_t = vision.shape[1], text.shape[1]
    common: dict[str, Any] = {"level": cfg.level, "unit": "log10", "better": "lower", "n": n_v + n_t}
    common |= {"missing": lost, "why": {"a state is not finite": lost} if lost else {}}
    if min(n_v, n_t) < 2:
        return Reading("mir", math.nan, **common, note="needs two tokens of each modality")
    if not np.linalg.norm(text, axis=2).sum(1).all():
        return Reading("mir", math.nan, **common, note="all text states of a layer are 0")
    layers = layer_distances(vision, text, cfg.compat)
    value, note = _log_sum(layers)
    parts = {"layers": layers, "tokens": {"vision": n_v, "text": n_t}}
    if prompts is None or not math.isfinite(value):
        note = note or "no interval: name each token's prompt in vision_prompt and text_prompt"
        return Reading("mir", value, **common, note=note, parts=parts)
    of_vision, of_text, count = prompts

    def without(kept: NDArray[np.bool_]) -> float:
        v, t = vision[:, kept[of_vision]], text[:, kept[of_text]]
        return _log_sum(layer_distances(v, t, cfg.compat))[0] if min(v.shape[1], t.shape[1]) > 1 else math.nan

    span = grouped_jackknife(without, count, rng, cfg.groups, cfg.level)
    method = f"{span.method} of prompts" if span.method else ""
    note = note if method else "no interval: it needs at least three prompts with both modalities"
    return Reading("mir", value, span.low, span.high, method=method, note=note, parts=parts, **common)


def _log_sum(layers: Sequence[float]) -> tuple[float, str]:
    total = sum(layers)
    if total > 0:
        return math.log10(total), ""
    if total == 0:
        return -math.inf, "the two sets are equal"
    return math.nan, "the fast mode's sum is negative: it is not a distance"


def _tamed(x: Floats, low_median: bool) -> Floats:
    norms = np.linalg.norm(x, axis=1)
    middle = _lower if low_median else np.median
    far = np.abs(norms - middle(norms, axis=0)) > 3 * norms.std(ddof=1)
    return np.where(far[:, None], middle(x, axis=0), x)


def _lower(values: Floats, axis: int) -> Any:
    at = (values.shape[axis] - 1) // 2
    return np.partition(values, at, axis=axis).take(at, axis=axis)


def _layers(data: Records, name: str) -> Floats:
    found = data.array(name)
    if found.ndim not in (2, 3):
        raise DataError(f"'{name}' must be (tokens, features) or (layers, tokens, features), got {found.shape}.")
    return found if found.ndim == 3 else found[None]


def _prompts(data: Records, fine: list[NDArray[np.bool_]]) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Prompt number of every vision and text token that is kept, and how many prompts there are."""
    names = [[w or "" for w in data.words(column)] for column in ("vision_prompt", "text_prompt")]
    for column, words, ok in zip(("vision_prompt", "text_prompt"), names, fine, strict=True):
        if len(words) != len(ok):
            raise DataError(f"'{column}' must name the prompt of each of {len(ok)} tokens, got {len(words)}.")
    of = [np.array(words)[ok] for words, ok in zip(names, fine, strict=True)]
    unique, codes = np.unique(np.concatenate(of), return_inverse=True)
    return codes[: len(of[0])], codes[len(of[0]) :], len(unique)
