"""Several people's rankings of the same things made into one: ranked pairs."""

from __future__ import annotations

from collections.abc import Sequence


def ranked_pairs(rankings: Sequence[Sequence[int]]) -> list[int]:
    """The order, best first, that respects the strongest majorities (Tideman 1987).

    rankings: each a list of item numbers from best to worst; items may be missing from some. Every pair of items
    is decided by its net majority; decisions are locked in from the largest down unless one would close a cycle;
    the order is read off the locked decisions. Ties of strength go to the lower item numbers, so the result is
    deterministic; equal items keep their numbers' order.

    >>> ranked_pairs([[0, 1, 2], [0, 1, 2], [1, 2, 0], [2, 0, 1]])
    [0, 1, 2]
    """
    items = sorted({i for r in rankings for i in r})
    net = {(a, b): _net(rankings, a, b) for a in items for b in items if a != b}
    wins = sorted((pair for pair, m in net.items() if m > 0), key=lambda p: (-net[p], p))
    below: dict[int, set[int]] = {i: set() for i in items}
    for a, b in wins:
        if a not in _reachable(below, b):
            below[a].add(b)
    order: list[int] = []
    while len(order) < len(items):
        left = [i for i in items if i not in order]
        order.append(next(i for i in left if not any(i in below[j] for j in left)))
    return order


def _net(rankings: Sequence[Sequence[int]], a: int, b: int) -> int:
    both = [r for r in rankings if a in r and b in r]
    return sum(1 if r.index(a) < r.index(b) else -1 for r in both)


def _reachable(below: dict[int, set[int]], start: int) -> set[int]:
    seen, todo = {start}, [start]
    while todo:
        new = below[todo.pop()] - seen
        seen |= new
        todo += new
    return seen
