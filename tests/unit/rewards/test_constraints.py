"""Every checker: at least three texts that pass, three that fail, and the boundary between them."""

from __future__ import annotations

import pytest

from theodolite import registry
from theodolite.rewards.rules import meets

LONG = "The cat sat on the mat and looked at the rain for a long time."  # 14 words, English
CASES: list[tuple[str, dict, list[str], list[str]]] = [
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        ["Yes.", "Two words.", "हिन्दी किताब"],
        ["One two three.", "a b c d", "It's me"],  # an apostrophe parts words, as in IFEval
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["One two three.", "a b c d", LONG],
        ["Two words.", "Yes.", "... !!! ???"],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        [
            "It rains. We stay.",
            "Is it? Yes!",
            "- first item\n- second item",
            "hello there. all lowercase here.",
            "雨です。雪です。",
            "It is late... Go home.",
        ],
        [
            "It costs 3.50 euros.",
            "Dr. Smith met J. Brown.",
            "Wait... what",
            "e.g. this one",
            "Use milk, eggs, etc. and stir.",
        ],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        ["One only.", "No stop at the end", "Hello!!! ???"],
        ["One. Two.", "One! Two? Three.", "1. Mix\n2. Stir"],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["One\n***\nTwo", "One *** Two", "***\nOne\n***\nTwo\n***"],
        ["One\n\nTwo", "One\n***\nTwo\n***\nThree", "One\n***\n***\nTwo", "***"],
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Weekend"},
        ["First.\n\nWeekend plans.", "First.\n\n**Weekend:** plans.", "\n\nFirst.\n\n\n\nweekend's here."],
        ["Weekend.\n\nSecond.", "First.\n\nWeekends are long.", "A\n\nWeekend\n\nC", "First.\nWeekend."],
    ),
    (
        "theodolite:max_words",
        {"max_words": 3},
        ["One two three.", "Yes.", "Two words!"],
        ["One two three four.", LONG, "It's a dog"],
    ),
    (
        "theodolite:word_range",
        {"min_words": 2, "max_words": 4},
        ["One two.", "One two three four!", "a b c"],
        ["One.", "One two three four five.", "..."],
    ),
    (
        "theodolite:one_sentence",
        {},
        ["It rains today.", "What is it", "Mr. Smith pays 3.50 euros!"],
        ["It rains. It snows.", "It rains\ntoday.", "- a\n- b", "!!!"],
    ),
    (
        "theodolite:exact_lines",
        {"num_lines": 2},
        ["a\nb", "a\n\nb\n", "  a\n  b"],
        ["a", "a\nb\nc", "a b"],
    ),
    (
        "theodolite:exact_paragraphs",
        {"num_paragraphs": 2},
        ["a\n\nb", "a\nstill a\n\n\n\nb", "\n\na\n \nb\n\n"],
        ["a\nb", "a", "a\n\nb\n\nc"],
    ),
    (
        "keywords:existence",
        {"keywords": ["mom", "C++"]},
        ["Mom writes C++.", "A moment of c++", "c++ mom"],
        ["Mom writes.", "C++ only", "mom writes Ccc"],
    ),
    (
        "keywords:frequency",
        {"keyword": "story", "frequency": 2, "relation": "at least"},
        ["A story of a story.", "STORY story", "story-story-story"],
        ["A story.", "stories and stories", "none"],
    ),
    (
        "keywords:frequency",
        {"keyword": "a.b", "frequency": 1, "relation": "less than"},
        ["axb", "nothing", "a b"],
        ["a.b", "x A.B x", "a.b a.b"],
    ),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["rock", "C++"]},
        ["rocket", "rocks and stones", "C only"],
        ["a Rock.", "rock", "I use c++ now"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "b", "let_frequency": 2, "let_relation": "at least"},
        ["Bob", "b b b", "BaBy"],
        ["b", "none", "a single Bee"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 2, "let_relation": "less than"},
        ["none", "# one", "C#"],
        ["##", "# and #", "###"],
    ),
    (
        "language:response_language",
        {"language": "de"},
        [
            "Das ist ein schöner Tag und wir gehen nach Hause.",
            "Ich weiß nicht, was du meinst.",
            "DER HUND IST MÜDE UND SCHLÄFT.",
        ],
        [LONG, "Dit is een mooie dag en we gaan naar huis.", "12345", "Это хороший день."],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[name] and [date]", "[a][b][c]", "Dear [first name],\n[your city]"],
        ["[name]", "[] []", "[ ] [x]", "[not\nclosed] [a]"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.S."},
        ["Bye.\nP.S. Bring cake.", "Bye. p.s. bring cake", "Bye.\n**P. S.** More."],
        ["Bye.\nP.S.", "Bye. PS bring cake", "Bye.\nP.P.S. More.", "no postscript"],
    ),
    (
        "detectable_content:postscript",
        {"postscript_marker": "P.P.S"},
        ["Bye.\nP.P.S. Bring cake.", "P.P.S more", "Bye. p. p. s. and so on"],
        ["P.S. one", "P.P.S", "P.P. one"],
    ),
    (
        "theodolite:contains_number",
        {"at_least": 2},
        ["Add 2 eggs and 3.5 cups.", "1990 to 2000", "1. Take 4 of 5"],
        ["1. one\n2. two", "Add 2 eggs.", "3.5 cups", "none"],
    ),
    (
        "theodolite:no_digits",
        {},
        ["two eggs", "None at all!", "II"],
        ["2 eggs", "MP3", "1. first"],
    ),
    (
        "theodolite:contains_question",
        {},
        ["Why not? Try it.", "Are you sure?", '"Really?" she said.'],
        ["Why not. Try it.", "?!", "I asked her."],
    ),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "- a\n- b\n---", "Points:\n  * a\n\n  - b\nDone."],
        ["* a", "* a\n* b\n* c", "*a*\n*b*", "-5 degrees\n-6 degrees", "* * *\n- - -"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is yes.", "Well. My answer is no.", "  My answer is maybe.\n"],
        ["yes", "My answer is yes", "My answer is yes. My answer is no."],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b c*", "**a** then *b*", "* item *one*\n* item *two*"],
        ["***a***", "2 * 3 * 4 * 5", "* a\n* b\n* c", "** a ** and **b**"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb", "## Section 1: a\n\n**Section 2** b", "Section 1\nSection 2\nSection 3"],
        ["Section 1\na", "Section 1\na\nSection 1\nb", "SECTION 1\nSECTION 2", "As in Section 1 and in Section 2"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": 1}', '```json\n["x"]\n```', ' ```\n{"a": {"b": null}}\n``` '],
        ['"a sentence"', "42", '{"a": NaN}', "{'a': 1}", 'Here: {"a": 1}', "[" * 100_000],
    ),
    (
        "detectable_format:title",
        {},
        ["<<Joy>>\nText", "Text <<a b>>", "<<<x>>>"],
        ["<<>>", "<Joy>", "<< >>", "<<Joy\nful>>", "Joy"],
    ),
    (
        "theodolite:numbered_list",
        {"num_items": 2},
        ["1. a\n2. b", "1) a\n2) b", "Steps:\n\n  1. a\n\n  2. b\nDone."],
        ["1. a", "1. a\n2. b\n3. c", "1. a\n1. b", "2. a\n1. b", "1.a\n2.b"],
    ),
    (
        "combination:two_responses",
        {},
        ["a\n******\nb", "******\na\n******\nb\n******", "a****** b"],
        ["a", "a******a", "a******b******c", "a************b", "******"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Name a colour."},
        ["Name a colour. Blue.", "name a COLOUR.\n\nRed", "  Name a colour.Green"],
        ["Blue.", "Name a colour.", "Name a color. Blue.", "You said: Name a colour. Blue."],
    ),
    (
        "startend:end_checker",
        {"end_phrase": "That is all."},
        ["Eggs. That is all.", '"Eggs. that is all."', "THAT IS ALL. \n"],
        ["That is all. Bye.", "That is all", "Eggs."],
    ),
    (
        "startend:quotation",
        {},
        ['"Hello."', ' "A"\n', '"One," she said. "Two."'],
        ["Hello.", '"Hello.', 'Hello."', '""', '"', "“Hello.”"],
    ),
    (
        "theodolite:starts_with",
        {"phrase": "Of course"},
        ["Of course, sir.", '"of course"', "**Of course** not"],
        ["Of courses", "Sure, of course", "Of", "Off course"],
    ),
    (
        "theodolite:ends_with_punctuation",
        {"mark": "?"},
        ["Why?", '"Why?"', "Why?!?"],
        ["Why", "Why? Because.", "Why?!"],
    ),
    (
        "theodolite:ends_with_punctuation",
        {"mark": "."},
        ["Yes.", "*Yes.*", '"Yes."  '],
        ["Yes", "Yes...", "Yes!"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["NASA and ESA", "I am BIG", "WELL-KNOWN U.S. facts"],
        ["NASA alone", "WELL-KNOWN thing", "Nothing Here"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        ["NASA alone", "none here", "U.S. law"],
        ["NASA and ESA", "I AM", "A B C"],
    ),
    (
        "change_case:english_capital",
        {},
        ["THE CAT SAT ON THE MAT AND LOOKED AT THE RAIN.", "OK!", "IT IS 5 O'CLOCK."],
        ["The CAT", "DAS IST EIN SCHÖNER TAG UND WIR GEHEN NACH HAUSE.", "12345", "ЭТО ДЕНЬ"],
    ),
    (
        "change_case:english_lowercase",
        {},
        ["the cat sat on the mat.", "ok", "it is 5 o'clock, is it not?"],
        ["The cat", "das ist ein schöner tag und wir gehen nach hause.", "12345", "это хороший день"],
    ),
    (
        "punctuation:no_comma",
        {},
        ["No such mark.", "a; b: c", "one\ntwo"],
        ["a, b", "1,000", "一、二", "نعم، لا"],
    ),
    (
        "theodolite:no_exclamation",
        {},
        ["Calm.", "Really?", "a b"],
        ["Wow!", "Oh! no", "好！"],
    ),
]


@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_checker_tells_good_from_bad(kind, kwargs, good, bad):
    constraint = {"id": kind, "kwargs": kwargs}
    assert len(good) >= 3
    assert len(bad) >= 3
    assert [t for t in good if not meets(constraint, t)] == []
    assert [t for t in bad if meets(constraint, t)] == []


def test_every_registered_kind_has_cases():
    ours = {e.name for e in registry.entries("constraint") if e.function.__module__.startswith("theodolite.")}
    assert ours == {c[0] for c in CASES}


PUBLIC = """keywords:existence keywords:frequency keywords:forbidden_words keywords:letter_frequency
language:response_language length_constraints:number_sentences length_constraints:number_paragraphs
length_constraints:number_words length_constraints:nth_paragraph_first_word detectable_content:number_placeholders
detectable_content:postscript detectable_format:number_bullet_lists detectable_format:constrained_response
detectable_format:number_highlighted_sections detectable_format:multiple_sections detectable_format:json_format
detectable_format:title combination:two_responses combination:repeat_prompt startend:end_checker startend:quotation
change_case:capital_word_frequency change_case:english_capital change_case:english_lowercase punctuation:no_comma"""


def test_all_25_public_ids_are_there():
    assert len(PUBLIC.split()) == 25
    assert set(PUBLIC.split()) <= set(registry.names("constraint"))


@pytest.mark.parametrize("kind", sorted({c[0] for c in CASES}))
def test_an_empty_response_meets_nothing(kind):
    kwargs = next(c[1] for c in CASES if c[0] == kind)
    for text in ("", "  \n\t ", "\n\n"):
        assert not meets({"id": kind, "kwargs": kwargs}, text)
        assert not meets({"id": kind, "kwargs": kwargs}, text, loose=True)
