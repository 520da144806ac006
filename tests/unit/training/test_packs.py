"""How a step is cut into forward passes: an opening that all examples share is counted once."""

from __future__ import annotations

from theodolite.engine.packing import STEM
from theodolite.training.trainer import Item, _packs
from theodolite.types import Group

HEAD = tuple(range(STEM))


def item(head: tuple[int, ...], end: int) -> Item:
    """A prompt of STEM + 2 tokens and a response that computes 2: STEM + 4 tokens, 4 of them its own."""
    return Item((Group((*head, 90, end), ((5, 6, 7),)),))


def test_a_shared_opening_is_counted_once() -> None:
    """STEM + 1 tokens are shared (the template's and 90): three examples need STEM + 1 + 3 * 3."""
    alike = [item(HEAD, end) for end in (1, 2, 3)]
    assert _packs(alike, STEM + 10) == [[0, 1, 2]]
    assert len(_packs(alike, STEM + 9)) == 2


def test_without_one_every_example_counts_whole() -> None:
    apart = [item(HEAD[i:] + HEAD[:i], i) for i in range(3)]
    assert len(_packs(apart, STEM + 10)) == 3
    assert _packs([], 8) == []
