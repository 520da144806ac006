"""Texts that are nearly the same, found exactly and fast: sparse matrices of word n-grams."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from theodolite.errors import UsageError

_CJK = "\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")

Hashes = NDArray[np.uint64]
Match = tuple[int, int, float]


def tokens(text: str) -> list[str]:
    """Runs of letters or digits, in lower case; each Chinese, Japanese or Korean character is one."""
    return _TOKEN.findall(text.lower())


def near_duplicates(
    texts_a: Sequence[str], texts_b: Sequence[str] | None = None, threshold: float = 0.8, n: int = 5
) -> list[Match]:
    """(i, j, similarity) of all pairs at or above the threshold, most similar first. Exact, not a sketch.

        similarity = |A & B| / |A | B|    over the sets of word n-grams (a text of fewer words is one gram)

    texts_b None compares the texts of a with each other, i < j. Case, punctuation and white space do not count.
    Pairs are found by their rarest grams: sets with Jaccard >= t share at least one of their first
    |A| - ceil(t |A|) + 1 grams in any common order (prefix filter, Chaudhuri, Ganti and Kaushik 2006), and rare grams
    are shared by few. Grams are compared by 64-bit hashes.
    What it does not see: paraphrases, translations, short texts with one word changed.
    """
    if not 0 < threshold <= 1 or n < 1:
        raise UsageError(f"threshold lies between 0 and 1 and n is at least 1, got {threshold} and {n}.")
    within = texts_b is None
    grams = _matrix([*texts_a, *(texts_b or ())], n)
    left = grams if within else grams[: len(texts_a)]
    right = grams if within else grams[len(texts_a) :]
    left_prefix, right_prefix = _prefixes(left, threshold), _prefixes(right, threshold).T.tocsr()
    found: list[Match] = []
    for start in range(0, left.shape[0], 2048):
        hits = (left_prefix[start : start + 2048] @ right_prefix).tocoo()
        i, j = hits.row.astype(np.int64) + start, hits.col.astype(np.int64)
        found += _verified(left, right, i, j, threshold, within)
    return sorted(found, key=lambda f: (-f[2], f[0], f[1]))


def _verified(
    left: sparse.csr_array,
    right: sparse.csr_array,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    threshold: float,
    within: bool,
) -> list[Match]:
    """Of the candidate pairs those that are similar enough, by their whole sets."""
    a, b = np.diff(left.indptr)[i], np.diff(right.indptr)[j]
    possible = np.minimum(a, b) >= threshold * np.maximum(a, b) - 1e-9  # sizes alone bound the similarity
    if within:
        possible &= i < j
    i, j, a, b = i[possible], j[possible], a[possible], b[possible]
    found: list[Match] = []
    for at in range(0, len(i), 100_000):
        part = slice(at, at + 100_000)
        common = np.asarray(left[i[part]].multiply(right[j[part]]).sum(axis=1)).ravel()
        similarity = common / (a[part] + b[part] - common)
        good = similarity >= threshold - 1e-12
        found += zip(i[part][good].tolist(), j[part][good].tolist(), similarity[good].tolist())
    return found


def _matrix(texts: Sequence[str], n: int) -> sparse.csr_array:
    """0/1 matrix (texts x grams), the columns ordered from the rarest gram to the commonest."""
    row, hashes = _gram_hashes(texts, n)
    _, column, count = np.unique(hashes, return_inverse=True, return_counts=True)
    place = np.empty(len(count), np.int64)
    place[np.argsort(count, kind="stable")] = np.arange(len(count))
    codes = np.sort(row * max(len(count), 1) + place[column])  # sorted by text, then by rarity
    codes = codes[np.concatenate([[True], codes[1:] != codes[:-1]])] if len(codes) else codes  # each gram once a text
    row, column = np.divmod(codes, max(len(count), 1))
    indptr = np.searchsorted(row, np.arange(len(texts) + 1))
    return sparse.csr_array((np.ones(len(codes), np.int32), column, indptr), shape=(len(texts), len(count)))


def _gram_hashes(texts: Sequence[str], n: int) -> tuple[NDArray[np.int64], Hashes]:
    """(number of the text, hash) of every gram, repeats included."""
    number: dict[str, int] = {}
    sizes = np.empty(len(texts), np.int64)
    ids: list[int] = []
    for i, text in enumerate(texts):
        found = [number.setdefault(t, len(number)) for t in tokens(text)]
        sizes[i] = len(found)
        ids += found
    words = _mix(np.array(ids, np.uint64))
    starts = np.cumsum(sizes) - sizes
    short = np.repeat(sizes < n, sizes)
    place = np.arange(len(words)) - np.repeat(starts, sizes)
    row = np.repeat(np.arange(len(texts)), sizes)
    begins = np.where(short, place == 0, place <= np.repeat(sizes, sizes) - n).nonzero()[0]
    left = np.repeat(starts + sizes, sizes)  # where the text of each word ends
    hashes = np.zeros(len(begins), np.uint64)
    for k in range(n):
        inside = begins + k < left[begins]
        word = np.where(inside, words[np.minimum(begins + k, max(len(words) - 1, 0))], np.uint64(0))
        hashes = _mix(hashes + word + np.uint64(k))
    return row[begins], hashes


def _mix(x: Hashes) -> Hashes:
    """The finaliser of splitmix64: a bijection of 64-bit numbers that scatters neighbours (Steele et al. 2014)."""
    x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _prefixes(grams: sparse.csr_array, threshold: float) -> sparse.csr_array:
    """Each row's rarest |A| - ceil(t |A|) + 1 grams."""
    sizes = np.diff(grams.indptr).astype(np.int64)
    keep = np.where(sizes > 0, sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1, 0)
    place = np.arange(grams.nnz) - np.repeat(grams.indptr[:-1], sizes)
    chosen = place < np.repeat(keep, sizes)
    return sparse.csr_array(
        (grams.data[chosen], grams.indices[chosen], np.concatenate([[0], np.cumsum(keep)])), shape=grams.shape
    )
