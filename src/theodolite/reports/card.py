"""The model card: README.md beside an adapter, with the evidence of the run that made it."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from theodolite.errors import UsageError
from theodolite.reports import words
from theodolite.reports.contents import contents, mapping
from theodolite.reports.folder import RunData, load
from theodolite.reports.page import save

PEFT = """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = {base!r}
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), {here!r})
tokenizer = AutoTokenizer.from_pretrained(base)"""

PEFT_NAMED = """from peft import PeftModel
from theodolite import load_model

before = load_model({base!r})  # a name that theodolite resolves, downloaded once
model = PeftModel.from_pretrained(before.model, {here!r})
tokenizer = before.tokenizer"""

WHOLE = """from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({here!r})
tokenizer = AutoTokenizer.from_pretrained({here!r})"""


def write(run: Path, adapter: Path) -> Path:
    """Write ADAPTER/README.md from what the run folder holds; returns its path."""
    if not Path(adapter).is_dir():
        raise UsageError(
            f"there is no adapter folder {adapter} to put a model card in. Pass the folder that the align step wrote."
        )
    return save(Path(adapter) / "README.md", render(load(run), Path(adapter)))


def render(data: RunData, adapter: Path) -> str:
    """The card as Markdown with YAML front matter."""
    page, model = contents(data), mapping(data.run.get("model"))
    facts, whole = (
        adapter_facts(adapter),
        (adapter / "config.json").exists() and not (adapter / "adapter_config.json").exists(),
    )
    base = str(model.get("name") or facts.get("base_model_name_or_path") or "unknown")
    front = front_matter(page, base, whole, objective(data))
    return (
        _environment()
        .get_template("card.md.jinja")
        .render(
            front=front,
            title=page["title"],
            verdict=page["verdict"],
            what=what(page, base, whole, facts, objective(data)),
            data=rows_in_words(page["data"]),
            base=base,
            parameters=words.compact(model.get("parameters")),
            fingerprint=str(model.get("fingerprint") or ""),
            version=str(mapping(data.run.get("versions")).get("theodolite", "")),
            created=page["created"],
            took=words.duration(page["seconds"]),
            machine=dict(page["provenance"]).get("Machine", ""),
            command=str(data.run.get("command") or ""),
            loading=loading(base, whole, adapter.name),
            levels=" and ".join(sorted({words.level_text(r["level"]) for r in page["readings"] if r["shown"]["span"]}))
            or "missing",
            readings=[r for r in page["readings"] if not r["shown"]["curve"]],
            limits=limits(page),
            warnings=page["warnings"],
            checks=page["checks"],
            recipe=data.recipe_text.strip().replace("```", "'''"),
        )
    )


def front_matter(page: dict[str, Any], base: str, whole: bool, method: str) -> str:
    """The keys that model hubs read, between two lines of dashes."""
    tags = ["theodolite", "alignment", *filter(None, [method]), *([] if whole else ["lora"])]
    keys = {
        "base_model": base,
        "library_name": "transformers" if whole else "peft",
        "pipeline_tag": "text-generation",
        "tags": list(dict.fromkeys(tags)),
    }
    return "---\n" + yaml.safe_dump(keys, sort_keys=False, allow_unicode=True) + "---\n"


def adapter_facts(adapter: Path) -> dict[str, Any]:
    """adapter_config.json as a dict, empty where there is none that can be read."""
    try:
        found = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def objective(data: RunData) -> str:
    """The name of the align step's objective, however the recipe spells it; '' where there is none."""
    steps = [s for s in data.asked if s.get("step") == "align"]
    found = steps[0].get("objective", "") if steps else ""
    return str(found.get("name", "")) if isinstance(found, dict) else str(found or "")


def what(page: dict[str, Any], base: str, whole: bool, facts: dict[str, Any], method: str) -> str:
    rank = f" of rank {facts['r']}" if facts.get("r") else ""
    made = f"All weights of `{base}`" if whole else f"A LoRA adapter{rank} for `{base}`"
    how = f", trained with the objective `{method}`" if method else ""
    summaries = [s["summary"].rstrip(".") for s in page["steps"] if s["kind"] in ("curate", "align") and s["summary"]]
    return f"{made}{how}." + "".join(f" {s}." for s in summaries)


def rows_in_words(data: dict[str, Any] | None) -> str:
    if not data or data["rows"] is None:
        return ""
    kept = f", of which {data['kept']:,} were used" if isinstance(data["kept"], int) else ""
    reasons = "; ".join(f"{g['count']} because {g['reason']}" for g in data["left_out"])
    return f"It saw {data['rows']:,} rows of data{kept}." + (f" Left out: {reasons}." if reasons else "")


def limits(page: dict[str, Any]) -> list[str]:
    """What a reader of the evidence must not conclude from it."""
    said = [
        "The evidence is about the prompts of this run only; other topics, languages and longer conversations were not measured.",
        "Safety was not measured unless a reading above says so. The limits of the model before apply here too.",
    ]
    if page["verdict"]["kind"] in ("unclear", "unpaired", "none"):
        said.insert(0, "This run does not show that the model became better.")
    if page["verdict"]["better"] is False:
        said.insert(0, "By its main reading the model became worse.")
    if page["status"]["state"] != "done":
        said.insert(0, f"The run did not end normally ({page['status']['state']}). {page['status']['failure']}".strip())
    return [*said, *page["verdict"]["cautions"]]


def loading(base: str, whole: bool, here: str) -> str:
    """Code that loads the model from the folder the card lies in. Hub ids and folders hold a slash, our names do not."""
    if whole:
        return WHOLE.format(here=here)
    return (PEFT if "/" in base else PEFT_NAMED).format(base=base, here=here)


def escape(value: Any) -> str:
    """Text that cannot break out of a Markdown paragraph or table cell, nor be read as HTML."""
    flat = re.sub(r"\s*\n\s*", " ", str(value))
    return re.sub(r"([|\\<>\[\]])", r"\\\1", flat)


@functools.cache
def _environment() -> Environment:
    # Markdown, not HTML: what is not trusted passes through the `md` filter, which escapes tags as well.
    env = Environment(
        loader=PackageLoader("theodolite.reports"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "md": escape,
        "code": lambda text: str(text).replace("`", "'").replace("\n", " ").replace("|", "\\|"),
    }
    return env
