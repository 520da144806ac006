"""One forward pass over a pack: called through the model's own outermost forward, its output layer intercepted.

Adapters, hooks, DDP, FSDP and autocast see the call they expect; only the output layer is handed the states of scored
positions, which it scores (`head`) instead of building logits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from theodolite.engine.attention import packed_rows
from theodolite.engine.head import Divergence, Head, score
from theodolite.engine.others import Seen
from theodolite.engine.packing import Packed
from theodolite.errors import ModelError

Values = dict[str, Tensor]


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


def run(
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

    return forward(model, pack, route, score_here, places)


def forward(
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
