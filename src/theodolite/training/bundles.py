"""From Examples to the groups an objective asked for; rows that cannot be used are counted and named.

One Example becomes one bundle: usually a single group (a prompt and its responses), sometimes more, where an
objective scores a response under a second prompt (a judgment, another row's prompt).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from theodolite.data import views
from theodolite.data.edits import align
from theodolite.errors import DataError, UsageError
from theodolite.models.chat import group_of, response_text
from theodolite.registry import Entry
from theodolite.training import degrees, demonstrations, renderings, votes
from theodolite.types import Example, Group, Message, Response, Role

Bundle = tuple[Group, ...]
"""the groups of one Example; their rows carry one group number in TokenLogps"""


@dataclass(slots=True)
class Prepared:
    bundles: list[Bundle]
    dropped: list[str] = field(default_factory=list)
    """one sentence for each Example that was left out"""


Build = Callable[[Example, Any, int], Bundle]


def prepare(
    examples: Sequence[Example],
    kind: str,
    tokenizer: Any,
    *,
    max_length: int,
    roles: Sequence[str] = (),
    teachers: Sequence[Any] | None = None,
    shots: int = demonstrations.SHOTS,
    tell: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Prepared:
    """Bundles for an objective whose data is `kind` and whose rows have `roles`. DataError when none is left.

    teachers: loaded models (`load_model`) that score the rows of the kinds in TEACHERS_SCORE; None leaves those scores
        unknown, which is enough to look at the data. shots: demonstrations before a question, for that kind.
    """
    if kind not in KINDS:
        raise UsageError(f"no trainer feeds data of kind '{kind}' yet; it feeds {', '.join(sorted(KINDS))}.")
    if kind == "demonstrations":
        examples = demonstrations.compose(examples, shots)
    if kind == "labels":
        examples = [alone for e in examples for alone in _alone(e)]
    if kind == "teacher" and teachers:
        examples = _asked(examples, teachers, tell)
    made = Prepared([])
    for number, example in enumerate(examples, 1):
        try:
            made.bundles.append(KINDS[kind](example, tokenizer, max_length))
        except DataError as error:
            made.dropped.append(f"row {number}: {error}")
    if not made.bundles:
        reasons = "\n".join(made.dropped[:5]) or "there are no rows."
        raise DataError(f"no row can be used for {kind} data:\n{reasons}")
    if kind == "teacher" and teachers is not None:
        _leave_unscored(made)
    if kind == "demonstrations" and teachers is not None:
        from theodolite.training.teachers import score_parts

        made.bundles = score_parts(made.bundles, teachers, tell)
    if "mismatched" in roles:
        made.bundles = mismatched(made.bundles, under_other_prompt=kind == "sft", max_length=max_length)
    return made


def _sft(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    kept, left = views.sft([example])
    if left:
        raise DataError(f"example '{example.id}': {left[0].reason}.")
    return (group_of(kept[0], tokenizer, max_length=max_length),)


def _pair(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    if len(example.responses) != 2:
        raise DataError(f"example '{example.id}' has {len(example.responses)} responses, a pair has 2.")
    group = group_of(example, tokenizer, max_length=max_length, roles=(Role.CHOSEN, Role.REJECTED))
    if group.responses[0] == group.responses[1]:
        raise DataError(f"example '{example.id}' has equal chosen and rejected responses, which teach nothing.")
    return (group,)


def _ranking(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    kept, left = views.rankings([example])
    if left:
        raise DataError(f"example '{example.id}': {left[0].reason}.")
    return (group_of(kept[0], tokenizer, max_length=max_length),)


def _alone(example: Example) -> list[Example]:
    """A thumb is an example of its own, so that a loss is a mean over thumbs whatever prompts they share."""
    if len(example.responses) < 2:
        return [example]
    kept, _ = views.labels([example])
    thumbs = kept[0].responses if kept else example.responses
    return [replace(example, responses=(r,), id=f"{example.id}/{i}") for i, r in enumerate(thumbs)]


def _labels(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    kept, left = views.labels([example])
    if not kept:
        raise DataError(f"example '{example.id}': {left[0].reason}.")
    return (group_of(kept[0], tokenizer, max_length=max_length),)


def _spans(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    """Mask-DPO: of two responses with sentence verdicts the more factual is chosen and keeps its true sentences; the
    rejected keeps its false ones. The end-of-turn token is always scored."""
    kept, left = views.spans([example])
    if not kept or len(kept[0].responses) != 2:
        raise DataError(f"example '{example.id}': {left[0].reason if left else 'a spans row has 2 responses'}.")
    ordered = sorted(kept[0].responses, key=_false_share)
    if _false_share(ordered[0]) == _false_share(ordered[1]):
        raise DataError(f"example '{example.id}' has two responses with the same share of false sentences.")
    group = _pair(kept[0].with_responses(ordered), tokenizer, max_length)[0]
    weights = tuple(
        _keep(tokenizer, example, response, len(ids), bad=number == 1)
        for number, (response, ids) in enumerate(zip(ordered, group.responses))
    )
    return (replace(group, weights=weights),)


def _false_share(response: Response) -> float:
    false = sum(s.end - s.start for s in response.spans if s.verdict == "hallucination")
    return false / max(1, sum(s.end - s.start for s in response.spans))


def _keep(tokenizer: Any, example: Example, response: Response, length: int, *, bad: bool) -> tuple[float, ...]:
    """1 for tokens whose first character lies in a sentence to keep, or in none."""
    text = response_text(tokenizer, example.prompt, response.text)
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(offsets) != length:
        raise DataError(
            f"example '{example.id}' has sampled ids that its text does not give again; spans need the text."
        )
    weights = []
    for start, _ in offsets:
        span = next((s for s in response.spans if s.start <= start < s.end), None)
        weights.append(1.0 if span is None or (span.verdict == "hallucination") == bad else 0.0)
    return tuple(weights)


TOLD = "\n\n[Judgment of the answer below: {judgment}]"


def _judgment(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    """CUT: the response under its prompt, and once more under the prompt that carries a negative judgment of it."""
    if len(example.responses) != 1:
        raise DataError(f"example '{example.id}' has {len(example.responses)} responses, a judged row has 1.")
    plain = group_of(example, tokenizer, max_length=max_length, roles=(Role.OTHER,))
    judgment = (example.responses[0].judgment or "").strip()
    if not judgment:
        return (plain,)
    *before, last = example.prompt
    told = replace(example, prompt=(*before, Message(last.role, last.content + TOLD.format(judgment=judgment))))
    return plain, group_of(told, tokenizer, max_length=max_length, roles=(Role.JUDGED,))


EDIT_WEIGHTS = {"generated": {"C": 1.0, "D": -0.1, "S": -0.1}, "edited": {"C": 1.0, "I": 1.1, "S": 1.1}}
"""SALT's weights by tag (arXiv:2310.20033; the authors' script)"""


def _edit(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    group = _pair(example, tokenizer, max_length)[0]
    edited, generated = group.responses
    tags = align(generated, edited)
    weights = tuple(
        tuple(EDIT_WEIGHTS[name][tag] for tag in row)
        for name, row in (("edited", tags.after), ("generated", tags.before))
    )
    return (replace(group, weights=weights),)


def _negatives(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    """D2O: the response marked bad, and the model's own samples (those that carry sampled tokens)."""
    bad = [r for r in example.responses if r.label is False]
    own = [r for r in example.responses if r.tokens is not None and r.label is not False]
    if len(bad) != 1 or not own:
        raise DataError(f"example '{example.id}' needs one response labelled bad and samples of the model itself.")
    roles = (Role.REJECTED, *[Role.SELF] * len(own))
    return (group_of(example.with_responses([*bad, *own]), tokenizer, max_length=max_length, roles=roles),)


def _teacher(example: Example, tokenizer: Any, max_length: int) -> Bundle:
    """PoFT: one response whose score is its mean log-prob a token under already aligned models."""
    if len(example.responses) != 1:
        raise DataError(f"example '{example.id}' has {len(example.responses)} responses, a row to be judged has 1.")
    return (group_of(example, tokenizer, max_length=max_length),)


def _asked(examples: Sequence[Example], teachers: Sequence[Any], tell: Any) -> list[Example]:
    from theodolite.training.teachers import mean_logps

    return mean_logps(examples, teachers, tell)


def _leave_unscored(made: Prepared) -> None:
    """Without a score from the data or a teacher a row of PoFT means nothing."""
    every, made.bundles = made.bundles, []
    for bundle in every:
        if bundle[0].scores is None or math.isnan(bundle[0].scores[0]):
            made.dropped.append(
                f"example '{bundle[0].id}' needs a score, its mean log-prob a token under aligned models; or name those "
                "models: align.teacher."
            )
        else:
            made.bundles.append(bundle)
    if not made.bundles:
        raise DataError(f"no row can be used for teacher data:\n{made.dropped[0]}")


KINDS: dict[str, Build] = {
    "sft": _sft,
    "pairs": _pair,
    "rankings": _ranking,
    "labels": _labels,
    "spans": _spans,
    "judgments": _judgment,
    "edits": _edit,
    "negatives": _negatives,
    "teacher": _teacher,
    "demonstrations": demonstrations.bundle,
    "renderings": renderings.bundle,
    "degrees": degrees.bundle,
    "votes": votes.bundle,
}
"""kind of data an objective declares -> how an Example becomes its bundle"""

TEACHERS_SCORE = ("teacher", "demonstrations")
"""kinds of data whose scores other models give"""


def fed(entry: Entry) -> bool:
    """Whether a recipe can train this objective: its data can be made and its extras computed."""
    from theodolite.training.beside import known

    return entry.data in KINDS and all(map(known, entry.extras))


def mismatched(bundles: Sequence[Bundle], *, under_other_prompt: bool, max_length: int) -> list[Bundle]:
    """Each bundle with one Role.MISMATCHED row, from the next row that has another prompt.

    KTO scores the next row's response under this prompt; CCA this row's response under the next prompt
    (`under_other_prompt`). The order of the rows is fixed here, once, so no shuffle or batch size changes a partner.
    A row whose partner would not fit, or that has none, stays without.
    """
    made = []
    for i, (group, *rest) in enumerate(bundles):
        others = (bundles[(i + j) % len(bundles)][0] for j in range(1, len(bundles)))
        other = next((o for o in others if o.prompt != group.prompt), None)
        if other is not None and under_other_prompt and len(other.prompt) + len(group.responses[0]) <= max_length:
            wrong = Group(other.prompt, group.responses[:1], roles=(Role.MISMATCHED,), id=group.id)
            made.append((group, *rest, wrong))
        elif other is not None and not under_other_prompt and len(group.prompt) + len(other.responses[0]) <= max_length:
            nan, none = (float("nan"),), (-1,)
            roles = group.roles or (Role.OTHER,) * len(group)
            both = replace(
                group,
                responses=(*group.responses, other.responses[0]),
                scores=None if group.scores is None else group.scores + nan,
                labels=None if group.labels is None else group.labels + none,
                roles=(*roles, Role.MISMATCHED),
            )
            made.append((both, *rest))
        else:
            made.append((group, *rest))
    return made
