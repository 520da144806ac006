"""What the page of a comparison says, and that it holds together."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from theodolite.data.results import Column, Comparison, Reliability, Results, compare
from theodolite.errors import StorageError
from theodolite.reports import comparison as report
from unit.reports.test_page import Outline

HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def side(name: str, values: list[float | None], metric: str = "acc", **rest: object) -> Results:
    protocol = rest.pop("protocol", {"template": "none", "backend": "hf", "decoding": "greedy"})
    column = Column.of(metric, [f"q{i}" for i in range(len(values))], values, **rest)
    return Results(name, {metric: column}, protocol, format="table", path=f"{name}.csv")  # type: ignore[arg-type]


def many() -> Comparison:
    r = np.random.default_rng(0)
    sides = []
    for name, gain in (("base", 0.0), ("tuned", 0.35), ("other", 0.02)):
        metrics = {
            "gsm8k/acc": Column.of("acc", map(str, range(120)), (r.random(120) < 0.4 + gain).astype(float)),
            "length": Column.of("length", map(str, range(120)), r.normal(200, 30, 120), unit="tokens"),
        }
        sides.append(Results(name, metrics, {"template": "none"}, format="table", path=f"{name}.csv"))
    return compare(sides)


def test_the_page_is_well_formed_and_loads_nothing(tmp_path: Path) -> None:
    path = report.write(many(), tmp_path / "c.html")
    html = path.read_text(encoding="utf-8")
    outline = Outline(html)
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.refs) <= set(outline.ids)
    assert not {t for t, _ in outline.tags} & {"script", "link", "iframe", "object", "img", "base", "form"}
    drawings = [a for t, a in outline.tags if t == "svg"]
    assert len(drawings) == 4  # shares and tokens have an axis each, both at two widths
    assert all(a["role"] == "img" for a in drawings)
    assert "url(" not in html
    assert "undefined" not in " ".join(outline.words)


def test_the_page_and_its_data_say_the_same() -> None:
    found = many()
    data = report.contents(found)
    text = " ".join(Outline(report.render(data)).words).replace("\u202f", " ").replace("\u00a0", " ")
    assert data["claim"] in text
    for r in data["rows"]:
        assert r["verdict"] in text
        assert r["shown"]["span"] in text
        assert r["metric"] in text
    assert json.loads(report.as_json(found)) == json.loads(json.dumps(data))


def test_numbers_of_a_row_are_those_computed() -> None:
    found = compare([side("a", [0.0] * 15 + [1.0] * 5), side("b", [1.0] * 20)])
    (row,) = report.contents(found)["rows"]
    d = found.rows[0].difference
    assert (row["mean_a"], row["mean_b"], row["value"]) == (0.25, 1.0, 0.75)
    assert (row["low"], row["high"], row["p"], row["detectable"]) == (d.low, d.high, d.p, d.detectable)
    assert row["shown"]["difference"] == "+75 points"
    assert row["shown"]["a"] == "25 %"
    assert row["shown"]["p"] == "< 0.001"
    assert row["shown"]["detectable"].endswith(" points")


@pytest.mark.parametrize(
    ("a", "b", "metric", "said"),
    [
        ([0.0] * 20, [1.0] * 20, "acc", "b is better than a on acc"),
        ([1.0] * 20, [0.0] * 20, "acc", "b is worse than a on acc"),
        ([9.0, 8.0] * 20, [5.0, 4.5] * 20, "length", "length is lower for b than for a"),
        ([1.0, 0.0] * 20, [0.0, 1.0] * 20, "acc", "No detectable change in acc from a to b"),
        ([0.0] * 3, [1.0] * 3, "acc", "Too few items to tell b from a on acc"),
    ],
)
def test_one_comparison_in_a_sentence(a: list[float], b: list[float], metric: str, said: str) -> None:
    data = report.contents(compare([side("a", list(a), metric), side("b", list(b), metric)]))
    assert data["claim"] == said
    assert "four times out of five" in data["standfirst"] or data["rows"][0]["detectable"] is None


def test_several_comparisons_in_a_sentence() -> None:
    assert report.contents(many())["claim"].endswith("of 6 comparisons show a difference")
    flat = [side(n, [1.0, 0.0] * 10) for n in "abc"]
    assert report.contents(compare(flat))["claim"] == "No detectable change in any of 3 comparisons"
    tiny = [side(n, [1.0, 0.0]) for n in "abc"]
    assert report.contents(compare(tiny))["claim"] == "Too few items to tell the sides apart in any of 3 comparisons"
    three = [side(n, [v] * 20) for n, v in (("a", 0.0), ("b", 1.0), ("c", 1.0), ("d", 0.0))]
    said = report.contents(compare(three, baseline="a"))["claim"]
    assert said == "Against a on acc, b and c are better; 1 of 3 show no detectable change"
    two = [
        Results(n, {m: Column.of(m, map(str, range(30)), [v] * 30) for m, v in vs.items()})
        for n, vs in (("a", {"acc": 0, "loss": 0, "f": 1}), ("b", {"acc": 1, "loss": 1, "f": 1}))
    ]
    said = report.contents(compare(two))["claim"]
    assert said == "Against a, b is better on acc and worse on loss; 1 of 3 show no detectable change"


def test_cautions() -> None:
    judged = [side(n, [float(i % 3 == j) for i in range(30)], judge="gpt") for j, n in enumerate("ab")]
    said = " ".join(report.contents(compare(judged))["cautions"])
    assert "Judge not measured" in said
    known = compare(judged, reliability=[Reliability("gpt", 0.86, 0.71, 400)])
    data = report.contents(known)
    assert not any("not measured" in c for c in data["cautions"])
    assert data["rows"][0]["judge"]["said"] == "agrees with people on 86.0 %, kappa 0.71, 400 items"
    differing = [side("a", [1.0] * 9, protocol={"template": "x"}), side("b", [0.0] * 9, protocol={"template": "y"})]
    accepted = report.contents(compare(differing, despite=["template"]))
    assert accepted["cautions"][0] == "Compared despite a difference of protocol. template: a has 'x', b has 'y'."
    assert accepted["protocol"][0] == {
        "key": "template", "what": "the chat template, or how a conversation was rendered", "values": ["x", "y"],
    }  # fmt: skip
    assert any("No side records backend, decoding" in c for c in accepted["cautions"])
    loose = compare([side(n, [1.0, 0.0] * 10) for n in "abc"], correction="none")
    assert any("not corrected for being many: expect 0.15" in c for c in report.contents(loose)["cautions"])
    gaps = compare([side("a", [1.0] * 6 + [None] * 4), side("b", [1.0] * 20)])
    assert any("14 of 20 items were left out" in c for c in report.contents(gaps)["cautions"])


def test_an_interval_and_a_corrected_test_that_disagree_are_told() -> None:
    a = [1.0] * 10 + [0.0] * 30
    weak = [0.0, 0.0] + [1.0] * 8 + [1.0] * 10 + [0.0] * 20
    data = report.contents(compare([side("a", list(a)), side("b", list(weak)), side("c", list(a))]))
    assert any("the interval leaves out 0, but the corrected test" in c for c in data["cautions"])


def test_items_left_out_are_named_up_to_five() -> None:
    data = report.contents(compare([side("a", [1.0] * 20), side("b", [1.0] * 8)]))
    assert data["rows"][0]["only_a"] == {"count": 12, "items": ["q8", "q9", "q10", "q11", "q12"]}
    assert data["rows"][0]["why"] == {"only in the first": 12}
    page = " ".join(Outline(report.render(data)).words)
    assert re.search(r"only in a: q8, q9, q10, q11, q12, …", page)


def test_marks_follow_the_verdict() -> None:
    """A filled dot for a change, a hollow one for none; the band reaches as far as what could be detected."""
    clear = report.contents(compare([side("a", [0.0] * 40), side("b", [1.0] * 40)]))["rows"]
    flat = report.contents(compare([side("a", [1.0, 0.0] * 20), side("b", [0.0, 1.0] * 20)]))["rows"]
    assert "after-dot" in report.dots(clear, "x", 760)
    assert "before-dot" in report.dots(flat, "x", 760)
    assert "after-dot" not in report.dots(flat, "x", 335)
    assert "shift unsure" in report.dots(flat, "x", 760)


def test_hostile_text_stays_text() -> None:
    a = Results(HOSTILE, {HOSTILE: Column.of(HOSTILE, [HOSTILE, "x"], [1, 0], judge=HOSTILE)}, {"template": HOSTILE})
    b = Results(
        "b", {HOSTILE: Column.of(HOSTILE, [HOSTILE, "y"], [1, 0], judge=HOSTILE)}, {"template": "t"}, path=HOSTILE
    )
    html = report.render(report.contents(compare([a, b], despite=["template"])))
    outline = Outline(html)
    assert not {t for t, _ in outline.tags} & {"script", "img"}
    assert not [a for _, a in outline.tags if "onerror" in a]


def test_a_page_that_cannot_be_written_is_a_letter(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no folder"):
        report.write(many(), tmp_path / "no" / "c.html")


def test_the_same_comparison_gives_the_same_page() -> None:
    assert report.render(report.contents(many())) == report.render(report.contents(many()))
