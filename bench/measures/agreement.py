"""Agreement statistics beside the libraries people use for them, on the same simulated ratings."""

from __future__ import annotations

from collections.abc import Callable

import krippendorff
import numpy as np
from scipy import stats as scipy_stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as their_fleiss

from theodolite import stats
from theodolite.measures.call import evaluate
from theodolite.measures.raters.agreement import bags, codes, fleiss_of_sums, fleiss_units
from theodolite.measures.raters.correlation import spearman_influence
from theodolite.measures.raters.kappa import kappa
from theodolite.measures.raters.krippendorff import Metric, alpha
from theodolite.measures.records import Ratings

Case = tuple[str, str, Callable[[], float], Callable[[], float]]
RESAMPLES = 200
"""resamples of the intervals, few enough that a library which recomputes the statistic each time comes to an end"""


def cases(n: int) -> list[Case]:
    """(what, peer, ours, theirs): n items, 4 raters, 10 % missing where the peer allows it. Both return one number."""
    rng = np.random.default_rng(0)
    five = simulated(rng, n, 5)
    gappy, points = missing(rng, five), missing(rng, simulated(rng, n, 101))
    a, b = five[:, 0], five[:, 1]
    return [
        *(alpha_case(metric, gappy, "5 categories") for metric in ("nominal", "ordinal", "ratio")),
        alpha_case("interval", points, "0 to 100"),
        ("cohen_kappa", "scikit-learn", lambda: kappa(a, b), lambda: float(cohen_kappa_score(a, b))),
        (
            f"cohen_kappa with interval, {RESAMPLES} resamples",
            "scikit-learn in scipy.stats.bootstrap",
            lambda: evaluate("cohen_kappa", Ratings(five[:, :2], ("a", "b")), resamples=RESAMPLES).low,
            lambda: float(their_interval(cohen_kappa_score, (a, b)).low),
        ),
        ("fleiss_kappa", "statsmodels", lambda: fleiss_only(five), lambda: their_fleiss(aggregate_raters(five)[0])),
        (
            "spearman with the influence of each item",
            "scipy",
            lambda: spearman_influence(a, b)[0],
            lambda: float(scipy_stats.spearmanr(a, b).statistic),
        ),
        *bootstrap_cases(rng.gamma(2.0, size=n), (rng.random(n) < 0.3).astype(float)),
    ]


def simulated(rng: np.random.Generator, n: int, top: int) -> np.ndarray:
    """(n, 4) ratings in 0..top-1 that agree in part."""
    truth = rng.random((n, 1))
    return np.clip(np.floor(top * (truth + 0.15 * rng.normal(size=(n, 4)))), 0, top - 1)


def missing(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return np.where(rng.random(values.shape) < 0.1, np.nan, values)


def alpha_case(metric: Metric, values: np.ndarray, of: str) -> Case:
    return (
        f"krippendorff_alpha, {metric}, {of}",
        "krippendorff",
        lambda: alpha(values, metric),
        lambda: float(krippendorff.alpha(values.T, level_of_measurement=metric)),
    )


def bootstrap_cases(x: np.ndarray, yes_no: np.ndarray) -> list[Case]:
    """The bootstrap with every row drawn, with rows of two kinds, and as `bootstrap_mean` gives it for so many rows."""
    peer, what = "scipy.stats.bootstrap", f"{RESAMPLES} resamples"

    def theirs(v: np.ndarray) -> Callable[[], float]:
        return lambda: float(their_interval(np.mean, (v,), vectorized=True).low)

    def limit() -> float:
        return stats.bootstrap_mean(x, np.random.default_rng(0), resamples=RESAMPLES).low

    return [
        (f"bootstrap of a mean, {what}, row by row", peer, lambda: lower_bound(x), theirs(x)),
        (f"bootstrap of a share, {what}", peer, lambda: lower_bound(yes_no), theirs(yes_no)),
        (f"bootstrap_mean, {what} (from 2e7 rows on its normal limit)", peer, limit, theirs(x)),
    ]


def lower_bound(x: np.ndarray) -> float:
    sums = stats.resampled_sums(x[:, None], RESAMPLES, np.random.default_rng(0))
    return float(np.quantile(sums, 0.025) / len(x))


def fleiss_only(values: np.ndarray) -> float:
    rows, categories = codes(values)
    kinds, counts = bags(rows)
    return float(fleiss_of_sums((counts @ fleiss_units(kinds, len(categories)))[None])[0])


def their_interval(statistic: Callable[..., float], data: tuple[np.ndarray, ...], vectorized: bool = False) -> object:
    found = scipy_stats.bootstrap(
        data, statistic, n_resamples=RESAMPLES, paired=len(data) > 1, vectorized=vectorized, method="percentile",
        batch=20, rng=np.random.default_rng(0),
    )  # fmt: skip
    return found.confidence_interval
