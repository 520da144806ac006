"""Sentences: where they end, where they do not, and that no letter is lost."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.data.sentences import sentences

CASES = [
    ("One. Two! Three?", ["One.", "Two!", "Three?"]),
    ("No mark at the end", ["No mark at the end"]),
    ("Dr. Low met Mr. J. K. Ray. They left.", ["Dr. Low met Mr. J. K. Ray.", "They left."]),
    ("It is 3.5 m, e.g. here, i.e. not there.", ["It is 3.5 m, e.g. here, i.e. not there."]),
    ("See example.com for more. Thanks", ["See example.com for more.", "Thanks"]),
    ('He said "Stop!" Then he left.', ['He said "Stop!"', "Then he left."]),
    ("Really?! Yes... and so on. Wait… What?", ["Really?!", "Yes... and so on.", "Wait…", "What?"]),
    ("1. Stir.\n2. Bake for 20 min. 3 eggs.\n- Done", ["1. Stir.", "2. Bake for 20 min.", "3 eggs.", "- Done"]),
    ("A title\n\nA paragraph\nthat goes on.", ["A title", "A paragraph\nthat goes on."]),
    ("这是一句。那是两句！对吗？", ["这是一句。", "那是两句！", "对吗？"]),
    ("I am I. He is not. Was it in 1999. Yes.", ["I am I.", "He is not.", "Was it in 1999.", "Yes."]),
    ("(One.) [Two.] *Three.* Four", ["(One.)", "[Two.]", "*Three.*", "Four"]),
    ("", []),
    (" \n ", []),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_by_hand(text, expected):
    assert [text[a:b] for a, b in sentences(text)] == expected


@given(st.text(alphabet="ab I.!?…。\n \t1-\"'()Dr", max_size=80))
def test_sentences_are_in_order_apart_trimmed_and_lose_no_letter(text):
    spans = sentences(text)
    assert all(a < b for a, b in spans)
    assert all(b <= c for (_, b), (c, _) in itertools.pairwise(spans))
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
