"""The index as data: filters, links, states."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from theodolite.catalogue.index import Paper, by_arxiv, keep, papers
from theodolite.errors import UnknownName


def test_states_and_links() -> None:
    found = {p.key: p for p in papers()}
    assert found["bco"].state == "runs"
    assert found["bco"].url == "https://arxiv.org/abs/2404.04656"
    assert found["panohead"].state == "out of scope"
    assert found["galactic-filaments"].url == ""
    assert by_arxiv()["2404.04656"].key == "bco"
    assert {p.state for p in papers()} == {"runs", "not yet", "out of scope"}


def test_filters_narrow_and_combine() -> None:
    measures = keep(papers(), family="measures")
    assert measures
    assert all("measures" in p.families for p in measures)
    reliable = keep(papers(), facet="trust:reliability")
    assert {"honesty", "mask-dpo"} <= {p.key for p in reliable}, "a category holds what is tagged with its parts"
    both = keep(papers(), family="measures", facet="trust:reliability", runnable=True)
    assert {p.key for p in both} <= {p.key for p in measures} & {p.key for p in reliable}
    assert all(p.runs for p in both)


def test_unknown_filters_are_letters() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'measures'"):
        keep(papers(), family="measure")
    with pytest.raises(UnknownName, match="trust:sycophancy"):
        keep(papers(), facet="trust:sycophansy")


def test_one_liners_are_one_line_and_a_sentence() -> None:
    for p in papers():
        assert "\n" not in p.does
        assert p.does.endswith("."), p.key
        assert 40 <= len(p.does) <= 160, (p.key, len(p.does))
        assert not p.does.lower().startswith(("this paper", "we ", "the paper")), p.key


@pytest.mark.parametrize("change", [{"arxiv": "24.1"}, {"wave": -1}, {"families": ()}, {"run": {}}, {"key": "A b"}])
def test_a_broken_entry_is_refused(change: dict[str, object]) -> None:
    row: dict[str, object] = {"key": "a", "title": "t", "does": "d", "families": ("data",), "stage": "s", "wave": 1}
    Paper.model_validate(row)
    with pytest.raises(ValidationError):
        Paper.model_validate(row | change)
