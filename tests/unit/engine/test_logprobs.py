from __future__ import annotations

import math
import warnings
from dataclasses import replace
from random import Random

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from small_models import GROUPS, Wide, apart, gradients, plain_logps, small
from theodolite.engine import token_logps
from theodolite.engine.forward import head_of, inner
from theodolite.engine.packing import STEM
from theodolite.errors import DataError, ModelError, UsageError
from theodolite.types import Group, Role

tokens = st.integers(3, 39)
responses = st.lists(st.lists(tokens, min_size=1, max_size=6).map(tuple), min_size=1, max_size=9).map(tuple)
ragged = st.builds(Group, st.lists(tokens, min_size=1, max_size=8).map(tuple), responses)
apart_ones = st.lists(ragged, min_size=1, max_size=4)
stemmed = apart_ones.map(lambda groups: [replace(g, prompt=(*range(3, 3 + STEM), *g.prompt)) for g in groups])
batches = apart_ones | stemmed

LLAMA = small("llama", torch.float64)


def lora(model, targets="all-linear", seed=0, **options):
    """LoRA with both factors random, so that the adapter changes the model."""
    torch.manual_seed(seed)
    made = peft.get_peft_model(model, peft.LoraConfig(r=3, lora_alpha=6, target_modules=targets, **options))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.2)
    return made


def scored(model, groups, **options):
    with torch.no_grad(), Wide():
        return token_logps(model, groups, **options).policy


@settings(max_examples=25, deadline=None)
@given(batches)
def test_ragged_groups_equal_plain_calls(groups):
    with torch.no_grad(), Wide():
        truth = plain_logps(LLAMA, groups)
    assert float((scored(LLAMA, groups) - truth).abs().max()) < 1e-10


@settings(max_examples=15, deadline=None)
@given(batches, st.integers(1, 40), st.randoms(use_true_random=False))
def test_order_and_packing_do_not_matter(groups, budget, random):
    whole = scored(LLAMA, groups)
    assert float((scored(LLAMA, groups, budget=budget) - whole).abs().max()) < 1e-10
    order = random.sample(range(len(groups)), len(groups))
    turned = [Group(groups[i].prompt, tuple(reversed(groups[i].responses))) for i in order]
    starts = [sum(map(len, groups[:i])) for i in range(len(groups))]
    back = [starts[i] + k for i in order for k in reversed(range(len(groups[i])))]
    assert float((scored(LLAMA, turned) - whole[back]).abs().max()) < 1e-10


@settings(max_examples=20, deadline=None)
@given(batches, st.integers(1, 40), st.sampled_from(["packed", "padded"]), st.integers(0, 99))
def test_groups_cut_into_parts_give_one_result(groups, budget, path, seed):
    """K up to 9 behind one prompt, some tokens unscored; values and extras in the same rows and columns."""
    draw = Random(seed)
    groups = [replace(g, weights=tuple(tuple(draw.choice((0.0, 1.0)) for _ in r) for r in g.responses)) for g in groups]
    extras = ("entropy", "top2")
    with torch.no_grad(), Wide():
        cut, whole = (token_logps(LLAMA, groups, extras=extras, path=path, budget=b) for b in (budget, 10_000))
    for name in ("policy", "weight", "group"):
        torch.testing.assert_close(getattr(cut, name), getattr(whole, name), rtol=0, atol=1e-10)
    assert cut.extras.keys() == whole.extras.keys()
    for name in ("entropy", "top2"):
        torch.testing.assert_close(cut.extras[name], whole.extras[name], rtol=0, atol=1e-10)
    assert torch.equal(cut.extras["top2_ids"], whole.extras["top2_ids"])


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_no_pass_without_gradient_is_larger_than_the_budget(path):
    """4 + 6 * 4 = 28 tokens packed and 6 * 8 = 48 padded; a budget of 16 holds 3 responses packed, 2 padded."""
    model, group = small("llama"), Group((3, 4, 5, 6), ((7, 8, 9, 10, 11),) * 6)
    token_logps(model, [group], path=path)  # the trial is over
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda module, given: seen.append(given[0].numel()))
    with torch.no_grad():
        token_logps(model, [group], path=path, budget=16)
    assert seen == ([16, 16] if path == "packed" else [16, 16, 16])
    seen.clear()
    assert token_logps(model, [group], path=path, budget=16).policy.requires_grad
    assert seen == [28 if path == "packed" else 48], "with gradient a group stays whole"


def test_an_opening_of_all_prompts_is_computed_once():
    """16 shared tokens, then 2 + 1 and 3 + 2 computed ones; a pack of one group has nobody to share with."""
    model, head = small("llama"), tuple(range(3, 3 + STEM))
    groups = [Group((*head, 30, 31), ((7, 8),)), Group((*head, 32, 33, 34), ((7, 8, 9),))]
    token_logps(model, groups)  # the trial is over
    seen = []
    model.get_input_embeddings().register_forward_pre_hook(lambda module, given: seen.append(given[0].numel()))
    token_logps(model, groups, path="packed")
    token_logps(model, groups, path="packed", budget=STEM + 8)
    token_logps(model, groups, path="packed", budget=STEM + 7)
    assert seen == [STEM + 8, STEM + 8, STEM + 5, STEM + 3]


def test_what_the_groups_say_arrives():
    groups = [
        Group((5, 6), ((7, 8, 9), (7,)), ((1.0, 0.0, 0.5), (1.0,)), (0.5, -1.0), None, (Role.CHOSEN, Role.REJECTED)),
        Group((5,), ((8, 9),), labels=(1,)),
    ]
    got = token_logps(LLAMA, groups)
    assert got.reference is None
    assert got.policy.shape == (3, 3)
    assert got.weight.tolist() == [[1.0, 0.0, 0.5], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]
    assert got.group.tolist() == [0, 0, 1]
    assert got.role.tolist() == [1, -1, 0]
    assert got.label.tolist() == [-1, -1, 1]
    assert got.score[:2].tolist() == [0.5, -1.0]
    assert math.isnan(got.score[2])
    assert got.policy[0, 1] == 0  # not scored, not computed
    assert bool((got.policy[got.weight != 0] < 0).all())


def test_a_batch_without_any_scored_token_is_zero():
    got = token_logps(LLAMA, [Group((5, 6), ((7, 8),), weights=((0.0, 0.0),))])
    assert got.policy.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("path", ["packed", "padded"])
def test_extras_equal_their_definitions(path):
    with torch.no_grad(), Wide():
        got = token_logps(LLAMA, GROUPS[:1], extras=("entropy", "log1mp", "top3"), path=path)
        ids = torch.tensor([GROUPS[0].prompt + GROUPS[0].responses[2]])
        logp = LLAMA(input_ids=ids).logits[0, 6:-1].log_softmax(-1)
    torch.testing.assert_close(got.extras["entropy"][2], -(logp.exp() * logp).sum(-1))
    torch.testing.assert_close(got.extras["log1mp"][2], torch.log1p(-got.policy[2].exp()))
    torch.testing.assert_close(got.extras["top3"][2], logp.topk(3).values)
    assert torch.equal(got.extras["top3_ids"][2], logp.topk(3).indices)
    assert got.extras["entropy"][1, 1:].abs().max() == 0


def test_gradient_flows_only_when_asked():
    model = small("llama")
    assert token_logps(model, GROUPS, extras=("entropy",)).extras["entropy"].requires_grad
    with torch.no_grad():
        assert not token_logps(model, GROUPS).policy.requires_grad
    model.requires_grad_(False)
    assert not token_logps(model, GROUPS).policy.requires_grad


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt_neox", "phi"])
@pytest.mark.parametrize("targets", ["all-linear", "head"])
def test_adapters_also_on_the_head(name, targets):
    base = small(name, torch.float64)
    head = next(n for n, m in base.named_modules() if m is base.get_output_embeddings())
    linears = [n for n, m in base.named_modules() if isinstance(m, torch.nn.Linear) and n != head]
    model = lora(base, [*linears, head] if targets == "head" else linears)
    assert head_of(inner(model)).linear is (targets == "all-linear")
    with Wide():
        truth, got = plain_logps(model), token_logps(model, GROUPS, path="packed").policy
        assert float((truth - got).detach().abs().max()) < 1e-10
        want = gradients(model, truth)
        assert apart(want, gradients(model, got)) < 1e-10
    assert any("lora_A" in n for n in want)


@pytest.mark.parametrize("options", [{}, {"use_dora": True}, {"bias": "lora_only"}, {"lora_dropout": 0.0}])
def test_lean_adapter_layers_agree_in_float32(options):
    model = lora(small("llama"), **options).train()
    truth, got = plain_logps(model), token_logps(model, GROUPS, path="packed").policy
    assert float((truth - got).detach().abs().max()) < 1e-5
    assert apart(gradients(model, truth), gradients(model, got)) < 1e-5


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2"])
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("adapted", [False, True])
def test_gradient_checkpointing_changes_nothing(name, reentrant, adapted):
    model = small(name)
    model = (lora(model) if adapted else model).train()
    plain = gradients(model, token_logps(model, GROUPS).policy)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    if adapted:
        model.enable_input_require_grads()
    assert apart(plain, gradients(model, token_logps(model, GROUPS).policy)) < 1e-5


def test_attention_dropout_is_applied_in_training_and_off_in_eval():
    model = small("llama")
    model.config.attention_dropout = 0.5
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    torch.manual_seed(0)
    with torch.no_grad():
        quiet = token_logps(model.eval(), GROUPS).policy
        assert torch.equal(quiet, token_logps(model, GROUPS).policy)
        assert not torch.equal(token_logps(model.train(), GROUPS).policy, quiet)


def test_prompt_tuning_takes_the_padded_path():
    base = small("llama")
    model = peft.get_peft_model(
        base, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, num_layers=2, token_dim=16)
    )
    with pytest.warns(UserWarning, match="it has virtual tokens"):
        got = token_logps(model, GROUPS).policy
    ids = torch.tensor([GROUPS[2].prompt + GROUPS[2].responses[0]])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -6:-1].log_softmax(-1)
    want = logits.gather(1, torch.tensor(GROUPS[2].responses[0])[:, None])[:, 0]
    torch.testing.assert_close(got[5, :5], want, atol=1e-5, rtol=1e-5)
    assert gradients(model, got)


def test_a_window_that_is_only_in_the_mask_is_found_out():
    """A model whose layers do not pass their window on would be right on short texts and wrong on long ones."""
    model = small("mistral")
    for layer in model.model.layers:
        layer.self_attn.config = type(model.config)(**(model.config.to_dict() | {"sliding_window": None}))
    with pytest.warns(UserWarning, match="slow way"):
        token_logps(model, GROUPS)
    with pytest.raises(ModelError, match=r"cannot share prompts.*Use path='padded'"):
        token_logps(model, GROUPS, path="packed")


def test_the_trial_leaves_dropout_and_layers_as_they_were():
    model = small("llama").train()
    model.model.norm.eval()
    before = {n: m.training for n, m in model.named_modules()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token_logps(model, GROUPS)
    assert {n: m.training for n, m in model.named_modules()} == before


def test_autocast_is_scored_in_its_own_precision():
    model = lora(small("llama"))
    with torch.no_grad():
        truth = plain_logps(model)
    with torch.autocast("cpu", torch.bfloat16):
        got = token_logps(model, GROUPS, path="packed").policy
    assert got.dtype == torch.float32
    assert float((got - truth).detach().abs().mean()) < 0.2
    assert gradients(model, got)


def test_a_distributed_wrapper_is_called_through_its_own_forward(tmp_path):
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model = lora(small("llama"))
        want = gradients(model, token_logps(model, GROUPS).policy)
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        calls = []
        wrapped.register_forward_hook(lambda *_: calls.append(1))
        got = token_logps(wrapped, GROUPS).policy
        assert calls == [1]
        assert apart(want, gradients(model, got)) < 1e-5
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("groups", "options", "error", "said"),
    [
        ([Group((5,), ((),))], {}, DataError, "empty response"),
        ([Group((5,) * 60, ((6,) * 6,))], {}, DataError, "needs 65 positions.*the model has 64"),
        ([], {}, UsageError, "no groups"),
        (GROUPS, {"extras": ("entropie",)}, UsageError, "Did you mean 'entropy'"),
        (GROUPS, {"path": "fast"}, UsageError, "'auto', 'packed' or 'padded'"),
        (GROUPS, {"budget": 0}, UsageError, "at least 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(groups, options, error, said):
    with pytest.raises(error, match=said):
        token_logps(LLAMA, groups, **options)


def test_what_is_not_a_language_model_is_refused():
    with pytest.raises(ModelError, match="Linear is not a transformers model"):
        token_logps(torch.nn.Linear(2, 2), GROUPS)
