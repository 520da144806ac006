"""Rubrics: our own are valid, the user's mistakes are answered with file, line and the nearest right key."""

from __future__ import annotations

from pathlib import Path

import pytest

from theodolite.errors import ConfigError, UnknownName
from theodolite.judges import Answer, Comparison, Rubric
from theodolite.judges.rubric import read_rubric, scenarios
from theodolite.judges.wording import grade_messages, pair_messages, request, scenario_messages
from theodolite.types import Message

GOOD = """\
name: short
role: You review answers for people in a hurry.
norms:
  - {name: brief, text: "Says no more than needed.", weight: 2}
  - {name: correct, text: "What it says is so.", weight: 5}
"""


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "rubric.yaml").write_text(text)
    return tmp_path / "rubric.yaml"


def test_a_rubric_is_read_and_told_the_weightiest_first(tmp_path: Path) -> None:
    rubric = read_rubric(written(tmp_path, GOOD))
    assert rubric.lines() == (
        "1. correct (weight 5 of 5): What it says is so.\n2. brief (weight 2 of 5): Says no more than needed."
    )
    assert [(r.norms[0].name, w) for r, w in rubric.apart()] == [("brief", 2), ("correct", 5)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("weight: 2", "wieght: 2"), r"rubric\.yaml:4.*no option 'wieght'\. Did you mean 'weight'"),
        (GOOD.replace("weight: 2", "weight: 9"), r"rubric\.yaml:4.*weight.*less than or equal to 5"),
        (GOOD.replace("name: correct", "name: brief"), r"the norm 'brief' stands twice"),
        (GOOD.replace('"What it says is so."', '" "'), r"rubric\.yaml:5.*must say something"),
        ("role: judge\n", r"'norms' is missing"),
        ("norms: []\n", r"norms.*at least 1"),
        ("- a\n", r"expected keys and values"),
        (GOOD.replace("role:", "norms:\nrole:"), r"'norms' stands twice"),
        ("norms: [", r"not valid YAML"),
    ],
)
def test_a_mistake_is_a_letter(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        read_rubric(written(tmp_path, text))


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"Did you mean 'rubric\.yaml'"):
        read_rubric(tmp_path / "rubrik.yaml")


def test_our_scenarios_are_complete() -> None:
    ours = scenarios()
    assert len(ours.scenarios) == 8
    for name, scenario in ours.scenarios.items():
        assert scenario.cues, name
        rubric = ours.rubric(name)
        assert len(rubric.norms) >= len(ours.common)
        assert all(cue == cue.lower() for cue in scenario.cues)
    assert ours.rubric("default").norms == ours.common
    with pytest.raises(UnknownName, match="Did you mean 'creative'"):
        ours.rubric("creativ")


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Summarize the following content.", "summarising"),
        ("Write a Python function that sorts numbers.", "code"),
        ("Write a poem about rain.", "creative"),
        ("Translate this sentence into French.", "rewriting"),
        ("Hello there!", "default"),
        ("Write a poem and an email.", "default"),  # two are level
        ("What does encode mean?", "default"),  # 'code' inside a word is no cue
    ],
)
def test_the_kind_of_task_is_guessed_by_cues(asked: str, name: str) -> None:
    assert scenarios().guess([Message("system", "python code"), Message("user", asked)]) == name


RUBRIC = Rubric(norms=({"name": "n", "text": "t $a", "weight": 5},))


@pytest.mark.parametrize("critique", [True, False])
def test_what_an_answer_says_is_never_read_as_a_template(critique: bool) -> None:
    item = Comparison.of("Cost in $request?", "$5, or ${b} and {b}", "$$norms", id="x")
    system, user = pair_messages(item, RUBRIC, critique=critique)
    assert system == Message("system", RUBRIC.role)
    assert "[Answer A]\n$5, or ${b} and {b}\n[End of answer A]" in user.content
    assert "[Answer B]\n$$norms\n[End of answer B]" in user.content
    assert "Cost in $request?" in user.content
    assert "t $a" in user.content
    assert ("Verdict: tie" in user.content) == critique


def test_references_are_shown_to_a_grader() -> None:
    text = grade_messages(Answer.of("q", "a", references=["four"]), RUBRIC, critique=True, low=1, high=10)[1].content
    assert "[A right answer]\nfour" in text
    assert "from 1 to 10" in text
    bare = grade_messages(Answer.of("q", "a"), RUBRIC, critique=False, low=1, high=5)[1].content
    assert "right answer" not in bare
    assert "from 1 to 5" in bare


def test_a_conversation_names_its_speakers() -> None:
    turns = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "2 + 2?")]
    assert request(turns) == "User: Hi\n\nAssistant: Hello\n\nUser: 2 + 2?"
    assert "creative" in scenario_messages(turns)[1].content
