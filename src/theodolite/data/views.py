"""Views of Examples: what an objective trains on, derived by pure functions that name what they leave out.

Each view returns `View(examples, left_out)`; it unpacks like a pair. `view(name, examples)` chooses by name and
refuses, saying what is missing, where nothing is left. An Example's scores order its responses (higher is better);
where no response has a score, labels count as 1 and 0.
"""

from __future__ import annotations

import inspect
import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from theodolite.data.edits import align, words
from theodolite.data.sentences import sentences
from theodolite.errors import DataError, UnknownName, UsageError, did_you_mean
from theodolite.types import Example, Response, Span

How = Literal["all", "best_worst", "adjacent"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An Example (or a part of it) that a view could not use."""

    id: str
    reason: str


class View(NamedTuple):
    examples: list[Example]
    left_out: list[LeftOut]


def sft(examples: Sequence[Example]) -> View:
    """One response an Example to imitate: the best by score, else the first not labelled bad.

    Of responses with equal best scores the first is taken. Empty responses are left out.
    """
    kept, out = [], []
    for e in examples:
        usable = [r for r in e.responses if r.text.strip() and r.label is not False]
        best = max(usable, key=lambda r: -float("inf") if r.score is None else r.score, default=None)
        if best is None:
            reason = "no response" if not e.responses else "every response is empty or labelled bad"
            out.append(LeftOut(e.id, reason))
        else:
            kept.append(e.with_responses([best]))
    return View(kept, out)


def pairs(
    examples: Sequence[Example], how: How = "all", min_gap: float = 0.0, max_per_prompt: int | None = None
) -> View:
    """Examples with exactly two responses, the chosen first.

    how: 'all' pairs of different score, the 'best_worst' only, or 'adjacent' ones in the ranking (the first of each
    group of equal scores stands for it). min_gap: least score difference, in the score's own unit. max_per_prompt:
    the widest gaps are kept, earlier responses first among equals.
    meta: gap = difference of scores; weight = 1 / number of pairs of that prompt, so that prompts count alike
    (recipes A2: OpenAssistant); prompt_id = the id of the Example the pair came from.
    Ties, equal texts and empty chosen answers give no pair.
    """
    if how not in ("all", "best_worst", "adjacent"):
        raise UnknownName(f"pairs can be made how='all', 'best_worst' or 'adjacent', not '{how}'.")
    if min_gap < 0 or (max_per_prompt is not None and max_per_prompt < 1):
        raise UsageError(f"min_gap must be >= 0 and max_per_prompt >= 1, got {min_gap} and {max_per_prompt}.")
    kept, out = [], []
    for e in examples:
        found, reason = _candidates(e, how)
        if found:
            wide = [p for p in found if p[0] >= min_gap]
            found, reason = wide, f"no gap of at least {min_gap:g}"
        if not found:
            out.append(LeftOut(e.id, reason))
            continue
        found = sorted(found, key=lambda p: -p[0])[:max_per_prompt] if max_per_prompt else found
        kept += [_pair(e, i, j, gap, len(found)) for gap, i, j in found]
    return View(kept, out)


def rankings(examples: Sequence[Example]) -> View:
    """Responses sorted best first, at least two different scores among them; unscored responses are left out."""
    kept, out = [], []
    for e in examples:
        scores = known_scores(e)
        order = sorted((i for i, s in enumerate(scores) if s is not None), key=lambda i: -_number(scores[i]))
        if len({scores[i] for i in order}) < 2:
            out.append(LeftOut(e.id, _why_unordered(e, scores)))
            continue
        if len(order) < len(scores):
            out.append(LeftOut(e.id, "a response without score (the rest of its ranking is used)"))
        kept.append(e.with_responses([replace(e.responses[i], score=scores[i]) for i in order]))
    return View(kept, out)


def labels(examples: Sequence[Example], threshold: float | None = None) -> View:
    """Responses with a thumb up or down: their label, else their score against a bar.

    The bar is `threshold` (a score equal to it is good) or, without one, the mean score of the prompt's responses
    (a score equal to it tells nothing and is left out).
    """
    kept, out = [], []
    for e in examples:
        given = [r.score for r in e.responses if r.score is not None and not math.isnan(r.score)]
        bar = threshold if threshold is not None else _mean(given)
        named = [replace(r, label=_thumb(r, bar, threshold is not None)) for r in e.responses]
        known = [r for r in named if r.label is not None and r.text.strip()]
        if known:
            kept.append(e.with_responses(known))
        if len(known) < len(named) or not named:
            part = " (the others of its prompt are used)" if known else ""
            out.append(LeftOut(e.id, ("a response without label or telling score" if named else "no response") + part))
    return View(kept, out)


def spans(examples: Sequence[Example], unmarked: str = "ok") -> View:
    """Responses with one verdict a sentence, so that every character of the text (but white space) is judged once.

    A sentence that overlaps a marked span gets its verdict (of several the one that covers most, then the first);
    other sentences get `unmarked`. A response labelled good without any span is `unmarked` throughout; one labelled
    bad, or not labelled, whose bad passages are not located cannot be used.
    """
    kept, out = [], []
    for e in examples:
        usable = [r for r in e.responses if r.text.strip() and (r.spans or r.label is True)]
        if usable:
            kept.append(e.with_responses([replace(r, spans=_by_sentence(r, unmarked)) for r in usable]))
        if len(usable) < len(e.responses) or not e.responses:
            reason = "a response without verdicts on its parts" if e.responses else "no response"
            out.append(LeftOut(e.id, reason + (" (the others of its prompt are used)" if usable else "")))
    return View(kept, out)


def judgments(examples: Sequence[Example], plain: bool = False) -> View:
    """One response an Example with its written judgment; several judged responses become several Examples.

    plain: keep responses nobody judged too, for plain likelihood beside the judged ones (CUT, specs 5.2).
    """
    kept, out = [], []
    for e in examples:
        judged = [r for r in e.responses if r.text.strip() and (plain or (r.judgment or "").strip())]
        many = len(judged) > 1
        kept += [replace(e, responses=(r,), id=f"{e.id}/{i}" if many else e.id) for i, r in enumerate(judged)]
        if len(judged) < len(e.responses) or not e.responses:
            out.append(LeftOut(e.id, "a response without a written judgment" if e.responses else "no response"))
    return View(kept, out)


def edits(examples: Sequence[Example], min_kept: float = 0.5) -> View:
    """A text before and after revision: the edited (better) response first, the original second.

    Rows of the reader `edits` are taken as they are; other pairs count as an edit where at least the share
    `min_kept` of the longer text's words stands in both at aligned places. meta['kept'] is that share.
    """
    if not 0 <= min_kept <= 1:
        raise UsageError(f"min_kept is a share between 0 and 1, got {min_kept}.")
    found, out = pairs(examples, "best_worst")
    kept = []
    for e in found:
        after, before = (words(r.text) for r in e.responses)
        share = align(before, after).before.count("C") / max(len(before), len(after), 1)
        if e.meta.get("edit") or share >= min_kept:
            kept.append(replace(e, meta={**e.meta, "kept": share}))
        else:
            out.append(
                LeftOut(e.id, f"two different answers, not an edit (less than {min_kept:.0%} of the words kept)")
            )
    return View(kept, out)


def prompts(examples: Sequence[Example]) -> View:
    """Each different prompt once, without responses, for sampling."""
    seen: set[Any] = set()
    kept, out = [], []
    for e in examples:
        if e.prompt in seen:
            out.append(LeftOut(e.id, "the same prompt as an earlier one"))
        else:
            seen.add(e.prompt)
            kept.append(e.with_responses(()))
    return View(kept, out)


VIEWS: dict[str, tuple[Callable[..., View], str]] = {
    "sft": (sft, "a response that is not empty"),
    "pairs": (pairs, "two different responses to one prompt with different scores (or labels)"),
    "rankings": (rankings, "responses to one prompt with at least two different scores"),
    "labels": (labels, "a label, or scores that differ within a prompt (or a threshold)"),
    "spans": (spans, "verdicts on parts of a response (spans), or a response labelled good"),
    "judgments": (judgments, "a written judgment of a response"),
    "edits": (edits, "a text before and after a revision, as two responses of which the edited one scores higher"),
    "prompts": (prompts, "a prompt"),
}


def view(name: str, examples: Sequence[Example], **options: Any) -> View:
    """The view of that name. A view that these examples cannot give is refused with what is missing."""
    if name not in VIEWS:
        raise UnknownName(f"no view is called '{name}'.{did_you_mean(name, VIEWS)} There are: {', '.join(VIEWS)}.")
    function, needs = VIEWS[name]
    known = list(inspect.signature(function).parameters)[1:]
    if unknown := [o for o in options if o not in known]:
        hint = did_you_mean(unknown[0], known)
        raise UsageError(
            f"the view '{name}' has no option '{unknown[0]}'.{hint} It takes: {', '.join(known) or 'none'}."
        )
    made = function(examples, **options)
    if not made.examples:
        reasons = Counter(o.reason for o in made.left_out).most_common(3)
        seen = "; ".join(f"{n} x {reason}" for reason, n in reasons) or "there are no examples at all"
        can = [n for n, (f, _) in VIEWS.items() if n not in (name, "prompts") and f(examples).examples]
        offers = f" These data can give: {', '.join(can)}." if can else ""
        raise DataError(f"the view '{name}' needs {needs}. None of {len(examples)} examples has it: {seen}.{offers}")
    return made


def known_scores(e: Example) -> list[float | None]:
    """Each response's score, or where no response has one, its label as 1 or 0; None where unknown or NaN."""
    if any(r.score is not None for r in e.responses):
        return [None if r.score is None or math.isnan(r.score) else r.score for r in e.responses]
    return [None if r.label is None else float(r.label) for r in e.responses]


def _candidates(e: Example, how: How) -> tuple[list[tuple[float, int, int]], str]:
    """((gap, better, worse) by number of response, ...), and why there is none."""
    scores = known_scores(e)
    order = sorted((i for i, s in enumerate(scores) if s is not None), key=lambda i: -_number(scores[i]))
    reason = _why_unordered(e, scores)
    if how == "best_worst":
        order = order[:1] + [i for i in order if scores[i] == scores[order[-1]]][:1]
    if how == "adjacent":
        order = [i for n, i in enumerate(order) if n == 0 or scores[i] != scores[order[n - 1]]]
        couples = list(itertools.pairwise(order))
    else:
        couples = list(itertools.combinations(order, 2))
    gaps = [(_number(scores[i]) - _number(scores[j]), i, j) for i, j in couples]
    gaps = [p for p in gaps if p[0] > 0]
    fit = [p for p in gaps if not _unfit(e.responses[p[1]], e.responses[p[2]])]
    if gaps and not fit:
        reason = _unfit(e.responses[gaps[0][1]], e.responses[gaps[0][2]])
    return fit, reason


def _unfit(chosen: Response, rejected: Response) -> str:
    if not chosen.text.strip():
        return "the better response is empty"
    return "the responses are equal" if chosen.text.strip() == rejected.text.strip() else ""


def _why_unordered(e: Example, scores: Sequence[float | None]) -> str:
    known = [s for s in scores if s is not None]
    if len(e.responses) < 2:
        return "no response" if not e.responses else "one response only"
    if len(known) < 2:
        return "responses without scores"
    return "a tie: all scores are equal"


def _pair(e: Example, i: int, j: int, gap: float, n: int) -> Example:
    meta = {**e.meta, "gap": gap, "weight": 1 / n, "prompt_id": e.id}
    both = (e.responses[i], e.responses[j])
    return replace(e, responses=both, id=e.id if n == 1 else f"{e.id}/{i}-{j}", meta=meta)


def _thumb(r: Response, bar: float, fixed: bool) -> bool | None:
    if r.label is not None or r.score is None or math.isnan(r.score):
        return r.label
    return None if r.score == bar and not fixed else r.score >= bar


def _by_sentence(r: Response, unmarked: str) -> tuple[Span, ...]:
    made = []
    for start, end in sentences(r.text):
        cover: Counter[str] = Counter()
        for s in r.spans:
            cover[s.verdict] += max(0, min(end, s.end) - max(start, s.start))
        marked = [(n, v) for v, n in cover.items() if n > 0 and v != unmarked]
        made.append(Span(start, end, max(marked, key=lambda m: m[0])[1] if marked else unmarked))
    return tuple(made)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _number(score: float | None) -> float:
    return float("nan") if score is None else score
