"""The verifiable reward: the share of a prompt's constraints that a response meets.

A constraint is a plain dict, `{"id": "length_constraints:number_words", "kwargs": {"num_words": 50, "relation":
"less than"}}`, and an Example carries its list in `meta["constraints"]`. Ids are those of kind 'constraint'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from theodolite import config, registry
from theodolite.errors import DataError
from theodolite.registry import register
from theodolite.types import Example, Response

Constraint = Mapping[str, Any]


class VerifiableReward(config.Config):
    """How passes become a score."""

    loose: bool = False
    """Let a constraint pass when one of eight forms of the response does (see `variants`)."""
    binary: bool = False
    """Score 1 only when every constraint is met, else 0; the default is the share that is met."""


@register(
    "reward",
    "verifiable",
    source="arXiv:2311.07911 section 3",
    config=VerifiableReward,
    range=(0.0, 1.0),
    verifiable=True,
)
def score(examples: Sequence[Example], cfg: VerifiableReward = VerifiableReward()) -> list[Example]:  # noqa: B008 - frozen
    """The share of its prompt's constraints that each response meets.

        score = (constraints met) / (constraints),   in [0, 1], higher is better

    examples: each with `meta["constraints"]`, at least one. Returns them with `Response.score` set and
    `Response.meta["checks"]` = {"id#index": met}. Raises DataError for an Example without constraints or with one
    that cannot be read, and UnknownName for an id nobody registered.
    """
    return [_scored(example, cfg) for example in examples]


def check(constraints: Sequence[Constraint], text: str, loose: bool = False) -> dict[str, bool]:
    """Which constraints the text meets, in order, keyed `id#index`; an empty text meets none."""
    return {f"{c['id']}#{i}": meets(c, text, loose) for i, c in enumerate(constraints)}


def meets(constraint: Constraint, text: str, loose: bool = False) -> bool:
    """Whether the text (strict), or one of its `variants` (loose), meets the constraint."""
    entry, options = resolve(constraint)
    forms = variants(text) if loose else (text,)
    return any(entry.function(form, options) for form in forms if form.strip())


def variants(text: str) -> tuple[str, ...]:
    """The text without its first line, its last, both or neither, each with and without asterisks: eight forms.

    They forgive an opening ("Sure, here it is:"), a closing offer and emphasis. Source: arXiv:2311.07911 section 3.
    """
    rows = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (rows[1:], rows[:-1], rows[1:-1]))]
    return (*cut, *(form.replace("*", "") for form in cut))


def resolve(constraint: Constraint) -> tuple[registry.Entry, config.Config]:
    """The registered checker and its options; options that are None count as absent."""
    if not isinstance(constraint, Mapping) or not isinstance(constraint.get("id"), str):
        raise DataError(
            f'a constraint looks like {{"id": "punctuation:no_comma", "kwargs": {{}}}}; got {constraint!r}.'
        )
    kwargs = constraint.get("kwargs") or {}
    if not isinstance(kwargs, Mapping):
        raise DataError(f"the kwargs of constraint '{constraint['id']}' must be a mapping, got {kwargs!r}.")
    entry = registry.get("constraint", constraint["id"])
    given = {k: v for k, v in kwargs.items() if v is not None}
    assert entry.config is not None
    assert issubclass(entry.config, config.Config)
    return entry, config.Source(given, {}, f"constraint '{entry.name}'").validate(entry.config)


def constraints_of(example: Example) -> Sequence[Constraint]:
    """The constraints of an Example; none at all is an error, since their share is then undefined."""
    found = example.meta.get("constraints")
    if not isinstance(found, Sequence) or isinstance(found, str) or not found:
        raise DataError(
            f"example '{example.id}' has no constraints to verify: meta['constraints'] is {found!r}. Give it a "
            'list such as [{"id": "punctuation:no_comma", "kwargs": {}}], or use another reward for it.'
        )
    return found


def _scored(example: Example, cfg: VerifiableReward) -> Example:
    constraints = constraints_of(example)
    return example.with_responses([_scored_response(r, constraints, cfg) for r in example.responses])


def _scored_response(response: Response, constraints: Sequence[Constraint], cfg: VerifiableReward) -> Response:
    checks = check(constraints, response.text, cfg.loose)
    share = sum(checks.values()) / len(checks)
    return replace(response, score=float(share == 1) if cfg.binary else share, meta={**response.meta, "checks": checks})
