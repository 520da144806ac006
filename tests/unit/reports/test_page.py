import json
import re
from html.parser import HTMLParser

import pytest

from theodolite.errors import StorageError
from theodolite.reports import page
from unit.reports.synthetic_run import EVENTS, RUN, STEPS, comparison, readings, sample_rows

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Outline(HTMLParser):
    """Checks that tags nest; collects ids, references, headings and visible text."""

    def __init__(self, html):
        super().__init__()
        self.open, self.ids, self.refs, self.headings, self.tags, self.words = [], [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("aria-labelledby", "href"):
                self.refs += [v.removeprefix("#") for v in value.split()]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def test_page_and_data_are_written_beside_each_other(run):
    path = page.write(run)
    assert path == run / "report.html"
    saved = json.loads((run / "report.json").read_text())
    assert saved["verdict"]["sentence"].startswith(
        "Pass rate on held-out instructions rose from 20 % to 44 % (+24 points"
    )
    assert not list(run.glob(".report*"))  # no half-written file is left behind


def test_the_page_is_well_formed_and_its_links_land(run):
    outline = Outline(page.write(run).read_text(encoding="utf-8"))
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.refs) <= set(outline.ids)
    assert outline.headings[0] == 1
    assert all(b <= a + 1 for a, b in zip(outline.headings, outline.headings[1:], strict=False))
    drawings = [a for t, a in outline.tags if t == "svg"]
    assert len(drawings) == 2 * 4 + 8
    assert all(a["role"] == "img" and a["aria-labelledby"] for a in drawings)


def test_nothing_is_loaded_from_anywhere(run):
    html = page.write(run).read_text(encoding="utf-8")
    outline = Outline(html)
    assert not {t for t, _ in outline.tags} & {"script", "link", "iframe", "object", "img", "base", "form"}
    assert not [a for _, a in outline.tags if {"src", "onerror", "onclick", "onload", "style"} & a.keys()]
    assert all(a["href"].startswith("#") for t, a in outline.tags if t == "a")
    assert "url(" not in html
    assert "@import" not in html


HOSTILE = "</style></script><script>alert(1)</script><img src=x onerror=alert(1)>\"'"


def test_hostile_text_stays_text_everywhere(make_run):
    rows = readings()
    rows[2]["parts"]["by_constraint"][0]["constraint"] = HOSTILE
    rows += comparison(HOSTILE, 0.1, 0.2, 0.01, unit=HOSTILE, note=HOSTILE)
    sample = {
        "id": HOSTILE,
        "prompt": HOSTILE,
        "constraints": [HOSTILE],
        "before": [{"text": HOSTILE * 20, "score": 0, "checks": {HOSTILE: True}}],
    }
    run = make_run(
        run_json=RUN
        | {"title": HOSTILE, "failure": HOSTILE, "status": "failed", "command": HOSTILE, "created": HOSTILE},
        recipe_yaml=f"name: x\nsteps:\n- step: align\n  objective: {json.dumps(HOSTILE)}\n",
        steps_json=[STEPS[0] | {"summary": HOSTILE, "kind": HOSTILE, "name": HOSTILE, "status": HOSTILE}],
        events_jsonl=[EVENTS[1] | {"text": HOSTILE}, EVENTS[-1] | {"text": HOSTILE, "step": HOSTILE}],
        readings_json=rows,
        training_jsonl=[{"step": 1, HOSTILE: 1.0}, {"step": 2, HOSTILE: 2.0}],
        samples_jsonl=[sample],
        data_json={
            "rows": 1,
            "kept": 0,
            "bad": [{"row": HOSTILE, "reason": HOSTILE, "fix": HOSTILE}],
            "length_bias": {HOSTILE: HOSTILE},
        },
    )
    outline = Outline(page.write(run).read_text(encoding="utf-8"))
    assert not {t for t, _ in outline.tags} & {"script", "img"}
    assert "".join(outline.words).count("<script>alert(1)</script>") > 25


def test_the_outline_can_fail():
    with pytest.raises(AssertionError):
        Outline("<p><b>x</p></b>")


PARTS = [
    "run.json",
    "recipe.yaml",
    "steps.json",
    "events.jsonl",
    "readings.json",
    "training.jsonl",
    "samples.jsonl",
    "data.json",
]


@pytest.mark.parametrize(
    "missing", [*[(p,) for p in PARTS], tuple(PARTS)], ids=lambda m: m[0] if len(m) == 1 else "all"
)
def test_a_page_is_written_whatever_is_missing_and_says_so(make_run, missing):
    html = page.write(make_run(*missing)).read_text(encoding="utf-8")
    Outline(html)
    assert all(f"<code>{name}</code> is missing" in html for name in missing)


def test_a_failed_run_says_where_and_why(make_run):
    run = make_run(
        "readings.json",
        run_json=RUN | {"status": "failed", "failure": "the loss became NaN at step 12."},
        steps_json=[STEPS[0], STEPS[1] | {"status": "failed", "seconds": 12.0}],
    )
    html = page.write(run).read_text(encoding="utf-8")
    assert "<h1>Nothing was measured.</h1>" in html
    assert "It stopped in step &#39;align&#39;." in html
    assert "the loss became NaN at step 12." in html


@pytest.mark.parametrize(
    "odd",
    [
        {"run_json": {"status": None, "model": "a-name", "machine": [], "versions": None, "seconds": None}},
        {"data_json": {"rows": None, "bad": None, "length_bias": 0.25}},
        {"steps_json": [{}, {"kind": "dance", "seconds": None}]},
        {"training_jsonl": [{"loss": 1.0}]},
        {"training_jsonl": [{"step": 1, "loss": float("nan")}]},
        {"training_jsonl": [{"step": i, "loss": 0.0} for i in range(2000)]},
        {
            "samples_jsonl": [
                {
                    "id": 1,
                    "prompt": None,
                    "before": [{"text": ""}],
                    "after": [{"text": None, "score": "high", "checks": []}],
                }
            ]
        },
        {
            "readings_json": [
                {"name": "x", "value": 1e300},
                {"name": "y.after", "value": -1e-12, "low": -1, "high": 1, "unit": "m"},
            ]
        },
        {"readings_json": comparison("kl_free", 0.0, 0.0, 0.0)},
        {"recipe_yaml": "steps: 5\n"},
        {"recipe_yaml": "steps:\n- report\n- {align: {epochs: 1}}\n"},
    ],
)
def test_odd_but_possible_files_do_not_stop_the_page(make_run, odd):
    Outline(page.write(make_run(**odd)).read_text(encoding="utf-8"))


def test_first_answers_only_and_ticks_have_words(run):
    html = page.write(run).read_text(encoding="utf-8")
    assert html.count('class="word">met<') + html.count('class="word">not met<') == 2 * sum(
        len(r["constraints"]) for r in sample_rows()
    )


def test_a_folder_that_cannot_be_written_is_a_letter(run, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(StorageError, match="cannot be written: No space left on device"):
        page.write(run)


def test_units_never_break_from_their_numbers():
    assert page.typeset("44 % and 6.2 nats <b>") == "44\u202f% and 6.2\u00a0nats &lt;b&gt;"
