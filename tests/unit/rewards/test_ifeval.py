"""The public IFEval rows: all of them run, and responses made by hand for real rows get the verdict we expect."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from theodolite.rewards.rules import check, resolve

SHARED = Path(os.environ.get("THEODOLITE_SHARED", Path(__file__).parents[4] / "shared"))
FILE = SHARED / "data/instructions/ifeval_input_data.jsonl"


@pytest.fixture(scope="module")
def rows():
    if not FILE.is_file():
        pytest.skip(f"the IFEval file is not at {FILE}; set THEODOLITE_SHARED")
    with FILE.open(encoding="utf-8") as lines:
        return {row["key"]: row for row in map(json.loads, lines)}


def constraints(row):
    return [{"id": i, "kwargs": k} for i, k in zip(row["instruction_id_list"], row["kwargs"], strict=True)]


TEXTS = [
    "",
    "Sure, here it is.",
    "one\n\ntwo\n***\nthree",
    '{"a": 1}',
    "ALL CAPITALS",
    "你好，世界",
    "* a\n* b\n\nP.S. c",
    "\x00 \ud7ff",
]


def test_all_rows_parse_and_their_checkers_run(rows):
    assert len(rows) == 270
    for row in rows.values():
        for constraint in constraints(row):
            resolve(constraint)
        for text in TEXTS:
            strict, loose = check(constraints(row), text), check(constraints(row), text, loose=True)
            assert len(strict) == len(row["kwargs"])
            assert all(isinstance(v, bool) for v in strict.values())
            assert all(loose[k] for k, v in strict.items() if v)


def test_every_row_with_its_options_as_null_gives_the_same(rows):
    """Copies of the file on hubs fill every option of every kind with null."""
    names = {name for row in rows.values() for k in row["kwargs"] for name in k}
    for row in list(rows.values())[:60]:
        padded = [{**c, "kwargs": dict.fromkeys(names) | c["kwargs"]} for c in constraints(row)]
        assert check(padded, TEXTS[2]) == check(constraints(row), TEXTS[2])


COLOURS = "\n".join(f"* Name {i}" for i in range(10))
# (key of the row, response, verdict of each of its constraints, in order)
ORACLE = [
    (1162, "What warns you of luck yet never speaks? A good omen!", [True]),
    (1162, "What warns you of luck, yet never speaks?", [False]),
    (1019, "are the two young boys playing a game or making music?", [True]),
    (1019, "Are the two young boys playing?", [False]),
    (1098, "The Almighty\n******\nThe Creator", [True]),
    (1098, "The Almighty and The Creator", [False]),
    (1107, "Why did the rocket rest? It was out of gas.\n******\nWhat do rockets eat? Launch.", [True, True]),
    (1107, "Well, one joke only.", [False, False]),
    (1108, "ಇಲ್ಲ, ಹ್ಯಾಂಬರ್ಗರ್ ಒಂದು ರೀತಿಯ ತಿಂಡಿ.", [True]),
    (1108, "No, they are not sandwiches.", [False]),
    (1122, "come and read our new story #bunny #story #news #weekend", [True, True]),
    (1122, "Come and read our new story #bunny #story #news", [False, False]),
    (1130, "How high is a big red sofa's back?", [True]),
    (1130, "What is that?", [False]),
    (1154, "ਤਕਨੀਕੀ ਹੁਨਰ ਦਾ ਮੁਲਾਂਕਣ ਪੰਜ ਪੱਧਰਾਂ ਵਿੱਚ ਕੀਤਾ ਜਾਂਦਾ ਹੈ।", [True]),
    (1220, "Two cups met at noon.\nIs there anything else I can help with?", [True]),
    (1220, "Is there anything else I can help with? Two cups met at noon.", [False]),
    (1242, '```json\n{"name": "Staff"}\n```', [True, True]),
    (1242, '{"nickname": "Staff"}', [True, False]),
    (1305, COLOURS + "\n\nP.P.S. Choose with care.", [True, True]),
    (1305, COLOURS + "\n* Name 10\n\nP.S. Choose with care.", [False, False]),
    (1348, "*Brilliant* Le Hou is *a painter* from *Hanoi*", [True, True, True]),
    (1348, "The painter, *Brilliant* Le, lives in *Hanoi*", [False, False, False]),
    (2078, "* I eat snakes and I am no cat. What am I?", [True]),
    (2250, "Read the manual.\n\nUse the belt.\n\nPull it tight.\n\nElm is not needed.", [True]),
    (2250, "Elm first.\n\nUse the belt.\n\nPull it tight.\n\nDone.", [False]),
    (2299, "Mwalimu aliuliza wanafunzi wake swali, na wao wakacheka kwa sababu hawakuwa na jibu.", [True]),
    (227, "My answer is maybe. It depends on the poodle.", [True]),
    (227, "Usually not.", [False]),
    (
        2305,
        "Write a good name for a black dog. Your answer must contain a title, wrapped in double angular brackets.\n<<Ink>>",
        [True, True],
    ),
    (2305, "<<Ink>>", [False, True]),
    (2341, "IT IS A GOOD IDEA AND IT CAN DO NO HARM.", [True]),
    (2341, "It IS A GOOD IDEA.", [False]),
    (2239, '"I threw my anger in the fire."', [True]),
    (2239, "I threw my anger in the fire.", [False]),
    (240, "Решётка — это узор из линий, которые пересекаются, и его можно увидеть на заборе.", [True]),
    (2225, "둑은 강을 따라 쌓고 제방은 더 넓은 말입니다.", [True]),
    (2357, "Louvre.\n***\nSeine.\n***\nTower.\n***\nHome.", [True]),
    (2357, "Louvre.\n\nSeine.\n\nTower.\n\nHome.", [False]),
    (2136, "A man from the IRS called [name] and asked for a laugh.", [True]),
    (2328, "We bury your letters and open them in ten years.", [True]),
    (2328, "Our Capsule keeps your letters.", [False]),
]


@pytest.mark.parametrize(("key", "response", "verdicts"), ORACLE)
def test_hand_made_responses_to_real_rows(rows, key, response, verdicts):
    assert list(check(constraints(rows[key]), response).values()) == verdicts


def test_word_bounds_of_a_real_row(rows):
    bounds = constraints(rows[1217])  # at most 150 words
    assert list(check(bounds, "word " * 150).values()) == [True]
    assert list(check(bounds, "word " * 151).values()) == [False]
