"""How each kind of constraint gets its options and its wording when a prompt is composed.

The wording lives in phrasings.json, several to a kind; a key `id/value` belongs to that value of the kind's
`relation` or `mark`. Drawn options are small, so that a short answer can meet them.
`detectable_format:constrained_response` is left out: only a yes-or-no question can be answered with it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from random import Random
from typing import Any, NamedTuple

from theodolite.errors import UsageError, did_you_mean
from theodolite.rewards.language import names


class Topic(NamedTuple):
    """A subject with ways to ask about it, words that belong to it, and words an answer will reach for."""

    topic: str
    domain: str
    split: str
    requests: tuple[str, ...]
    keywords: tuple[str, ...]
    avoid: tuple[str, ...]


Draw = Callable[[Random, Topic, str], dict[str, Any]]
"""(generator, topic, request) -> kwargs of the checker."""

_SAYINGS = ("That is all.", "I hope this helps.", "Have a nice day.", "Let me know what you think.")
_OPENINGS = ("Of course", "In short", "Here is", "Well", "Thank you")
_FIRST_WORDS = ("first", "today", "remember", "finally", "start")

DRAWS: dict[str, Draw] = {
    "keywords:existence": lambda g, t, r: {"keywords": g.sample(t.keywords, g.randint(1, 2))},
    "keywords:frequency": lambda g, t, r: {
        "keyword": g.choice(t.keywords),
        "frequency": g.randint(2, 3),
        "relation": "at least",
    },
    "keywords:forbidden_words": lambda g, t, r: {"forbidden_words": g.sample(t.avoid, g.randint(1, 2))},
    "keywords:letter_frequency": lambda g, t, r: {
        "letter": g.choice("bkvy"),
        "let_frequency": g.randint(4, 8),
        "let_relation": "at least",
    },
    "language:response_language": lambda g, t, r: {"language": g.choice(("es", "fr", "de", "it", "pt"))},
    "length_constraints:number_sentences": lambda g, t, r: g.choice(
        (
            {"num_sentences": g.randint(3, 4), "relation": "less than"},
            {"num_sentences": g.randint(3, 5), "relation": "at least"},
        )
    ),
    "length_constraints:number_paragraphs": lambda g, t, r: {"num_paragraphs": g.randint(2, 3)},
    "length_constraints:number_words": lambda g, t, r: g.choice(
        (
            {"num_words": g.choice((30, 40, 50)), "relation": "less than"},
            {"num_words": g.choice((40, 50, 60)), "relation": "at least"},
        )
    ),
    "length_constraints:nth_paragraph_first_word": lambda g, t, r: {
        "num_paragraphs": (n := g.randint(2, 3)),
        "nth_paragraph": g.randint(1, n),
        "first_word": g.choice(_FIRST_WORDS),
    },
    "detectable_content:number_placeholders": lambda g, t, r: {"num_placeholders": g.randint(2, 3)},
    "detectable_content:postscript": lambda g, t, r: {"postscript_marker": g.choice(("P.S.", "P.P.S"))},
    "detectable_format:number_bullet_lists": lambda g, t, r: {"num_bullets": g.randint(2, 5)},
    "detectable_format:number_highlighted_sections": lambda g, t, r: {"num_highlights": g.randint(2, 3)},
    "detectable_format:multiple_sections": lambda g, t, r: {
        "section_spliter": g.choice(("Section", "Part")),
        "num_sections": g.randint(2, 3),
    },
    "detectable_format:json_format": lambda g, t, r: {},
    "detectable_format:title": lambda g, t, r: {},
    "combination:two_responses": lambda g, t, r: {},
    "combination:repeat_prompt": lambda g, t, r: {"prompt_to_repeat": r},
    "startend:end_checker": lambda g, t, r: {"end_phrase": g.choice(_SAYINGS)},
    "startend:quotation": lambda g, t, r: {},
    "change_case:capital_word_frequency": lambda g, t, r: {
        "capital_frequency": g.randint(2, 4),
        "capital_relation": "at least",
    },
    "change_case:english_capital": lambda g, t, r: {},
    "change_case:english_lowercase": lambda g, t, r: {},
    "punctuation:no_comma": lambda g, t, r: {},
    "theodolite:max_words": lambda g, t, r: {"max_words": g.choice((20, 25, 30, 40))},
    "theodolite:word_range": lambda g, t, r: {"min_words": (n := g.choice((20, 30, 40))), "max_words": n + 20},
    "theodolite:one_sentence": lambda g, t, r: {},
    "theodolite:exact_lines": lambda g, t, r: {"num_lines": g.randint(2, 4)},
    "theodolite:exact_paragraphs": lambda g, t, r: {"num_paragraphs": g.randint(2, 3)},
    "theodolite:starts_with": lambda g, t, r: {"phrase": g.choice(_OPENINGS)},
    "theodolite:ends_with_punctuation": lambda g, t, r: {"mark": g.choice("?!")},
    "theodolite:numbered_list": lambda g, t, r: {"num_items": g.randint(3, 5)},
    "theodolite:no_digits": lambda g, t, r: {},
    "theodolite:contains_number": lambda g, t, r: {},
    "theodolite:no_exclamation": lambda g, t, r: {},
    "theodolite:contains_question": lambda g, t, r: {},
}

PRESETS: dict[str, tuple[str, ...]] = {
    "easy": (
        "detectable_format:number_highlighted_sections",
        "keywords:existence",
        "keywords:forbidden_words",
        "keywords:frequency",
        "keywords:letter_frequency",
        "punctuation:no_comma",
        "theodolite:contains_number",
        "theodolite:contains_question",
        "theodolite:exact_lines",
        "theodolite:numbered_list",
        "theodolite:one_sentence",
        "theodolite:word_range",
    ),
    "all": tuple(sorted(DRAWS)),
}
"""Named lists of kinds. all: every kind that can be composed. easy: those that SmolLM2-135M-Instruct meets sometimes,
so that there is something to learn from; it met each alone in 12 % (exact_lines) to 60 % (one_sentence) of 17 to 39
sampled answers (temperature 0.8, 100 tokens, training topics)."""


def kinds(chosen: str | Sequence[str]) -> tuple[str, ...]:
    """The ids of a preset or of a list, in sorted order without repeats; unknown ones are refused."""
    if isinstance(chosen, str):
        if chosen not in PRESETS:
            hint = did_you_mean(chosen, PRESETS)
            raise UsageError(f"no preset of constraints is called '{chosen}'.{hint} There are: {', '.join(PRESETS)}.")
        return PRESETS[chosen]
    for kind in chosen:
        if kind not in DRAWS:
            hint = did_you_mean(kind, DRAWS)
            raise UsageError(f"'{kind}' cannot be composed into a prompt.{hint} These can: {', '.join(sorted(DRAWS))}.")
    if not chosen:
        raise UsageError("the list of constraints is empty; name at least one id, or a preset: 'easy' or 'all'.")
    return tuple(sorted(set(chosen)))


@functools.cache
def phrasings() -> Mapping[str, tuple[str, ...]]:
    text = resources.files(__package__).joinpath("phrasings.json").read_text(encoding="utf-8")
    return {key: tuple(options) for key, options in json.loads(text).items()}


def wordings(kind: str, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Every way to ask for this constraint with these options."""
    value = kwargs.get("relation", kwargs.get("mark"))
    options = phrasings().get(f"{kind}/{value}") or phrasings()[kind]
    return tuple(option.format(**kwargs, **_spelled(kwargs)) for option in options)


def _spelled(kwargs: Mapping[str, Any]) -> dict[str, str]:
    words = kwargs.get("keywords") or kwargs.get("forbidden_words") or ()
    spelled = {"listed": " and ".join(f'"{w}"' for w in words)}
    return spelled | ({"language_name": names()[kwargs["language"]]} if "language" in kwargs else {})
