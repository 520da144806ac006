"""Samples with vLLM behind the same protocol. Imports vLLM only when a sampler is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from theodolite.engine.drawing import key
from theodolite.engine.sampling import Progress, Sampling
from theodolite.errors import UsageError
from theodolite.models.chat import end_ids, prompt_ids
from theodolite.registry import register
from theodolite.types import Example, Response


@register(
    "sampler",
    "vllm",
    source="arXiv:2309.06180 (vLLM), through its offline interface",
    config=Sampling,
    logps=True,
)
class VllmSampler:
    """Samples with vLLM in this process.

    model: a folder or hub id. engine_args: passed on to `vllm.LLM`, such as dtype or tensor_parallel_size.

    Each prompt has its own seed, hashed from (seed, prompt ids), from which vLLM makes one for each of the k; so
    a sample does not depend on its neighbours as far as vLLM's kernels allow. Log-probs are vLLM's of the drawn
    tokens; its default `logprobs_mode='raw_logprobs'` gives them at temperature 1, before filters.
    """

    def __init__(self, model: str, **engine_args: Any) -> None:
        try:
            import vllm
        except ModuleNotFoundError as error:
            if error.name != "vllm":
                raise
            raise UsageError(
                "vLLM is not installed: pip install 'theodolite[vllm]' (it wants a GPU). Without one, use the local sampler."
            ) from None
        self.name = model
        self._params: Any = vllm.SamplingParams
        self._llm: Any = vllm.LLM(model=model, **engine_args)

    def sample(self, examples: Sequence[Example], cfg: Sampling, *, progress: Progress | None = None) -> list[Example]:
        """See `Sampler.sample`; vLLM shows its own progress, ours is told once at the end."""
        if not examples:
            return []
        tokenizer = self._llm.get_tokenizer()
        prompts = [prompt_ids(tokenizer, e.prompt) for e in examples]
        ends = sorted(end_ids(tokenizer))
        outputs = self._llm.generate(
            [{"prompt_token_ids": list(p)} for p in prompts], [self._options(p, cfg, ends) for p in prompts]
        )
        if progress is not None:
            progress(len(prompts) * cfg.k, len(prompts) * cfg.k)
        return [
            example.with_responses([self._response(c) for c in output.outputs])
            for example, output in zip(examples, outputs, strict=True)
        ]

    def _options(self, prompt: Sequence[int], cfg: Sampling, ends: list[int]) -> Any:
        return self._params(
            n=cfg.k,
            max_tokens=cfg.max_new_tokens,
            temperature=cfg.temperature,
            top_k=cfg.top_k or -1,
            top_p=cfg.top_p,
            min_p=cfg.min_p,
            stop=list(cfg.stop),
            stop_token_ids=ends,
            seed=key(cfg.seed, prompt, 0) % 2**31,
            logprobs=0,
        )

    def _response(self, choice: Any) -> Response:
        tokens = tuple(choice.token_ids)
        logps = None
        if choice.logprobs is not None:
            logps = tuple(float(step[token].logprob) for token, step in zip(tokens, choice.logprobs, strict=True))
        finish = choice.finish_reason if choice.finish_reason in ("stop", "length") else None
        return Response(choice.text, source=self.name, tokens=tokens, logps=logps, finish=finish)
