"""Which way a model is scored, found by trying: what disagrees with the logits of a plain call is not used.

Before a model is trusted with a path, both are tried on two dozen tokens. The verdict is kept with the model; where it
is not the fast path, that is said once.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from theodolite.engine.attention import Unsupported, traced
from theodolite.engine.forward import Route, inner, run
from theodolite.engine.packing import pack_row, pad_rows
from theodolite.engine.reference import evaluating
from theodolite.errors import ModelError
from theodolite.types import Group

Path = Literal["auto", "packed", "padded"]

log = logging.getLogger(__name__)

_routes: weakref.WeakKeyDictionary[nn.Module, dict[Any, tuple[Route, Route]]] = weakref.WeakKeyDictionary()
_NEAR = {torch.float64: 1e-5, torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 1.5e-1}
"""How far (nats) two ways of computing a log-prob may be apart in a self-test, by the model's dtype."""


def route_of(model: nn.Module, path: Path) -> Route:
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
        return run(model, pack, Route(packed, True, keys, lean=lean), ())["logp"]

    def plainly() -> Tensor:
        alone = [pad_rows([Group(g.prompt, (r,))], [0], device) for g in groups for r in g.responses]
        return torch.cat([run(model, one, Route(False, False, keys), ())["logp"] for one in alone])

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
