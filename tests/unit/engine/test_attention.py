from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from small_models import GROUPS, small
from theodolite.engine.attention import (
    ATTENTION,
    Rule,
    _attention,
    flex,
    packed_attention,
    packed_rows,
    visible,
    written_out,
)
from theodolite.engine.packing import pack_row
from theodolite.errors import ModelError

STEMMED = [replace(g, prompt=(30, 31, 32, *g.prompt)) for g in GROUPS]


def laid(stem=0, device="cpu"):
    return pack_row(STEMMED if stem else GROUPS, [0, 3, 5], device, stem).layout


LAYOUT = laid()
N = len(LAYOUT.position)
LAYOUTS = pytest.mark.parametrize("layout", [LAYOUT, laid(stem=3)], ids=["apart", "stem"])


def projections(dtype=torch.float64, heads=4, kv=2, grad=True, n=N):
    torch.manual_seed(0)
    made = (torch.randn(1, n, h, 8, dtype=dtype).transpose(1, 2) for h in (heads, kv, kv))
    return [x.requires_grad_(grad) for x in made]


def dense(q, k, v, rule, layout=LAYOUT):
    """The whole total x total mask, from the rule as a sentence: own text or own prompt, not later, within window."""
    repeat = q.shape[1] // k.shape[1]
    scores = q @ k.repeat_interleave(repeat, 1).transpose(-1, -2) * rule.scale
    if rule.softcap:
        scores = rule.softcap * torch.tanh(scores / rule.softcap)
    mask = torch.zeros(q.shape[2], q.shape[2], dtype=torch.bool)
    for segment in layout.segments:
        prompt = [*range(layout.stem), *range(*segment.prompt)]
        for text in [[], *(range(*r) for r in segment.responses)]:
            line = [*prompt, *text]
            for i, query in enumerate(line):
                for key in line[: i + 1] if rule.window is None else line[max(0, i + 1 - rule.window) : i + 1]:
                    mask[query, key] = True
    return torch.softmax(scores.masked_fill(~mask, float("-inf")), -1) @ v.repeat_interleave(repeat, 1)


RULES = [Rule(0.3), Rule(0.3, window=3), Rule(0.3, softcap=1.5), Rule(0.3, window=1), Rule(0.3, window=4, softcap=0.7)]


@LAYOUTS
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("heads", [(4, 2), (4, 4), (6, 1)])
def test_segments_equal_the_dense_mask(rule, heads, layout):
    tensors = projections(heads=heads[0], kv=heads[1], n=len(layout.position))
    want, got = dense(*tensors, rule, layout), _attention(*tensors, layout, rule)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=1e-12)
    weights = torch.randn(want.shape, dtype=want.dtype)
    for a, b in zip(
        torch.autograd.grad(got, tensors, weights), torch.autograd.grad(want, tensors, weights), strict=True
    ):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


@LAYOUTS
def test_the_fused_path_passes_finite_differences(layout):
    tensors = projections(n=len(layout.position))
    assert torch.autograd.gradcheck(lambda *x: _attention(*x, layout, Rule(0.3)), tensors)


@LAYOUTS
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_is_the_same_rule(rule, layout):
    """Forward only: FlexAttention refuses backward on CPU."""
    tensors = projections(grad=False, n=len(layout.position))
    got = flex(*tensors, replace(layout, cache={}), rule)
    torch.testing.assert_close(got, dense(*tensors, rule, layout), atol=1e-12, rtol=1e-12)


def test_the_mask_function_by_hand():
    """Prompt 0-6, responses 7-8, (none), 9-13: the third response sees the prompt and itself, never the first."""
    seen = visible(LAYOUT)
    at = [int(k) for k in range(N) if seen(0, 0, torch.tensor(10), torch.tensor(k))]
    assert at == [0, 1, 2, 3, 4, 5, 6, 9, 10]


def test_the_mask_function_by_hand_behind_a_stem():
    """Stem 0-2, prompt 3-9, responses 10-11, (none), 12-16; the next prompt is 17, its responses (none) and 18."""
    seen = visible(laid(stem=3))
    for query, keys in ((13, [*range(10), 12, 13]), (1, [0, 1]), (17, [0, 1, 2, 17]), (18, [0, 1, 2, 17, 18])):
        assert [k for k in range(N + 3) if seen(0, 0, torch.tensor(query), torch.tensor(k))] == keys


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("stem", [0, 3])
@pytest.mark.parametrize("rule", RULES)
def test_flex_attention_on_cuda(rule, stem):
    layout = laid(stem, "cuda")
    on_cpu = projections(torch.float32, n=len(layout.position))
    on_gpu = [x.detach().cuda().requires_grad_() for x in on_cpu]
    want, got = dense(*on_cpu, rule, layout), flex(*on_gpu, layout, rule)
    torch.testing.assert_close(got.cpu(), want, atol=2e-3, rtol=2e-3)
    for a, b in zip(torch.autograd.grad(got.sum(), on_gpu), torch.autograd.grad(want.sum(), on_cpu), strict=True):
        torch.testing.assert_close(a.cpu(), b, atol=5e-3, rtol=5e-3)


def test_dropout_drops_and_keeps_the_mean():
    tensors = projections(grad=False)
    torch.manual_seed(0)
    drawn = torch.stack([written_out(*tensors, LAYOUT, Rule(0.3, dropout=0.2)) for _ in range(400)])
    assert not torch.equal(drawn[0], drawn[1])
    assert float((drawn.mean(0) - dense(*tensors, Rule(0.3))).abs().mean()) < 0.05


def test_the_scope_restores_the_attention_also_after_an_error():
    model = small("llama")
    before = model.config._attn_implementation

    def interrupted():
        with packed_rows(model, LAYOUT):
            assert model.config._attn_implementation == ATTENTION
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        interrupted()
    assert model.config._attn_implementation == before
    assert not any("forward" in vars(m) for m in model.modules())


def test_generate_works_between_scorings():
    from theodolite.engine.logprobs import token_logps

    model = small("llama")
    prompt = torch.tensor([[5, 6, 7]])
    before = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=5)
    token_logps(model, GROUPS)
    after = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=5)
    assert torch.equal(before, after)


def test_another_thread_using_the_model_meanwhile_is_told():
    model = small("llama")
    said: list[BaseException] = []

    def call():
        try:
            model(torch.tensor([[5, 6]]))
        except ModelError as error:
            said.append(error)

    with packed_rows(model, LAYOUT):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    assert "another thread" in str(said[0])


def test_without_a_layout_the_attention_refuses():
    with pytest.raises(ModelError, match="another thread"):
        packed_attention(torch.nn.Identity(), *projections(), None)
