"""Views: what each keeps, in which order, and why it leaves the rest out."""

from __future__ import annotations

import math

import pytest

from theodolite.data import views
from theodolite.errors import DataError, UnknownName, UsageError
from theodolite.types import Example, Response, Span


def scored(*values, id="e", texts=None):
    texts = texts or [f"answer {i}" for i in range(len(values))]
    return Example.of("q", *(Response(t, score=v) for t, v in zip(texts, values)), id=id)


def order(example):
    return [int(r.text.split()[1]) for r in example.responses]


def test_all_pairs_of_a_ranking_with_a_tie():
    """Scores 3, 1, 2, 1: pairs 0>1, 0>2, 0>3, 2>1, 2>3; 1 and 3 tie. Five pairs, weight 1/5 each."""
    kept, out = views.pairs([scored(3, 1, 2, 1)])
    assert sorted(map(order, kept)) == [[0, 1], [0, 2], [0, 3], [2, 1], [2, 3]]
    assert {e.meta["weight"] for e in kept} == {0.2}
    assert {tuple(order(e)): e.meta["gap"] for e in kept}[(0, 1)] == 2
    assert len({e.id for e in kept}) == 5
    assert {e.meta["prompt_id"] for e in kept} == {"e"}
    assert out == []


@pytest.mark.parametrize(("how", "expected"), [("best_worst", [[0, 1]]), ("adjacent", [[0, 2], [2, 1]])])
def test_best_against_worst_and_neighbours(how, expected):
    assert [order(e) for e in views.pairs([scored(3, 1, 2, 1)], how).examples] == expected


def test_gap_and_cap_take_the_widest():
    assert sorted(map(order, views.pairs([scored(3, 1, 2)], min_gap=2).examples)) == [[0, 1]]
    capped = views.pairs([scored(3, 1, 2)], max_per_prompt=2).examples
    assert [order(e) for e in capped] == [[0, 1], [0, 2]]
    assert [e.meta["weight"] for e in capped] == [0.5, 0.5]
    assert views.pairs([scored(3, 1)], min_gap=5).left_out == [views.LeftOut("e", "no gap of at least 5")]


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        (scored(1, 1), "a tie"),
        (scored(1), "one response only"),
        (scored(), "no response"),
        (scored(None, None), "without scores"),
        (scored(1, None), "without scores"),
        (scored(1, math.nan), "without scores"),
        (scored(1, 0, texts=["same ", "same"]), "equal"),
        (scored(1, 0, texts=[" ", "b"]), "the better response is empty"),
    ],
)
def test_why_there_is_no_pair(example, reason):
    kept, out = views.pairs([example])
    assert kept == []
    assert reason in out[0].reason


def test_an_empty_rejected_answer_may_be_unlearned():
    assert len(views.pairs([scored(1, 0, texts=["a", ""])]).examples) == 1


def test_pairs_from_labels_where_there_is_no_score():
    e = Example.of("q", Response("bad 0", label=False), Response("good 1", label=True))
    assert [r.text for r in views.pairs([e]).examples[0].responses] == ["good 1", "bad 0"]


@pytest.mark.parametrize("options", [{"min_gap": -1}, {"max_per_prompt": 0}, {"how": "some"}])
def test_options_of_pairs_that_cannot_be_meant(options):
    with pytest.raises(UsageError):
        views.pairs([], **options)


def test_rankings_are_sorted_stable_and_need_two_scores():
    kept, out = views.rankings([scored(1, 3, None, 1), scored(2, 2, id="tie")])
    assert [order(e) for e in kept] == [[1, 0, 3]]
    assert [o.id for o in out] == ["e", "tie"]
    assert "without score" in out[0].reason


def test_labels_from_thumbs_from_the_prompts_mean_and_from_a_bar():
    e = Example.of("q", Response("t", label=False, score=9))
    assert views.labels([e]).examples[0].responses[0].label is False  # a label beats a score
    kept, out = views.labels([scored(1, 2, 3)])
    assert [(r.text, r.label) for r in kept[0].responses] == [("answer 0", False), ("answer 2", True)]  # mean 2
    assert "telling score" in out[0].reason
    assert [r.label for r in views.labels([scored(1, 2, 3)], threshold=2).examples[0].responses] == [False, True, True]
    assert views.labels([scored(1)]).examples == []
    assert views.labels([scored(math.nan, 1, 3)]).examples[0].responses[-1].label is True


def test_sft_takes_the_best_that_is_neither_empty_nor_bad():
    assert order(views.sft([scored(1, 3, 2)]).examples[0]) == [1]
    assert views.sft([scored(1, 3, texts=["a", " "])]).examples[0].responses[0].text == "a"
    assert views.sft([Example.of("q", "first 0", "second 1")]).examples[0].responses[0].text == "first 0"
    out = views.sft([Example.of("q", Response("x", label=False)), Example.of("q")]).left_out
    assert [o.reason for o in out] == ["every response is empty or labelled bad", "no response"]


def test_spans_give_each_sentence_one_verdict():
    text = "One is true. Two is not. Three."
    r = Response(text, spans=(Span(13, 20, "hallucination"), Span(22, 24, "vague")))
    got = views.spans([Example.of("q", r)]).examples[0].responses[0].spans
    assert [(text[s.start : s.end], s.verdict) for s in got] == [
        ("One is true.", "ok"),
        ("Two is not.", "hallucination"),
        ("Three.", "ok"),
    ]
    good = views.spans([Example.of("q", Response(text, label=True))], unmarked="fine").examples[0].responses[0].spans
    assert [s.verdict for s in good] == ["fine"] * 3
    kept, out = views.spans([Example.of("q", Response(text, label=False), Response(text))])
    assert kept == []
    assert "without verdicts" in out[0].reason


def test_judgments_one_a_response_and_plain_ones_on_request():
    e = Example.of("q", Response("a", judgment="wrong"), Response("b"), Response("c", judgment="right"), id="e")
    assert [(x.id, x.responses[0].text) for x in views.judgments([e]).examples] == [("e/0", "a"), ("e/1", "c")]
    assert len(views.judgments([e], plain=True).examples) == 3
    assert "written judgment" in views.judgments([e]).left_out[0].reason


def test_edits_put_the_edited_text_first_and_refuse_unrelated_answers():
    related = scored(0, 1, texts=["the cat sat on the mat", "the dog sat on the mat"])
    kept, _ = views.edits([related])
    assert [r.text.split()[1] for r in kept[0].responses] == ["dog", "cat"]
    assert kept[0].meta["kept"] == pytest.approx(5 / 6)
    other = scored(1, 0, texts=["yes", "by no means whatsoever"])
    assert "not an edit" in views.edits([other]).left_out[0].reason
    assert len(views.edits([other], min_kept=0).examples) == 1
    marked = Example(other.prompt, other.responses, meta={"edit": True})
    assert len(views.edits([marked]).examples) == 1


def test_prompts_once_each():
    kept, out = views.prompts([Example.of("a", "x"), Example.of("b"), Example.of("a", "y")])
    assert [(e.question, e.responses) for e in kept] == [("a", ()), ("b", ())]
    assert len(out) == 1


def test_views_leave_their_input_alone():
    e = scored(3, 1, 2)
    before = e.to_json()
    for name in views.VIEWS:
        views.VIEWS[name][0]([e])
    assert e.to_json() == before


def test_view_dispatches_refuses_and_offers_what_it_can():
    assert len(views.view("pairs", [scored(2, 1)], how="best_worst").examples) == 1
    with pytest.raises(UnknownName, match="Did you mean 'pairs'"):
        views.view("pair", [])
    with pytest.raises(UsageError, match=r"has no option 'min_gab'\. Did you mean 'min_gap'\?"):
        views.view("pairs", [], min_gab=1)
    with pytest.raises(DataError, match="there are no examples at all"):
        views.view("pairs", [])
    with pytest.raises(
        DataError,
        match=r"needs verdicts.*None of 2 examples.*2 x a response without verdicts.*: sft, pairs, rankings, labels",
    ):
        views.view("spans", [scored(2, 1), scored(3, 1)])
