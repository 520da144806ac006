from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from theodolite import registry
from theodolite.data.synthesize import kinds
from theodolite.data.synthesize.instructions import all_topics, build, combinations, topics
from theodolite.errors import UsageError
from theodolite.rewards.conflicts import fit_together
from theodolite.rewards.rules import check, resolve
from theodolite.types import Example


def ids(example):
    return [c["id"] for c in example.meta["constraints"]]


def test_the_same_seed_gives_the_same_prompts_and_another_seed_others():
    first = build(60, seed=3, constraints="all")
    assert first == build(60, seed=3, constraints="all")
    assert first[:20] == build(20, seed=3, constraints="all")
    assert {e.question for e in first} != {e.question for e in build(60, seed=4, constraints="all")}


def test_a_fixed_seed_gives_this_prompt_on_every_machine():
    (example,) = build(1, seed=0, topics=["castles"], constraints=["punctuation:no_comma"], max_constraints=1)
    assert example.meta["topic"] == "castles"
    assert example.meta["constraints"] == [{"id": "punctuation:no_comma", "kwargs": {}}]
    assert (example.id, example.question) == (
        "held_out-0001091b68",
        "Describe life in a castle in winter. Avoid commas.",
    )


def test_training_and_held_out_topics_are_disjoint_by_construction():
    train, held = topics("train"), topics("held_out")
    assert len(train) >= 40
    assert len(held) >= 20
    assert len(train) + len(held) == len(all_topics()) == len({t.topic for t in all_topics()})
    assert not {r for t in train for r in t.requests} & {r for t in held for r in t.requests}
    assert {t.domain for t in train} == {t.domain for t in held}
    built = {split: build(150, seed=0, topics=split) for split in ("train", "held_out")}
    assert not {e.meta["topic"] for e in built["train"]} & {e.meta["topic"] for e in built["held_out"]}
    assert all(e.meta["split"] == split and e.id.startswith(split) for split, es in built.items() for e in es)


def test_no_word_of_a_training_topic_names_a_held_out_one():
    def named(split):
        return {w for t in topics(split) for w in re.findall(r"\w{3,}", t.topic.lower())} - {"the", "for", "and"}

    assert named("train") & named("held_out") <= {"learning", "trip", "home", "house", "park", "first", "day", "new"}


def test_topics_are_well_formed():
    for t in all_topics():
        assert len(t.requests) == len(set(t.requests)) >= 3, t.topic
        assert len(set(t.keywords)) >= 2, t.topic
        assert not {k.lower() for k in t.keywords} & {a.lower() for a in t.avoid}, t.topic
        assert max(map(len, t.requests)) < 80
    assert len({r for t in all_topics() for r in t.requests}) == sum(len(t.requests) for t in all_topics())


def test_prompts_are_short_unique_and_carry_readable_constraints():
    examples = build(400, seed=1, constraints="all")
    assert len({e.question for e in examples}) == len({e.id for e in examples}) == 400
    for e in examples:
        assert 1 <= len(ids(e)) <= 3
        assert len(e.question.split()) < 90, e.question
        assert "{" not in e.question.replace("{}", ""), e.question
        for c in e.meta["constraints"]:
            resolve(c)
        assert Example.from_json(json.loads(json.dumps(e.to_json()))) == e


def test_kinds_topics_and_sizes_are_used_evenly():
    examples = build(360, seed=2, constraints="all")
    used = Counter(i for e in examples for i in ids(e))
    assert set(used) == set(kinds.PRESETS["all"])
    assert max(used.values()) <= 1.5 * min(used.values())
    assert max(Counter(e.meta["topic"] for e in examples).values()) == 8  # 360 / 48 topics, rounded up
    sizes = Counter(len(ids(e)) for e in examples)
    assert all(80 <= sizes[k] <= 160 for k in (1, 2, 3))


def test_conflicting_kinds_never_meet():
    for e in build(600, seed=5, constraints="all"):
        assert fit_together(ids(e)), ids(e)


def test_all_room_is_used_and_not_more():
    asked = ["change_case:english_capital", "change_case:english_lowercase", "punctuation:no_comma"]
    # 3 requests; singles 3, pairs 2 (the two cases conflict), triples none: 3 * 5 = 15
    full = build(15, seed=0, topics=["castles"], constraints=asked)
    assert len({(e.question.split("?")[0].split(".")[0], frozenset(ids(e))) for e in full}) == 15
    with pytest.raises(UsageError, match="make only 15"):
        build(16, seed=0, topics=["castles"], constraints=asked)


def test_combinations_by_a_slow_obvious_version():
    import itertools

    chosen = kinds.PRESETS["all"][::3]
    slow = {c for c in itertools.combinations(chosen, 3) if fit_together(c)}
    assert set(combinations(chosen, 3)) == slow


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"topics": "heldout"}, "Did you mean 'held_out'"),
        ({"topics": ["castle"]}, "Did you mean 'castles'"),
        ({"topics": []}, "list of topics is empty"),
        ({"constraints": "esay"}, "Did you mean 'easy'"),
        ({"constraints": ["punctuation:no_commas"]}, "Did you mean 'punctuation:no_comma'"),
        ({"constraints": []}, "list of constraints is empty"),
        ({"max_constraints": 0}, "must hold"),
        ({"n": -1}, "cannot be negative"),
    ],
)
def test_mistakes_are_answered_with_a_letter(options, says):
    with pytest.raises(UsageError, match=says):
        build(**{"n": 1, "seed": 0} | options)


def test_zero_prompts_are_no_prompts():
    assert build(0, seed=0) == []


def test_every_kind_but_the_fixed_answers_can_be_composed_and_has_wording():
    left_out = set(registry.names("constraint")) - set(kinds.DRAWS)
    assert left_out == {"detectable_format:constrained_response"}
    assert set(kinds.PRESETS["easy"]) < set(kinds.PRESETS["all"]) == set(kinds.DRAWS)
    assert {key.split("/")[0] for key in kinds.phrasings()} == set(kinds.DRAWS)
    assert all(len(set(options)) == len(options) >= 2 for options in kinds.phrasings().values())


ANSWERS = {
    "es": "Es la respuesta que me gusta y no hay más que decir.",
    "fr": "C'est la réponse que je vous donne et il n'y a pas plus.",
    "de": "Das ist die Antwort und mehr ist nicht zu sagen.",
    "it": "Questa è la risposta che mi piace e non c'è altro da dire.",
    "pt": "Esta é a resposta que eu tenho para você e não há mais.",
}


def core(want: dict) -> str:
    """One sentence without a stop that holds every word, mark and number asked for."""
    english = "it is the one that you want"
    words = (
        [ANSWERS[want["language:response_language"]["language"]].rstrip(".")]
        if "language:response_language" in want
        else [english]
    )
    words += want.get("keywords:existence", {}).get("keywords", ())
    if often := want.get("keywords:frequency"):
        words += [often["keyword"]] * often["frequency"]
    if letters := want.get("keywords:letter_frequency"):
        words += [letters["letter"] * letters["let_frequency"]]
    words += ["[a place]"] * want.get("detectable_content:number_placeholders", {}).get("num_placeholders", 0)
    words += ["*so*"] * want.get("detectable_format:number_highlighted_sections", {}).get("num_highlights", 0)
    words += ["NO"] * want.get("change_case:capital_word_frequency", {}).get("capital_frequency", 0)
    words += ["77"] * ("theodolite:contains_number" in want)
    least = [k.get("min_words") or (k.get("relation") == "at least" and k.get("num_words")) or 0 for k in want.values()]
    words += ["yes"] * max(0, *least, 0)
    sentences = want.get("length_constraints:number_sentences", {"relation": ""})
    if sentences["relation"] == "at least":
        words += ["so. yes"] * (sentences["num_sentences"] - 1)
    if "theodolite:contains_question" in want:
        words.insert(0, "yes?")
    return " ".join(words)


def laid_out(want: dict, text: str, opening: str) -> str:
    """The text as the lines that the layout asks for; lists get a line before them, where an opening can stand."""
    options = {name: value for kwargs in want.values() for name, value in kwargs.items()}

    def lines(n: int) -> list[str]:
        return [text] + ["yes"] * (n - 1)

    opened = f"{opening} {text}" if opening else text
    if "num_bullets" in options:
        bullets = "\n".join(f"- {line}" for line in lines(options["num_bullets"]))
        if "num_paragraphs" in options:
            return "\n***\n".join([opening or "so", *["yes"] * (options["num_paragraphs"] - 2), bullets])
        return f"{opening or 'so'}\n{bullets}"
    if "num_items" in options:
        return "\n".join([opening or "so", *(f"{i}. {line}" for i, line in enumerate(lines(options["num_items"]), 1))])
    if "num_sections" in options:
        mark = options["section_spliter"]
        return "\n".join(
            [opening or "so", *(f"{mark} {i}\n{t}" for i, t in enumerate(lines(options["num_sections"]), 1))]
        )
    if "first_word" in options:
        parts = lines(options["num_paragraphs"])
        parts[options["nth_paragraph"] - 1] = f"{options['first_word']} {parts[options['nth_paragraph'] - 1]}"
        return "\n\n".join(parts)
    if "num_paragraphs" in options:
        between = "\n***\n" if "length_constraints:number_paragraphs" in want else "\n\n"
        return between.join([opened, *lines(options["num_paragraphs"])[1:]])
    return "\n".join([opened, *lines(options.get("num_lines", 1))[1:]])


def obedient(example: Example) -> str:
    """A senseless answer that meets every constraint of the prompt, written without asking the checkers."""
    want = {c["id"]: c["kwargs"] for c in example.meta["constraints"]}
    keywords = list(want.get("keywords:existence", {}).get("keywords", ()))
    if "combination:repeat_prompt" in want:
        return f"{want['combination:repeat_prompt']['prompt_to_repeat']} <<a title>> yes {' '.join(keywords)}"
    if "detectable_format:json_format" in want:
        return json.dumps({"words": keywords})
    text = laid_out(want, core(want), want.get("theodolite:starts_with", {}).get("phrase", ""))
    if "detectable_format:title" in want:
        text += "\n<<a title>>"
    if "combination:two_responses" in want:
        text += f"\n******\n{text} again"
    if "detectable_content:postscript" in want:
        text += f"\n{want['detectable_content:postscript']['postscript_marker']} bye"
    if "startend:end_checker" in want:
        text += f". {want['startend:end_checker']['end_phrase']}"
    if "theodolite:ends_with_punctuation" in want:
        text = text.rstrip(".") + want["theodolite:ends_with_punctuation"]["mark"]
    if "change_case:english_capital" in want:
        text = text.upper()
    if "change_case:english_lowercase" in want:
        text = text.lower()
    if "startend:quotation" in want:
        text = f'"{text}"'
    return text.replace(",", "")


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_every_composed_prompt_can_be_satisfied(split):
    """The proof that the conflict table and the drawn options fit: a mechanical answer passes all checks."""
    for e in build(500, seed=9, topics=split, constraints="all"):
        text = obedient(e)
        failed = [k for k, ok in check(e.meta["constraints"], text).items() if not ok]
        assert not failed, (failed, e.question, text)


def test_every_pair_of_kinds_that_may_meet_can_be_satisfied_together():
    from random import Random

    from theodolite.data.synthesize.instructions import compose

    topic = topics(["castles"])[0]
    pairs = combinations(kinds.PRESETS["all"], 2)
    assert len(pairs) > 300
    for pair in pairs:
        for seed in range(3):
            e = compose(Random(seed), topic, topic.requests[0], pair)
            failed = [k for k, ok in check(e.meta["constraints"], obedient(e)).items() if not ok]
            assert not failed, (failed, e.meta["constraints"], obedient(e))
