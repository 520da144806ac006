"""A model that is asked. Every survey asks through here, so that what was asked once is never computed twice.

Three kinds of question, each one pass for all surveys together: how likely is an option (teacher-forced, packed,
prompts shared), what does the model answer (sampled), what are its hidden states. Scores and answers are kept in a
JSONL file, so a killed survey goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from theodolite.engine import LocalSampler, Sampler, Sampling, token_logps
from theodolite.errors import ModelError, StorageError
from theodolite.models.chat import prompt_ids, rendered
from theodolite.models.load import Loaded
from theodolite.types import Example, Group, Message

PLAIN = (
    "{{ bos_token if bos_token else '' }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] + '\n\n' }}"
    "{% elif m['role'] == 'user' %}{{ 'Question: ' + m['content'] + '\n' }}"
    "{% else %}{{ 'Answer: ' + m['content'] + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)
"""how a conversation is rendered for a model that was not made for any"""
CHUNK = 64
"""prompts between two writes to disk"""
BUDGET = 2048
"""tokens a forward pass"""

Progress = Callable[[str, int, int], None]
Prompt = str | Sequence[Message]


@dataclass(frozen=True, slots=True)
class Options:
    """Of k options behind one prompt: logp (k,) summed log-probs in nats, tokens (k,) their lengths."""

    logp: np.ndarray
    tokens: np.ndarray

    @property
    def probability(self) -> np.ndarray:
        """(k,) softmax over the options."""
        p = np.exp(self.logp - self.logp.max())
        return np.asarray(p / p.sum())


class Subject:
    """One model under survey.

    loaded: from `load_model`. folder: where scores and answers are kept; None keeps them in memory only.
    sampler: answers in place of the local model (a server, say). seed: of every sampled answer.
    A model without a chat template is asked as 'Question: ... Answer:', which `protocol` says.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        folder: Path | None = None,
        progress: Progress = lambda what, done, total: None,
        sampler: Sampler | None = None,
        seed: int = 0,
        rows: int = 128,
    ) -> None:
        self.loaded, self.name, self.progress, self.seed = loaded, loaded.name, progress, seed
        self.tokenizer, self.model = loaded.tokenizer, loaded.model
        self.chat = bool(getattr(self.tokenizer, "chat_template", None))
        if not self.chat:
            self.tokenizer.chat_template = PLAIN
        self.sampler = sampler or LocalSampler(self.model, self.tokenizer, rows=rows, name=loaded.name)
        slug = "".join(c if c.isalnum() or c in "-." else "-" for c in loaded.name)
        self.file = folder / f"asked-{slug}.jsonl" if folder else None
        self.known: dict[str, Any] = self._remembered()
        self.passes: dict[str, int] = {"options": 0, "answers": 0, "states": 0, "reused": 0}
        """how many were computed, and how many were known already"""

    @property
    def protocol(self) -> Mapping[str, Any]:
        """What a comparison must hold equal, and what it may differ in."""
        how = "the model's own chat template" if self.chat else "plain 'Question: ... Answer:'"
        return {"model": self.name, "rendering": how, "backend": type(self.sampler).__name__, "seed": self.seed}

    def options(
        self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]], what: str = "scoring options"
    ) -> list[Options]:
        """Log-probs of every option as the answer to its prompt, the end of the turn not included."""
        groups = [
            Group(self._prompt(p), tuple(self._option(p, o) for o in row))
            for p, row in zip(prompts, options, strict=True)
        ]
        keys = [_key("options", g.prompt, g.responses) for g in groups]
        self._ask(keys, [(g,) for g in groups], self._score, "options", what)
        found = [np.asarray(self.known[k], float) for k in keys]
        return [Options(f[:, 0], f[:, 1]) for f in found]

    def choices(
        self, prompts: Sequence[Prompt], labels: Sequence[Sequence[str]], what: str = "reading choices"
    ) -> list[Options]:
        """Log-probs of short labels (letters, digits, yes and no), each counted with and without a leading space."""
        variants = [[v for label in row for v in (label, " " + label)] for row in labels]
        found = []
        for row, scored in zip(labels, self.options(prompts, variants, what), strict=True):
            logp = np.logaddexp(scored.logp[::2], scored.logp[1::2])
            same = self._option("", row[0]) == self._option("", " " + row[0])
            found.append(Options(scored.logp[::2] if same else logp, scored.tokens[::2]))
        return found

    def answers(
        self,
        prompts: Sequence[Prompt],
        *,
        max_new_tokens: int = 128,
        k: int = 1,
        temperature: float = 0.0,
        what: str = "answering",
    ) -> list[list[str]]:
        """k answers to every prompt; greedy unless a temperature is given."""
        stop = () if self.chat else ("\nQuestion:", "\n\n")
        sampling = Sampling(k=k, max_new_tokens=max_new_tokens, temperature=temperature, seed=self.seed, stop=stop)
        examples = [Example(self._messages(p), id=str(i)) for i, p in enumerate(prompts)]
        keys = [_key("answers", self._prompt(p), sampling.model_dump_json()) for p in prompts]

        def draw(asked: list[tuple[Any, ...]]) -> list[Any]:
            drawn = self.sampler.sample([e for (e,) in asked], sampling)
            return [[r.text for r in e.responses] for e in drawn]

        self._ask(keys, [(e,) for e in examples], draw, "answers", what, chunk=2 * CHUNK)
        return [list(self.known[k]) for k in keys]

    def surprisals(self, texts: Sequence[Sequence[str]], what: str = "reading texts") -> list[np.ndarray]:
        """For each text, given as its words: the surprisal of every word in bits, given all words before it.

        A word's surprisal is the sum over its tokens, found by character offsets. Texts longer than the context are
        read in windows that overlap by half, so that every word has at least half a context before it.
        """
        window = min(self.loaded.max_length - 1, 1024)
        start = self._start()
        found = []
        for number, words in enumerate(texts):
            ids, owner = self._words(words)
            pieces, done = [], 0
            while done < len(ids):
                first = max(0, done - window // 2) if done else 0
                pieces.append((first, done, min(first + window, len(ids))))
                done = pieces[-1][2]
            groups = [Group((start,), (ids[a:c],)) for a, _, c in pieces]
            keys = [_key("surprisal", g.responses) for g in groups]
            self._ask(keys, [(g,) for g in groups], self._per_token, "options", f"{what}, text {number + 1}", chunk=4)
            bits = np.concatenate(
                [-np.asarray(self.known[k])[b - a :] for k, (a, b, _) in zip(keys, pieces, strict=True)]
            ) / np.log(2)
            found.append(np.bincount(owner, weights=bits, minlength=len(words)))
        return found

    def states(
        self, prompts: Sequence[Prompt], *, pool: str = "mean", what: str = "reading hidden states"
    ) -> np.ndarray:
        """(n, layers + 1, d) float32 hidden states of the rendered prompts, mean over tokens or of the last one."""
        ids = [self._prompt(p) for p in prompts]
        keys = [_key("states", i, pool) for i in ids]
        fresh = [n for n, k in enumerate(keys) if k not in self.known]
        fresh.sort(key=lambda n: len(ids[n]))
        device = self.model.get_input_embeddings().weight.device
        for begin in range(0, len(fresh), 16):
            part = fresh[begin : begin + 16]
            width = max(len(ids[n]) for n in part)
            tokens = torch.zeros((len(part), width), dtype=torch.long)
            mask = torch.zeros((len(part), width), dtype=torch.long)
            for row, n in enumerate(part):
                tokens[row, : len(ids[n])] = torch.tensor(ids[n])
                mask[row, : len(ids[n])] = 1
            with torch.inference_mode():
                out = self.model(tokens.to(device), attention_mask=mask.to(device), output_hidden_states=True)
            layers = torch.stack(out.hidden_states, 1).float().cpu()  # (b, L + 1, T, d)
            for row, n in enumerate(part):
                own = layers[row, :, : len(ids[n])]
                self.known[keys[n]] = (own.mean(1) if pool == "mean" else own[:, -1]).numpy()
            self.progress(what, begin + len(part), len(fresh))
        self._count("states", len(fresh), len(keys))
        return np.stack([self.known[k] for k in keys])

    def _score(self, asked: list[tuple[Any, ...]]) -> list[Any]:
        groups = [g for (g,) in asked]
        with torch.inference_mode():
            got = token_logps(self.model, groups, budget=BUDGET)
        sums, lengths = got.logp().tolist(), (got.weight != 0).sum(-1).tolist()
        rows = iter(zip(sums, lengths, strict=True))
        return [[next(rows) for _ in g.responses] for g in groups]

    def _per_token(self, asked: list[tuple[Any, ...]]) -> list[Any]:
        with torch.inference_mode():
            got = token_logps(self.model, [g for (g,) in asked], budget=BUDGET)
        return [row[: len(g.responses[0])] for row, (g,) in zip(got.policy.tolist(), asked, strict=True)]

    def _ask(
        self,
        keys: Sequence[str],
        asked: Sequence[tuple[Any, ...]],
        answer: Callable[[list[tuple[Any, ...]]], list[Any]],
        kind: str,
        what: str,
        chunk: int = CHUNK,
    ) -> None:
        """Answer what is not known yet, chunk by chunk, each written down when it is there."""
        fresh = list(dict.fromkeys(k for k in keys if k not in self.known))
        where = {k: n for n, k in reversed(list(enumerate(keys)))}
        for begin in range(0, len(fresh), chunk):
            part = fresh[begin : begin + chunk]
            for key, value in zip(part, answer([asked[where[k]] for k in part]), strict=True):
                self.known[key] = value
                self._remember(key, value)
            self.progress(f"{self.name}: {what}", begin + len(part), len(fresh))
        self._count(kind, len(fresh), len(keys))

    def _count(self, kind: str, fresh: int, asked: int) -> None:
        self.passes[kind] += fresh
        self.passes["reused"] += asked - fresh

    def _remember(self, key: str, value: Any) -> None:
        if self.file is None:
            return
        try:
            with open(self.file, "a", encoding="utf-8") as handle:
                handle.write(json.dumps([key, value], ensure_ascii=False) + "\n")
        except OSError as error:
            raise StorageError(f"{self.file} cannot be written: {error}. What was asked so far is kept.") from error

    def _remembered(self) -> dict[str, Any]:
        if self.file is None or not self.file.exists():
            return {}
        found = {}
        for line in self.file.read_text(encoding="utf-8").split("\n"):  # not splitlines: an answer may hold U+2028
            try:
                key, value = json.loads(line)
            except ValueError:  # the last line of a killed run
                continue
            found[key] = value
        return found

    def _messages(self, prompt: Prompt) -> tuple[Message, ...]:
        return (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)

    def _prompt(self, prompt: Prompt) -> tuple[int, ...]:
        return prompt_ids(self.tokenizer, self._messages(prompt))

    def _option(self, prompt: Prompt, text: str) -> tuple[int, ...]:
        """Ids of an option; after a rendering that ends in a bare word ('Answer:') it begins with a space."""
        head = rendered(self.tokenizer, self._messages(prompt or "?"), generate=True)
        gap = "" if head[-1:].isspace() or text[:1].isspace() or self.chat else " "
        ids = tuple(self.tokenizer(gap + text, add_special_tokens=False)["input_ids"])
        if not ids:
            raise ModelError(f"an option of the survey has no tokens under {self.name}: {text!r}.")
        return ids

    def _start(self) -> int:
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return int(token)
        raise ModelError(f"{self.name} has neither a begin nor an end token to read a text from.")

    def _words(self, words: Sequence[str]) -> tuple[tuple[int, ...], np.ndarray]:
        """Ids of the words joined by spaces, and which word each id belongs to (a leading space counts to its word)."""
        text, ends = "", []
        for word in words:
            text += (" " if text else "") + word
            ends.append(len(text))
        coded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        last = np.array([max(b - 1, a) for a, b in coded["offset_mapping"]])
        return tuple(coded["input_ids"]), np.searchsorted(np.array(ends), last, side="right").clip(max=len(words) - 1)


def _key(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
