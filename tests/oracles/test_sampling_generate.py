"""Greedy sampling against transformers' own `generate`, and log-probs against a plain re-scoring forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from theodolite.engine.sampling import LocalSampler, Sampling
from theodolite.models.chat import end_ids, prompt_ids
from theodolite.types import Example
from tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
V = len(TOKENIZER)
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "bos_token_id": None,
}
GROUPED = {**SIZES, "num_key_value_heads": 2}
MODELS = {
    "llama": lambda: tiny_model(V),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=None)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=16)),
    "mistral-window": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=24)),
    "gemma3-window": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**GROUPED, head_dim=8, sliding_window=24)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.3,
            eos_token_id=2, bos_token_id=None, pad_token_id=0,
        )
    ),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),
    "bloom": lambda: BloomForCausalLM(
        BloomConfig(
            vocab_size=V, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3,
            eos_token_id=2, bos_token_id=None, pad_token_id=0,
        )
    ),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(
            vocab_size=V, hidden_size=32, num_hidden_layers=2, state_size=8, initializer_range=0.3,
            eos_token_id=2, bos_token_id=None, pad_token_id=0,
        )
    ),
}  # fmt: skip
FUSED = {"llama", "mistral", "qwen2", "qwen3"}
QUESTIONS = [
    "Name a colour.",
    "Why?",
    "Tell me a long story about the sea.",
    "Why not?",
    "Say something longer than that.",
]
EXAMPLES = [Example.of(q, id=str(i)) for i, q in enumerate(QUESTIONS)]


def made(name: str) -> Any:
    torch.manual_seed(7)
    return MODELS[name]().eval()


def generated(model: Any, tokenizer: Any, example: Example, new: int) -> tuple[int, ...]:
    """What `generate` gives greedily for this prompt alone, up to the first end id."""
    prompt = prompt_ids(tokenizer, example.prompt)
    ends = end_ids(tokenizer, model)
    ids = torch.tensor([prompt])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new,
        eos_token_id=sorted(ends), pad_token_id=0, temperature=None, top_p=None, top_k=None,
    )[0, len(prompt) :].tolist()  # fmt: skip
    end = next((i + 1 for i, t in enumerate(out) if t in ends), len(out))
    return tuple(out[:end])


def rescored(model: Any, tokenizer: Any, example: Example, tokens: tuple[int, ...]) -> torch.Tensor:
    """(T,) log-probs of the tokens by one plain forward in float32."""
    prompt = prompt_ids(tokenizer, example.prompt)
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None]).squeeze(-1)


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("name", MODELS)
def test_greedy_equals_generate(name: str, rows: int) -> None:
    model = made(name)
    sampler = LocalSampler(model, TOKENIZER, rows=rows)
    out = sampler.sample(EXAMPLES, Sampling(k=2, max_new_tokens=40, temperature=0))
    assert (sampler.why_forward == "") is (name in FUSED)
    for example, got in zip(EXAMPLES, out, strict=True):
        expected = generated(model, TOKENIZER, example, 40)
        assert [r.tokens for r in got.responses] == [expected, expected]


@pytest.mark.parametrize("name", MODELS)
def test_logps_equal_a_rescoring_forward(name: str) -> None:
    model = made(name)
    cfg = Sampling(k=3, max_new_tokens=40, temperature=1.3, top_p=0.95, seed=4)
    for example in LocalSampler(model, TOKENIZER, rows=4).sample(EXAMPLES, cfg):
        for r in example.responses:
            assert r.tokens
            assert r.logps
            again = rescored(model, TOKENIZER, example, r.tokens)
            assert torch.allclose(torch.tensor(r.logps), again, atol=1e-4, rtol=0), name


@pytest.mark.parametrize("name", sorted(FUSED))
def test_both_paths_give_the_same_samples(name: str) -> None:
    model = made(name)
    cfg = Sampling(k=4, max_new_tokens=50, seed=11)
    ours, theirs = (LocalSampler(model, TOKENIZER, rows=5, path=p).sample(EXAMPLES, cfg) for p in ("fused", "forward"))
    assert [[r.tokens for r in e.responses] for e in ours] == [[r.tokens for r in e.responses] for e in theirs]


@pytest.fixture(scope="module")
def gemma() -> Any:
    """gemma-3-270m, a base model: it has no chat template, so it is asked as 'Question: ... Answer:'."""
    from theodolite.errors import ModelError
    from theodolite.models import load_model
    from theodolite.surveys.subject import PLAIN

    try:
        loaded = load_model("gemma-3-270m")
    except ModelError as error:
        pytest.skip(f"gemma-3-270m is not at hand: {error}")
    loaded.tokenizer.chat_template = PLAIN
    return loaded


@pytest.mark.slow
@pytest.mark.parametrize(("name", "paths"), [("smollm", ("fused", "forward")), ("gemma", ("auto",))])
def test_greedy_equals_generate_on_both_real_models(
    name: str, paths: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    loaded = request.getfixturevalue(name)
    questions = ["What is the capital of France?", "Write a haiku about rain.", "Explain gravity to a child, briefly."]
    examples = [Example.of(q) for q in questions]
    expected = [generated(loaded.model, loaded.tokenizer, example, 40) for example in examples]
    for path in paths:
        sampler = LocalSampler(loaded.model, loaded.tokenizer, path=path)
        out = sampler.sample(examples, Sampling(max_new_tokens=40, temperature=0))
        assert [e.responses[0].tokens for e in out] == expected, path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smollm", "gemma"])
def test_logps_equal_a_rescoring_forward_on_both_real_models(name: str, request: pytest.FixtureRequest) -> None:
    loaded = request.getfixturevalue(name)
    example = Example.of("What should I cook tonight?")
    out = LocalSampler(loaded.model, loaded.tokenizer).sample([example], Sampling(k=4, max_new_tokens=48, seed=1))
    for r in out[0].responses:
        assert r.tokens
        assert r.logps
        again = rescored(loaded.model, loaded.tokenizer, example, r.tokens)
        assert torch.allclose(torch.tensor(r.logps), again, atol=1e-4, rtol=0)
