"""A model that is asked. Every survey asks through here, so that what was asked once is never computed twice.

Three kinds of question, each one pass for all surveys together: how likely is an option (teacher-forced, packed,
prompts shared), what does the model answer (sampled), what are its hidden states. Scores and answers are kept in a
JSONL file, so a killed survey goes on where it stopped; hidden states only in memory, and not without end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from theodolite.engine import LocalSampler, Sampler, Sampling, Unfinished, token_logps
from theodolite.errors import ModelError, StorageError
from theodolite.models.chat import prompt_ids
from theodolite.models.load import Loaded
from theodolite.surveys.scoring import option_logps
from theodolite.surveys.states import BYTES, Pool, Recent, hidden_states
from theodolite.types import Example, Group, Message

PLAIN = (
    "{{ bos_token if bos_token else '' }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] + '\n\n' }}"
    "{% elif m['role'] == 'user' %}{{ 'Question: ' + m['content'] + '\n' }}"
    "{% else %}{{ 'Answer: ' + m['content'] + '\n\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}Answer:{% endif %}"
)
"""how a conversation is rendered for a model that was not made for any"""
YES_NO = ("Yes", "No", "yes", "no")
CHUNK = 64
"""prompts between two writes to disk"""
BUDGET = 2048
"""tokens a forward pass"""

Progress = Callable[[str, int, int], None]
Prompt = str | Sequence[Message]
Answerer = Callable[[list[Any]], list[Any]]
"""things asked -> one JSON value each"""


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
    state_bytes: most bytes of hidden states kept for the next survey that asks for them; older ones are computed again.
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
        state_bytes: int = BYTES,
    ) -> None:
        self.loaded, self.name, self.progress, self.seed = loaded, loaded.name, progress, seed
        self.tokenizer, self.model = loaded.tokenizer, loaded.model
        template = getattr(self.tokenizer, "chat_template", None)
        self.chat = bool(template) and template != PLAIN  # PLAIN: another Subject has asked this model before
        if not self.chat:
            self.tokenizer.chat_template = PLAIN
        self.sampler = sampler or LocalSampler(self.model, self.tokenizer, rows=rows, name=loaded.name)
        slug = "".join(c if c.isalnum() or c in "-." else "-" for c in loaded.name)
        self.file = folder / f"asked-{slug}.jsonl" if folder else None
        self.known: dict[str, Any] = self._remembered()
        self.kept = Recent(state_bytes)
        """hidden states by prompt and way of pooling"""
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
        groups = self._groups(prompts, options)
        keys = [_key("options", g.prompt, g.responses) for g in groups]
        self._ask(keys, groups, self._score, "options", what)
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
            same = self._option(row[0]) == self._option(" " + row[0])
            found.append(Options(scored.logp[::2] if same else logp, scored.tokens[::2]))
        return found

    def yes_no(self, prompts: Sequence[Prompt], what: str = "reading yes or no") -> np.ndarray:
        """(n,) log P(yes) - log P(no) in nats: above 0 where yes is the likelier answer.

        Each word counts with and without a capital letter and a leading space; P(yes) of the two is 1 / (1 + exp(-x)).
        The prompt itself must ask for yes or no.
        """
        found = self.choices(prompts, [YES_NO] * len(prompts), what)
        return np.array([np.logaddexp(f.logp[0], f.logp[2]) - np.logaddexp(f.logp[1], f.logp[3]) for f in found])

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

        def draw(asked: list[Any]) -> list[Any]:
            try:
                return texts(self.sampler.sample(asked, sampling))
            except Unfinished as stopped:  # what is complete need not be asked again
                made = {keys[int(e.id)]: t for e, t in zip(stopped.done, texts(stopped.done), strict=True)}
                self._keep(made)
                raise

        def texts(answered: Sequence[Example]) -> list[Any]:
            return [[r.text for r in e.responses] for e in answered]

        self._ask(keys, examples, draw, "answers", what, chunk=2 * CHUNK)
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
            groups = [  # what was read before has its value
                Group((start,), (ids[a:c],), ((0.0,) * (b - a) + (1.0,) * (c - b),)) for a, b, c in pieces
            ]
            keys = [_key("surprisal", g.responses) for g in groups]
            self._ask(keys, groups, self._per_token, "options", f"{what}, text {number + 1}", chunk=4)
            bits = np.concatenate(
                [-np.asarray(self.known[k])[b - a :] for k, (a, b, _) in zip(keys, pieces, strict=True)]
            ) / np.log(2)
            found.append(np.bincount(owner, weights=bits, minlength=len(words)))
        return found

    def states(
        self,
        prompts: Sequence[Prompt],
        *,
        pool: Pool = "mean",
        layer: int | None = None,
        what: str = "reading hidden states",
    ) -> np.ndarray:
        """(n, layers + 1, d) float32 hidden states of the rendered prompts, mean over tokens or of the last one.

        With `layer` (n, d), those of one layer alone; 0 is the embedding.
        """
        ids = [self._prompt(p) for p in prompts]
        keys = [_key("states", i, pool) if layer is None else _key("states", i, pool, layer) for i in ids]
        found = {k: v for k in dict.fromkeys(keys) if (v := self.kept.get(k)) is not None}
        fresh = {k: i for k, i in zip(keys, ids, strict=True) if k not in found}
        names = list(fresh)

        def report(done: int, total: int) -> None:
            self.progress(f"{self.name}: {what}", done, total)

        for n, value in hidden_states(self.model, list(fresh.values()), pool=pool, layer=layer, progress=report):
            found[names[n]] = value
            self.kept.put(names[n], value)
        self._count("states", len(fresh), len(keys))
        return np.stack([found[k] for k in keys])

    def _score(self, groups: list[Group]) -> list[Any]:
        """[log-prob, tokens] of every response, in the best way that this model allows."""
        found = self._logps(groups)
        return [
            [[v, len(r)] for v, r in zip(row, g.responses, strict=True)] for row, g in zip(found, groups, strict=True)
        ]

    def _logps(self, groups: list[Group]) -> list[list[float]]:
        for share in (True, False):
            with contextlib.suppress(ModelError):  # what else may be wrong is said below, too
                return option_logps(self.model, groups, BUDGET, share)
        with torch.inference_mode():
            sums = iter(token_logps(self.model, groups, budget=BUDGET).logp().tolist())
        return [[next(sums) for _ in g.responses] for g in groups]

    def _per_token(self, groups: list[Group]) -> list[Any]:
        with torch.inference_mode():
            got = token_logps(self.model, groups, budget=BUDGET)
        return [row[: len(g.responses[0])] for row, g in zip(got.policy.tolist(), groups, strict=True)]

    def _ask(
        self, keys: Sequence[str], asked: Sequence[Any], answer: Answerer, kind: str, what: str, chunk: int = CHUNK
    ) -> None:
        """Answer what is not known yet, chunk by chunk, each written down when it is there."""
        where = {k: n for n, k in reversed(list(enumerate(keys)))}
        fresh = list(dict.fromkeys(k for k in keys if k not in self.known))
        for begin in range(0, len(fresh), chunk):
            part = fresh[begin : begin + chunk]
            made = dict(zip(part, answer([asked[where[k]] for k in part]), strict=True))
            self._keep(made)
            self.progress(f"{self.name}: {what}", begin + len(part), len(fresh))
        self._count(kind, len(fresh), len(keys))

    def _count(self, kind: str, fresh: int, asked: int) -> None:
        self.passes[kind] += fresh
        self.passes["reused"] += asked - fresh

    def _keep(self, made: Mapping[str, Any]) -> None:
        self.known |= made
        self._append("".join(json.dumps([k, v], ensure_ascii=False) + "\n" for k, v in made.items()))

    def _append(self, text: str) -> None:
        if self.file is None:
            return
        try:
            with open(self.file, "a", encoding="utf-8") as handle:
                handle.write(text)
        except OSError as error:
            raise StorageError(f"{self.file} cannot be written: {error}. What was asked so far is kept.") from error

    def _remembered(self) -> dict[str, Any]:
        if self.file is None or not self.file.exists():
            return {}
        found = {}
        text = self.file.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):  # a killed run stopped within a line; what comes now begins another
            self._append("\n")
        for line in text.split("\n"):  # not splitlines: an answer may hold U+2028
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

    def _groups(self, prompts: Sequence[Prompt], options: Sequence[Sequence[str]]) -> list[Group]:
        known: dict[str, tuple[int, ...]] = {}

        def ids(text: str) -> tuple[int, ...]:
            if text not in known:
                known[text] = self._option(text)
            return known[text]

        return [Group(self._prompt(p), tuple(map(ids, row))) for p, row in zip(prompts, options, strict=True)]

    def _option(self, text: str) -> tuple[int, ...]:
        """Ids of an option; after the plain rendering, which ends in the bare word 'Answer:', it begins with a space."""
        gap = "" if self.chat or text[:1].isspace() else " "
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
