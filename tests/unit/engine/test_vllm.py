"""The vLLM sampler against a module that behaves like vLLM's offline interface, run by our own tiny model."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from theodolite.engine.sampling import LocalSampler, Sampling
from theodolite.engine.vllm import VllmSampler
from theodolite.errors import UsageError
from theodolite.models.chat import prompt_ids
from theodolite.registry import get
from theodolite.types import Example
from tiny import tiny_model, tiny_tokenizer

EXAMPLES = [Example.of(q, "old", id=q) for q in ("One?", "Two, please.", "Three")]


class FakeLLM:
    """Answers greedily by LocalSampler; knows a prompt by its ids alone, as vLLM does."""

    def __init__(self, model: str, **engine_args: Any) -> None:
        self.model, self.engine_args, self.calls = model, engine_args, []
        self.tokenizer = tiny_tokenizer()
        self.local = LocalSampler(tiny_model(len(self.tokenizer)), self.tokenizer)
        self.known = {prompt_ids(self.tokenizer, e.prompt): e for e in EXAMPLES}

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def generate(self, prompts: list[dict[str, Any]], params: list[Any]) -> list[Any]:
        self.calls.append((prompts, params))
        return [self.one(self.known[tuple(p["prompt_token_ids"])], s) for p, s in zip(prompts, params, strict=True)]

    def one(self, example: Example, s: Any) -> Any:
        cfg = Sampling(k=s.n, max_new_tokens=s.max_tokens, temperature=0)
        drawn = self.local.sample([example], cfg)[0].responses
        return SimpleNamespace(
            outputs=[
                SimpleNamespace(
                    text=r.text,
                    token_ids=list(r.tokens or ()),
                    finish_reason=r.finish,
                    logprobs=[
                        {t: SimpleNamespace(logprob=p)} for t, p in zip(r.tokens or (), r.logps or (), strict=True)
                    ],
                )
                for r in drawn
            ]
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = FakeLLM, lambda **options: SimpleNamespace(**options)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", module)


@pytest.mark.usefixtures("fake")
def test_examples_come_back_as_from_the_local_sampler() -> None:
    seen: list[tuple[int, int]] = []
    sampler = VllmSampler("some/model", dtype="bfloat16")
    cfg = Sampling(k=2, max_new_tokens=10, temperature=0.7, top_p=0.9, min_p=0.1, stop=("END",), seed=5)
    out = sampler.sample(EXAMPLES, cfg, progress=lambda *at: seen.append(at))
    expected = sampler._llm.local.sample(EXAMPLES, Sampling(k=2, max_new_tokens=10, temperature=0))
    for got, known in zip(out, expected, strict=True):
        assert (got.id, got.prompt) == (known.id, known.prompt)
        for r, e in zip(got.responses, known.responses, strict=True):
            assert (r.text, r.tokens, r.finish) == (e.text, e.tokens, e.finish)
            assert r.logps == pytest.approx(e.logps, abs=1e-5)
            assert r.source == "some/model"
    assert seen == [(6, 6)]
    assert sampler._llm.engine_args == {"dtype": "bfloat16"}


@pytest.mark.usefixtures("fake")
def test_every_option_reaches_vllm_and_seeds_belong_to_prompts() -> None:
    sampler = VllmSampler("some/model")
    cfg = Sampling(k=3, max_new_tokens=4, temperature=0.7, top_k=7, top_p=0.9, min_p=0.1, stop=("END",), seed=5)
    sampler.sample(EXAMPLES, cfg)
    sampler.sample(EXAMPLES[1:2], Sampling(k=3, max_new_tokens=4, seed=5))
    (_, first), (_, alone) = sampler._llm.calls
    options = vars(first[0])
    assert {name: value for name, value in options.items() if name != "seed"} == {
        "n": 3, "max_tokens": 4, "temperature": 0.7, "top_k": 7, "top_p": 0.9, "min_p": 0.1,
        "stop": ["END"], "stop_token_ids": [2], "logprobs": 0,
    }  # fmt: skip
    assert len({s.seed for s in first}) == 3
    assert alone[0].seed == first[1].seed
    assert alone[0].top_k == -1


@pytest.mark.usefixtures("fake")
def test_no_prompts_ask_nothing() -> None:
    sampler = VllmSampler("some/model")
    assert sampler.sample([], Sampling()) == []
    assert sampler._llm.calls == []


def test_without_vllm_the_letter_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UsageError, match=r"pip install 'theodolite\[vllm\]'"):
        VllmSampler("some/model")


def test_it_is_registered_without_importing_vllm() -> None:
    assert get("sampler", "vllm").function is VllmSampler
    assert "vllm" not in sys.modules
