"""Groups in, TokenLogps out: the one way this package asks a model how likely its responses are.

    policy[r, t] = log p(response_r[t] | prompt, response_r[:t])        nats, temperature 1

Two paths compute it. `packed` lays groups in one row and shares each prompt among its responses (`packing`,
`attention`); `padded` gives each response a row of its own and needs nothing but a causal model. Either way the model
is called through its own outermost forward, so adapters, hooks, DDP, FSDP and autocast see the call they expect; only
its output layer is intercepted, which scores the positions that count instead of building logits (`head`).

Before a model is trusted with a path, both are tried on two dozen tokens and compared with the logits of a plain
call; what disagrees is not used, and that is said once.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from theodolite.engine.attention import Unsupported, packed_rows, traced
from theodolite.engine.head import Divergence, Head, check_extras, score
from theodolite.engine.others import Other, Seen, asked
from theodolite.engine.packing import (
    Packed,
    Part,
    check,
    computed_tokens,
    opening,
    pack_row,
    packs,
    pad_rows,
    padded_tokens,
    responses_of,
    split,
)
from theodolite.engine.positions import check_positions, position_ids
from theodolite.engine.reference import evaluating
from theodolite.errors import ModelError, UsageError
from theodolite.types import Group, Role, TokenLogps

Path = Literal["auto", "packed", "padded"]
Values = dict[str, Tensor]

BUDGET = 4096
"""Tokens a pack when nobody says otherwise."""

log = logging.getLogger(__name__)


def token_logps(
    model: nn.Module,
    groups: Sequence[Group],
    *,
    extras: Sequence[str] = (),
    path: Path = "auto",
    budget: int | None = None,
    others: Mapping[str, Other] | None = None,
) -> TokenLogps:
    """Per-token log-probs of every response of `groups` under `model`.

    model: a transformers causal LM, a PeftModel around one, or either in a DDP or FSDP wrapper. Rows of the result
    are responses, group by group in order; (R, T) is right-padded and 0 wherever the weight is 0. Gradient flows when
    torch's grad mode is on and parameters require it. Scores, labels, roles and weights come from the groups, with NaN,
    -1, OTHER and ones where they say nothing. `reference` is None.

    extras: 'entropy' and 'log1mp' (R, T) with gradient; 'top5' (R, T, 5) and 'top5_ids' without; 'state' (R, T, D),
    the last hidden state that predicts the token, with gradient; 'NAME_kl', 'NAME_kl_reverse' and 'NAME_js' (R, T),
    the divergence from `others[NAME]`, with gradient (see `others`).
    path: 'auto' shares prompts where the model allows it; 'packed' insists (ModelError otherwise); 'padded' never does.
    budget: tokens a forward pass. Without gradient a group larger than that is scored in several passes, its prompt
    repeated (`packing.split`), so that memory does not grow with K. With gradient all passes are kept until backward,
    so groups stay whole and a trainer that wants less memory calls this once a pack. The result does not depend on it.
    """
    others = others or {}
    compared = asked(extras, others)
    own = [e for e in extras if e not in compared]
    check_extras([e for e in own if e != "state"])
    base = inner(model)
    check(groups, _context(base))
    if path not in ("auto", "packed", "padded"):
        raise UsageError(f"path must be 'auto', 'packed' or 'padded', got '{path}'.")
    route = _route(model, path)
    check_positions(base, route.keys, groups, _context(base))
    first_row = _offsets([len(g) for g in groups])
    device = base.get_input_embeddings().weight.device
    rows, columns, found = [], [], []
    cost = computed_tokens if route.packed else padded_tokens
    budget = BUDGET if budget is None else budget
    parts = [Part(i, 0, g) for i, g in enumerate(groups)] if torch.is_grad_enabled() else split(groups, budget, cost)
    if len(parts) > len(groups):
        others = {n: _cut(others[n], groups, parts) for n, _ in compared.values()}
    cuts, starts = [p.group for p in parts], [first_row[p.number] + p.first for p in parts]
    for numbers in packs(cuts, budget, cost, shared=opening(cuts) if route.packed else 0):
        part = [cuts[i] for i in numbers]
        pack = _laid(route, part, [starts[i] for i in numbers], device)
        seen = {n: _seen(others[n], numbers, cuts, starts, pack) for n, _ in compared.values()}
        beside = {extra: (seen[n], kind) for extra, (n, kind) in compared.items()}
        found.append(_run(model, pack, route, own, position_ids(part, pack), beside))
        rows.append(pack.scored.row)
        columns.append(pack.scored.column)
    return _collect(groups, torch.cat(rows), torch.cat(columns), found)


@dataclass(frozen=True, slots=True)
class Route:
    """How a model is run. packed: shared prompts. head: its output layer is intercepted (else logits are built).
    keys: which optional arguments its forward takes. why: what kept it from a better route, '' for nothing.
    lean: layers that save passes over memory are used."""

    packed: bool
    head: bool
    keys: frozenset[str]
    why: str = ""
    lean: bool = True


def inner(model: nn.Module) -> Any:
    """The transformers model inside wrappers: DDP, FSDP, torch.compile, PEFT."""
    found: Any = model
    while True:
        if hasattr(found, "get_base_model"):
            found = found.get_base_model()
        elif isinstance(getattr(found, "module", None), nn.Module) and not hasattr(found, "get_input_embeddings"):
            found = found.module
        elif isinstance(getattr(found, "_orig_mod", None), nn.Module):
            found = found._orig_mod
        else:
            break
    if not hasattr(found, "get_output_embeddings") or not hasattr(found, "config"):
        raise ModelError(f"{type(found).__name__} is not a transformers model, so its responses cannot be scored.")
    if found.config.is_encoder_decoder:
        raise ModelError(f"{type(found).__name__} is an encoder-decoder; only causal language models are scored.")
    return found


def head_of(base: Any) -> Head | None:
    """The output layer with what the config says happens to its logits; None where there is no such layer."""
    module = base.get_output_embeddings()
    if module is None:
        return None
    text = base.config.get_text_config()
    scale = 1.0
    if (times := getattr(text, "logit_scale", None)) is not None:  # Cohere
        scale = float(times)
    elif (divisor := getattr(text, "logits_scaling", None)) is not None:  # Granite
        scale = 1.0 / float(divisor)
    cap = getattr(text, "final_logit_softcapping", None)
    return Head(module, None if cap is None else float(cap), scale)


def _context(base: Any) -> int | None:
    limit = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _offsets(sizes: list[int]) -> list[int]:
    total, out = 0, []
    for size in sizes:
        out.append(total)
        total += size
    return out


def _laid(route: Route, groups: Sequence[Group], first_row: Sequence[int], device: torch.device) -> Packed:
    return pack_row(groups, first_row, device, opening(groups)) if route.packed else pad_rows(groups, first_row, device)


def _run(
    model: nn.Module,
    pack: Packed,
    route: Route,
    extras: Sequence[str],
    places: Tensor | None = None,
    beside: Mapping[str, tuple[Seen | None, Divergence]] | None = None,
) -> Values:
    """One forward pass: name -> (S, ...) for the pack's scored tokens."""
    plain = [e for e in extras if e != "state"]

    def score_here(hidden: Tensor, head: Head) -> Values:
        values = score(hidden, head, pack.scored.target.to(hidden.device), plain)
        for name, (seen, kind) in (beside or {}).items():
            values[name] = torch.zeros_like(values["logp"]) if seen is None else seen.apart(hidden, head, kind)
        if "state" in extras:
            if not route.head:
                raise ModelError(f"{type(inner(model)).__name__} keeps its last hidden states to itself: {route.why}.")
            values["state"] = hidden
        return values

    return _pass(model, pack, route, score_here, places)


def _pass(
    model: nn.Module, pack: Packed, route: Route, use: Callable[[Tensor, Head], Values], places: Tensor | None = None
) -> Values:
    """Call the model on a pack and hand the states of its scored tokens, with the output layer, to `use`."""
    with contextlib.ExitStack() as scope:
        if pack.layout is not None:
            scope.enter_context(packed_rows(model, pack.layout, route.lean))
        kwargs: dict[str, Any] = {"input_ids": pack.tokens}
        if pack.layout is not None:
            kwargs["position_ids"] = pack.layout.position[None]
        if places is not None:
            kwargs["position_ids"] = places
            if pack.layout is None:  # without a mask transformers takes a gap in the positions for a new text
                kwargs["attention_mask"] = torch.ones_like(pack.tokens)
        if "use_cache" in route.keys:
            kwargs["use_cache"] = False
        if not route.head:
            logits = model(**kwargs).logits[:, -pack.tokens.shape[1] :].flatten(0, 1)
            return use(logits[pack.scored.source.to(logits.device)], Head(nn.Identity()))
        catch = scope.enter_context(_caught(inner(model), pack, use))
        model(**kwargs)
        return catch[0]


def _seen(
    other: Other, numbers: Sequence[int], groups: Sequence[Group], first_row: Sequence[int], pack: Packed
) -> Seen | None:
    """What `other` makes of the scored tokens of a pack, or None where none of its groups is to be compared."""
    found = [(i, other.counterpart(i, groups[i])) for i in numbers]
    theirs = [(i, g) for i, g in found if g is not None]
    rows = [first_row[i] + k for i, g in theirs for k in range(len(g))]
    at = torch.isin(pack.scored.row, torch.tensor(rows, dtype=torch.long, device=pack.scored.row.device))
    if not bool(at.any()):
        return None
    states, head = _states(other, [g for _, g in theirs])
    return Seen(at.nonzero().squeeze(1).to(states.device), states, head)


def _cut(other: Other, groups: Sequence[Group], parts: Sequence[Part]) -> Other:
    """`other` with its groups cut where the policy's are."""
    whole = [other.counterpart(i, g) for i, g in enumerate(groups)]
    theirs = [(whole[p.number], p) for p in parts]
    cuts = [None if g is None else responses_of(g, p.first, p.first + len(p.group)) for g, p in theirs]
    return replace(other, groups=cuts)


def _states(other: Other, groups: Sequence[Group]) -> tuple[Tensor, Head]:
    """(S, D) states at the scored tokens, in the order of groups, responses and tokens, and the layer above them."""
    mode, model = other.mode or _quiet, other.model
    with mode(model):
        base = inner(model)
        check(groups, _context(base))
        route = _route(model, "auto")
        check_positions(base, route.keys, groups, _context(base))
        device = base.get_input_embeddings().weight.device
        pack = _laid(route, groups, _offsets([len(g) for g in groups]), device)
        kept: list[tuple[Tensor, Head]] = []

        def keep(hidden: Tensor, head: Head) -> Values:
            kept.append((hidden.detach(), head))
            return {"logp": hidden[:, 0]}

        _pass(model, pack, route, keep, position_ids(groups, pack))
    states, head = kept[0]
    if not head.linear and route.head:  # an adapter on the output layer must answer in the other's mode later, too
        layer = head.module

        def in_mode(hidden: Tensor) -> Tensor:
            with mode(model):
                answer: Tensor = layer(hidden)
            return answer

        head = replace(head, module=in_mode)
    return states, head


@contextlib.contextmanager
def _quiet(model: nn.Module) -> Iterator[None]:
    with evaluating(model), torch.no_grad():
        yield


@contextlib.contextmanager
def _caught(base: Any, pack: Packed, use: Callable[[Tensor, Head], Values]) -> Iterator[list[Values]]:
    """While this is open, the model's output layer hands the hidden states of scored positions to `use`.

    The layer returns the log-probs in place of logits, so that a wrapper that inspects the model's output (DDP looking
    for unused parameters) finds the graph it expects.
    """
    head = head_of(base)
    if head is None:
        raise ModelError(f"{type(base).__name__} has no output layer to intercept.")
    module = head.module
    found: list[Values] = []
    patched = vars(module).get("forward")
    shown = head if head.linear else replace(head, module=module.forward)

    def intercept(hidden: Tensor) -> Tensor:
        width = pack.tokens.shape[1]
        states = hidden[:, -width:].flatten(0, 1).index_select(0, pack.scored.source.to(hidden.device))
        found.append(use(states, shown))
        return found[0]["logp"][None]

    module.forward = intercept
    try:
        yield found
    finally:
        if patched is None:
            del module.forward
        else:
            module.forward = patched


def _collect(groups: Sequence[Group], row: Tensor, column: Tensor, found: list[Values]) -> TokenLogps:
    """The packs' values put in their places, and what the groups say about their responses beside them."""
    count, width = sum(map(len, groups)), max(len(r) for g in groups for r in g.responses)
    device = found[0]["logp"].device
    place = row.to(device) * width + column.to(device)

    def spread(name: str) -> Tensor:
        values = torch.cat([f[name] for f in found])
        empty = values.new_zeros(count * width, *values.shape[1:])
        return empty.index_copy(0, place, values).reshape(count, width, *values.shape[1:])

    policy = spread("logp")
    weight = torch.zeros(count, width, dtype=policy.dtype)
    for i, (group, k) in enumerate((g, k) for g in groups for k in range(len(g))):
        length = len(group.responses[k])
        weight[i, :length] = torch.tensor(group.weights[k]) if group.weights else 1.0

    def per_row(name: str, unknown: float, dtype: torch.dtype) -> Tensor:
        said = [getattr(g, name) or (unknown,) * len(g) for g in groups]
        return torch.tensor([x for row in said for x in row], dtype=dtype, device=device)

    return TokenLogps(
        policy=policy,
        weight=weight.to(device),
        group=torch.arange(len(groups), device=device).repeat_interleave(
            torch.tensor([len(g) for g in groups], device=device)
        ),
        role=per_row("roles", int(Role.OTHER), torch.long),
        score=per_row("scores", float("nan"), torch.float32),
        label=per_row("labels", -1, torch.long),
        extras={name: spread(name) for name in found[0] if name != "logp"},
    )


_routes: weakref.WeakKeyDictionary[nn.Module, dict[Any, tuple[Route, Route]]] = weakref.WeakKeyDictionary()
_NEAR = {torch.float64: 1e-5, torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 1.5e-1}
"""How far (nats) two ways of computing a log-prob may be apart in a self-test, by the model's dtype."""


def _route(model: nn.Module, path: Path) -> Route:
    base = inner(model)
    weight = base.get_input_embeddings().weight
    key = (weight.dtype, weight.device.type, base.config._attn_implementation, _virtual_tokens(model))
    known = _routes.setdefault(base, {})
    if key not in known:
        known[key] = _try_out(model, base)
        best = known[key][0]
        if best.why:
            warnings.warn(f"{type(base).__name__} is scored the slow way: {best.why}.", stacklevel=3)
        log.info("%s: packed=%s, head intercepted=%s", type(base).__name__, best.packed, best.head)
    best, padded = known[key]
    if path == "packed" and not best.packed:
        raise ModelError(f"{type(base).__name__} cannot share prompts: {best.why}. Use path='padded' or 'auto'.")
    return padded if path == "padded" else best


def _virtual_tokens(model: nn.Module) -> bool:
    """Prompt- and prefix-tuning put tokens of their own before the text, which a packed row has no place for."""
    config = getattr(model, "active_peft_config", None)
    return bool(config is not None and config.is_prompt_learning)


def _try_out(model: nn.Module, base: Any) -> tuple[Route, Route]:
    """(best route, best padded route), found by comparison with the logits of a plain call."""
    keys = frozenset(inspect.signature(base.forward).parameters)
    vocabulary = base.get_input_embeddings().weight.shape[0]
    groups = [
        Group(_some(5, vocabulary), (_some(4, vocabulary, 3), _some(3, vocabulary, 9))),
        Group((*_some(2, vocabulary), *_some(2, vocabulary, 1)), (_some(4, vocabulary, 5),)),
    ]
    dtypes = [base.get_input_embeddings().weight.dtype]
    device = base.get_input_embeddings().weight.device

    def attempt(packed: bool, lean: bool) -> Tensor:
        pack = pack_row(groups, [0, 2], device, stem=2) if packed else pad_rows(groups, [0, 2], device)
        return _collect(
            groups, pack.scored.row, pack.scored.column, [_run(model, pack, Route(packed, True, keys, lean=lean), ())]
        ).policy

    def plainly() -> Tensor:
        alone = [pad_rows([Group(g.prompt, (r,))], [0], device) for g in groups for r in g.responses]
        rows = [_run(model, one, Route(False, False, keys), ())["logp"] for one in alone]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def fault(packed: bool, lean: bool = False) -> str:
        try:
            with traced() as trace:
                apart = float((attempt(packed, lean) - truth).abs().max())
        except _REFUSALS as error:
            return f"a trial run failed ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        if not apart <= max(_NEAR.get(d, 2e-4) for d in dtypes):
            return f"a trial run was {apart:.2g} nats from the plain logits"
        return _attention_fault(base, trace.calls) if packed else ""

    with evaluating(model), torch.no_grad():
        with _noticing_autocast(base, dtypes):
            truth = plainly()
        without_head = fault(packed=False)
        padded = Route(
            False, not without_head, keys, without_head and f"its output layer cannot be intercepted, {without_head}"
        )
        reason = (
            "it has virtual tokens"
            if _virtual_tokens(model)
            else without_head or _kind_fault(base, keys) or fault(packed=True)
        )
        lean = not reason and not fault(packed=True, lean=True)
    if not reason:
        return Route(True, True, keys, lean=lean), padded
    return replace(padded, why=padded.why or f"prompts are not shared, since {reason}"), padded


@contextlib.contextmanager
def _noticing_autocast(base: Any, dtypes: list[torch.dtype]) -> Iterator[None]:
    """Append the dtype that autocast computes in, where the model's own forward (accelerate's wrapper) turns it on."""

    def look(module: Any, _: Any) -> None:
        kind = module.weight.device.type
        if torch.is_autocast_enabled(kind):
            dtypes.append(torch.get_autocast_dtype(kind))

    handle = base.get_input_embeddings().register_forward_pre_hook(look)
    try:
        yield
    finally:
        handle.remove()


_REFUSALS = (
    Unsupported,
    ModelError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    NotImplementedError,
)


def _some(n: int, vocabulary: int, salt: int = 0) -> tuple[int, ...]:
    return tuple((7919 * (i + 1) + 104729 * salt + 11) % vocabulary for i in range(n))


def _kind_fault(base: Any, keys: frozenset[str]) -> str:
    """What the config alone says against packing."""
    kinds = set(getattr(base.config.get_text_config(), "layer_types", None) or ()) - {
        "full_attention",
        "sliding_attention",
    }
    if kinds:
        return f"it has {', '.join(sorted(kinds))} layers"
    return "" if "position_ids" in keys else "it takes no position ids"


def _attention_fault(base: Any, calls: list[tuple[int | None, float | None]]) -> str:
    """What the attention function's calls in a trial say against packing: a layer that went elsewhere, or a window
    that the config has and the layer did not pass on (too short a text would not show it)."""
    text = base.config.get_text_config()
    if len(calls) != text.num_hidden_layers:
        return f"{len(calls)} of its {text.num_hidden_layers} layers use the attention interface"
    kinds = getattr(text, "layer_types", None)
    windowed = getattr(text, "sliding_window", None) is not None and getattr(text, "use_sliding_window", True)
    expected = [k == "sliding_attention" for k in kinds] if kinds else [bool(windowed)] * len(calls)
    if any(want and window is None for want, (window, _) in zip(expected, calls, strict=True)):
        return "its sliding window does not reach the attention function"
    return ""
