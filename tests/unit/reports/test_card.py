import json

import pytest
import yaml

from theodolite.errors import UsageError
from theodolite.reports import card
from unit.reports.synthetic_run import RUN, comparison, readings


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    facts = {"r": 16, "base_model_name_or_path": "/home/someone/.cache/smollm2"}
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    return folder


def front(text):
    return yaml.safe_load(text.split("---\n")[1])


def code(text):
    return text.split("```python\n")[1].split("```")[0]


def test_the_card_carries_its_evidence(run, adapter):
    path = card.write(run, adapter)
    text = path.read_text(encoding="utf-8")
    assert path == adapter / "README.md"
    assert front(text) == {
        "base_model": "smollm2-135m-instruct",
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["theodolite", "alignment", "dpo", "lora"],
    }
    assert (
        "| Pass rate on held-out instructions, difference | +24 points | 15 to 33 | 72 | 0 | p < 0.001 | higher |"
        in text
    )
    assert "A LoRA adapter of rank 16" in text
    assert "Answers became 16 % shorter" in text
    assert "/home/someone" not in text  # a card is published; the author's folders are not


def test_the_loading_code_fits_the_name(make_run, adapter):
    named = code(card.write(make_run(), adapter).read_text(encoding="utf-8"))
    hub = code(
        card.write(make_run(run_json=RUN | {"model": {"name": "owner/model"}}), adapter).read_text(encoding="utf-8")
    )
    assert "load_model('smollm2-135m-instruct')" in named
    assert "base = 'owner/model'" in hub
    for text in (named, hub):
        compile(text, "card", "exec")
        assert "PeftModel.from_pretrained(" in text


def test_a_fully_trained_model_needs_no_peft(run, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    text = card.write(run, folder).read_text(encoding="utf-8")
    assert front(text)["library_name"] == "transformers"
    assert "peft" not in code(text)


def test_a_card_does_not_boast(make_run, adapter):
    unclear = card.write(make_run(readings_json=comparison("pass_rate", 0.2, 0.24, 0.08)), adapter).read_text(
        encoding="utf-8"
    )
    assert "This run does not show that the model became better." in unclear
    worse = card.write(make_run(readings_json=comparison("pass_rate", 0.44, 0.2, 0.08)), adapter).read_text(
        encoding="utf-8"
    )
    assert "By its main reading the model became worse." in worse
    nothing = card.write(make_run("readings.json"), adapter).read_text(encoding="utf-8")
    assert "Treat this model as untested." in nothing


def test_tables_cannot_be_broken_out_of(make_run, adapter):
    rows = readings()
    rows[0]["why"] = {"a | b\n<script>": 1}
    rows[0]["missing"] = 1
    text = card.write(make_run(readings_json=rows), adapter).read_text(encoding="utf-8")
    assert "1 (a \\| b \\<script\\>: 1)" in text


def test_no_adapter_folder_is_an_error(run, tmp_path):
    with pytest.raises(UsageError, match="there is no adapter folder"):
        card.write(run, tmp_path / "gone")
