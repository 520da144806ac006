"""report: a page a person wants to read, and a model card that carries its evidence."""

from __future__ import annotations

from theodolite.config import Config
from theodolite.registry import register
from theodolite.reports import card
from theodolite.runs.context import Context


class Report(Config):
    """The page is RUN/report.html; its numbers are RUN/readings.json."""

    card: bool = True
    """write a model card (README.md) beside the adapter"""


@register("step", "report", source="ours", config=Report)
def report(context: Context, cfg: Report) -> str:
    """Write the model card; the runner writes the page last, when the run's own state is final."""
    adapter = next((context.run / n for n in ("adapter", "model") if (context.run / n).is_dir()), None)
    if cfg.card and adapter is not None:
        card.write(context.run, adapter)
        return "report.html, and a model card beside the weights"
    return "report.html"
