"""Comparisons of models: our solver and simulation against the usual way of doing the same."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from theodolite.measures.arenas.bradley_terry import ELO, bootstrap, fit
from theodolite.measures.arenas.designs import tournament_wins
from theodolite.measures.arenas.matches import Matches

Case = tuple[str, str, Callable[[], float], Callable[[], float]]
ROUNDS, MODELS = 50, 20


def matches(n: int, seed: int = 0) -> Matches:
    """n arena matches between 20 models, a fifth of them ties."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0, 0.8, MODELS)
    a = rng.integers(0, MODELS, n)
    b = (a + rng.integers(1, MODELS, n)) % MODELS
    outcome = (rng.random(n) < 1 / (1 + np.exp(truth[b] - truth[a]))).astype(float)
    outcome[rng.random(n) < 0.2] = 0.5
    row = np.arange(n)
    return Matches(tuple(f"model {i:02d}" for i in range(MODELS)), a, b, outcome, np.ones(n), row, row)


def refits(m: Matches) -> float:
    """Spread of the strengths, mean over bootstrap rounds: one scikit-learn fit a round, every match twice for ties."""
    from sklearn.linear_model import LogisticRegression

    rng, n, found = np.random.default_rng(1), len(m.a), []
    x = np.zeros((2 * n, MODELS))
    x[np.arange(2 * n), np.tile(m.a, 2)] = 1
    x[np.arange(2 * n), np.tile(m.b, 2)] = -1
    y = np.repeat([1, 0], n)
    for _ in range(ROUNDS):
        times = np.bincount(rng.integers(0, n, n), minlength=n)
        weight = np.concatenate([times * m.outcome, times * (1 - m.outcome)])
        model = LogisticRegression(fit_intercept=False, C=1e6, tol=1e-6, max_iter=1000).fit(x, y, weight)
        found.append(np.ptp(model.coef_[0]))
    return float(ELO * np.mean(found))


def ours(m: Matches) -> float:
    fit(m.wins())
    drawn, _ = bootstrap(m, np.random.default_rng(1), ROUNDS)
    return float(ELO * np.ptp(drawn, axis=1).mean())


def loop(truth: np.ndarray, prompts: int, noise: float, seed: int) -> float:
    """Win rate of the strongest model in single-elimination brackets, one match at a time."""
    rng = np.random.default_rng(seed)
    won = played = 0
    for ratings in truth:
        best = int(ratings.argmax())
        for _ in range(prompts):
            entrants = rng.permutation(len(ratings)).tolist()
            byes = (1 << (len(entrants) - 1).bit_length()) - len(entrants)
            through, entrants = entrants[:byes], entrants[byes:]
            while entrants:
                for i, j in zip(entrants[0::2], entrants[1::2]):
                    chance = noise + (1 - 2 * noise) / (1 + math.exp((ratings[j] - ratings[i]) / ELO))
                    winner = i if rng.random() < chance else j
                    through.append(winner)
                    if best in (i, j):
                        played += 1
                        won += winner == best
                through = rng.permutation(through).tolist()
                entrants, through = (through, []) if len(through) > 1 else ([], through)
    return won / played


def vectorised(truth: np.ndarray, prompts: int, noise: float, seed: int) -> float:
    wins = tournament_wins(truth, prompts, noise, np.random.default_rng(seed))
    best, world = truth.argmax(1), np.arange(len(truth))
    won, lost = wins[world, best].sum(), wins[world, :, best].sum()
    return float(won / (won + lost))


def cases(n: int) -> list[Case]:
    """(what, peer, ours, theirs); both sides return the same quantity, so that a reader can see that they agree."""
    m = matches(n)
    truth = np.random.default_rng(2).normal(0, 150, (max(2, n // 1000), MODELS))
    return [
        (
            f"Bradley-Terry with {ROUNDS} bootstrap rounds, {n} matches, {MODELS} models", "scikit-learn refits",
            lambda: ours(m), lambda: refits(m),
        ),
        (
            f"{len(truth)} worlds x 50 single-elimination brackets, {MODELS} models", "plain Python loop",
            lambda: vectorised(truth, 50, 0.1, 3), lambda: loop(truth, 50, 0.1, 4),
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    import time

    for what, peer, mine, theirs in cases(20_000):
        spent = []
        for side in (mine, theirs):
            start = time.perf_counter()
            value = side()
            spent.append((time.perf_counter() - start, value))
        print(f"{what}: {spent[0][0]:.2f} s ({spent[0][1]:.4g}), {peer}: {spent[1][0]:.2f} s ({spent[1][1]:.4g})")
