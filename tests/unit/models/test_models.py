from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import torch

from theodolite.errors import DataError, ModelError, StorageError
from theodolite.models import load_model, wheels
from theodolite.models.adapters import Lora, attach_lora
from theodolite.models.chat import end_ids, group_of, prompt_ids
from theodolite.models.load import fingerprint
from theodolite.models.locate import cache_folder, resolve, short_name
from theodolite.types import Example, Message, Response
from tiny import TEMPLATE, tiny_folder, tiny_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def test_a_response_ends_with_its_end_of_turn_and_nothing_after() -> None:
    tokenizer = tiny_tokenizer()
    group = group_of(Example.of("Hi", "Yes", "No.\n"), tokenizer)
    assert tokenizer.decode(group.prompt) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert [tokenizer.decode(r) for r in group.responses] == ["Yes<|im_end|>", "No.\n<|im_end|>"]
    assert group.responses[0][-1] in end_ids(tokenizer)


def test_an_answer_that_names_the_end_mark_is_kept_whole() -> None:
    tokenizer = tiny_tokenizer()
    group = group_of(Example.of("Hi", "a<|im_end|>b"), tokenizer)
    assert tokenizer.decode(group.responses[0]) == "a<|im_end|>b<|im_end|>"


def test_templates_that_trim_the_answer_end_once() -> None:
    tokenizer = tiny_tokenizer(TEMPLATE.replace("m['content']", "m['content'] | trim"))
    group = group_of(Example.of("Hi", "Yes" + "\n" * 40), tokenizer)
    assert tokenizer.decode(group.responses[0]) == "Yes<|im_end|>"


def test_sampled_ids_are_kept_as_drawn() -> None:
    group = group_of(Example.of("Hi", Response("anything", tokens=(5, 6, 2))), tiny_tokenizer())
    assert group.responses == ((5, 6, 2),)


def test_bad_rows_get_letters() -> None:
    tokenizer = tiny_tokenizer()
    with pytest.raises(DataError, match="empty response"):
        group_of(Example.of("Hi", "Yes", "  "), tokenizer)
    with pytest.raises(DataError, match="at most 20"):
        group_of(Example.of("Hi", "Yes"), tokenizer, max_length=20)
    with pytest.raises(ModelError, match="no chat template"):
        prompt_ids(tiny_tokenizer(None), (Message("user", "Hi"),))
    refusing = tiny_tokenizer("{{ raise_exception('only user turns') }}")
    with pytest.raises(DataError, match="refuses"):
        prompt_ids(refusing, (Message("tool", "Hi"),))


def test_a_folder_loads_and_its_fingerprint_sees_a_change(folder: Path, tmp_path: Path) -> None:
    loaded = load_model(str(folder))
    assert loaded.max_length == 1024
    assert not loaded.model.training
    assert fingerprint(folder) == fingerprint(folder)
    assert fingerprint(folder) != fingerprint(tiny_folder(tmp_path / "other", seed=1))


def test_an_adapter_folder_is_a_model_too(folder: Path, tmp_path: Path) -> None:
    loaded = load_model(str(folder))
    ids = torch.arange(3, 20)[None]
    before = loaded.model(ids).logits
    model = attach_lora(loaded.model, Lora(r=2), seed=0)
    assert torch.equal(model(ids).logits, before)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    model.peft_config["default"].base_model_name_or_path = str(folder)
    model.save_pretrained(tmp_path)
    again = load_model(str(tmp_path))
    assert torch.allclose(again.model(ids).logits, model(ids).logits, atol=1e-6)
    assert not torch.allclose(again.model(ids).logits, before, atol=1e-2)


def test_unsafe_models_are_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text(json.dumps(config))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="allow_pickle"):
        load_model(str(tmp_path / "pickled"))
    (tmp_path / "code").mkdir()
    strange = config | {"model_type": "strange", "auto_map": {"AutoModelForCausalLM": "strange.Model"}}
    (tmp_path / "code" / "config.json").write_text(json.dumps(strange))
    with pytest.raises(ModelError, match="trust_remote_code"):
        load_model(str(tmp_path / "code"))


def test_unknown_names_are_answered(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Did you mean 'smollm2-135m-instruct'"):
        resolve("smolm2-135m-instruct", offline=True)
    with pytest.raises(ModelError, match="hub could not be reached"):
        resolve("nobody/nothing", offline=True)
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve(str(tmp_path))
    assert short_name("HuggingFaceTB/SmolLM2-135M-Instruct") == "smollm2-135m-instruct"
    assert short_name("somebody/SmolLM2-135M-Instruct") == "somebody/SmolLM2-135M-Instruct"


def test_a_wheel_with_another_hash_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pkg-1.0-py3-none-any.whl").write_bytes(b"not what was expected")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *a, **k: type("Done", (), {"returncode": 0, "stderr": ""})())
    with pytest.raises(ModelError, match="sha256"):
        wheels._download("pkg==1.0", "0" * 64, tmp_path)


def test_two_at_once_build_a_model_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEODOLITE_HOME", str(tmp_path))
    built = []

    def build(wheel: wheels.Wheel, folder: Path, say: object) -> None:
        built.append(wheel.name)
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(wheels, "_build", build)
    wheel = wheels.WHEELS["smollm2-135m-instruct"]
    threads = [
        threading.Thread(target=wheels.from_wheel, args=(wheel, cache_folder(wheel.name), print)) for _ in range(4)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert built == ["smollm2-135m-instruct"]


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("THEODOLITE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="THEODOLITE_HOME"):
        cache_folder("x")
