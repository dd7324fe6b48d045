"""The comparison as a page: tables, how each tool was asked, and what to keep in mind."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .adapters import ADAPTERS, Adapter, Question
from .hub import Repository
from .rows import Row
from .scoring import OWN, QUANTITIES, Figure, Score, pair, score


@dataclass(frozen=True, slots=True)
class Run:
    """One comparison: its figures and what they rest on."""

    date: str
    figures: Sequence[Figure]
    versions: Mapping[str, str]
    rows: int
    shared: frozenset[str]
    """The rows that all tools were asked about."""
    unserved: Sequence[str]
    seconds: float

    @property
    def tools(self) -> list[str]:
        return [OWN, *ADAPTERS]

    def of(self, tool: str, quantity: str) -> list[Figure]:
        """A tool's figures on the rows that all were asked about."""
        return [one for one in self.all_of(tool, quantity) if one.row in self.shared]

    def all_of(self, tool: str, quantity: str) -> list[Figure]:
        return [one for one in self.figures if one.tool == tool and one.quantity == quantity]


def table(run: Run, quantity: str) -> list[str]:
    """One quantity: a line for each tool."""
    lines = [
        "| tool | asked | answered | median error | p90 error | within 1 % | within 5 % | within 10 % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    everything = run.all_of(OWN, quantity)
    scored = {tool: run.of(tool, quantity) for tool in run.tools}
    if len(everything) > len(scored[OWN]):
        scored[f"{OWN}, unserved rows too"] = everything
    for tool, found in ((tool, score(figures)) for tool, figures in scored.items()):
        lines.append(f"| {tool} | {found.asked} | {found.answered} | {' | '.join(_shown(found))} |")
    return lines


def _shown(found: Score) -> list[str]:
    shares = (found.within_1, found.within_5, found.within_10)
    return [percent(found.median), percent(found.p90), *(f"{100 * share:.0f} %" for share in shares)]


def percent(error: float | None) -> str:
    """An error as it is printed.

    >>> percent(0.01234)
    '1.23 %'
    """
    if error is None:
        return "–"
    return f"{100 * error:.2f} %" if error < 0.1 else f"{100 * error:.0f} %"


def pairs(run: Run) -> list[str]:
    """Rigfit beside each peer on the rows that both answered."""
    lines = [
        f"| peer | quantity | rows | median, {OWN} | median, peer | {OWN} nearer | peer nearer |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for tool in ADAPTERS:
        for quantity in QUANTITIES:
            found = pair(run.of(OWN, quantity), run.of(tool, quantity))
            if found is None:
                lines.append(f"| {tool} | {quantity} | 0 | – | – | – | – |")
                continue
            medians = f"{percent(found.own_median)} | {percent(found.median)}"
            lines.append(f"| {tool} | {quantity} | {found.rows} | {medians} | {found.nearer} | {found.further} |")
    return lines


def asked_how() -> list[str]:
    """How each peer was asked, in its adapter's words."""
    said = ((_item(f"**{tool}**: {inspect.getdoc(one)}"), "\n".join(_commands(one))) for tool, one in ADAPTERS.items())
    return ["\n\n".join("\n\n".join(pair) for pair in said)]


def _commands(adapter: Adapter) -> list[str]:
    """The commands of a peer for the example, as a block of the page."""
    asked: list[str] = []

    def ask(*command: str) -> str:
        lines = textwrap.wrap(" ".join(command), 106, break_long_words=False, break_on_hyphens=False)
        asked.append(" \\\n    ".join(lines))
        return ""

    adapter(EXAMPLE, ask)
    return textwrap.indent("\n".join(asked), "      ").splitlines()


def page(run: Run) -> str:
    """The whole page."""
    parts = [[f"# {OWN} beside other calculators"], [_paragraph(_rests_on(run))], [_paragraph(MEANING)]]
    for quantity in QUANTITIES:
        parts += [[f"## {quantity[0].upper()}{quantity[1:]}"], table(run, quantity)]
    parts += [["## On the rows that both answered"], pairs(run)]
    parts += [["## How each was asked"], [_paragraph(COMMANDS)], asked_how()]
    parts += [["## To keep in mind"], [_item(_unserved(run)), *map(_item, CAVEATS)]]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _paragraph(text: str, width: int = 120) -> str:
    return textwrap.fill(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return "- " + _paragraph(text, 118).replace("\n", "\n  ")


def _rests_on(run: Run) -> str:
    versions = ", ".join(f"{tool} {version}" for tool, version in run.versions.items())
    return f"""
        Written by `make peers` on {run.date}, in one run of {run.seconds:.0f} s, on {run.rows} start-ups of vLLM whose
        logs were published. {OWN} as of that day; {versions}."""


def _unserved(run: Run) -> str:
    names = f" ({', '.join(run.unserved)})" if run.unserved else ""
    return f"""
        Repositories that the catalogue does not know were not served{names}. On {run.rows - len(run.shared)} rows {OWN}
        therefore has no answer, and the peers, which might have one on the real hub, could not be asked; they count in
        the line "{OWN}, unserved rows too" alone."""


COMMANDS = """
    The commands are for a 16-bit model on two cards with 79.18 GiB each, at a utilisation of 0.9 and 16,000 tokens; the
    second of a tool is asked for what the first does not say."""
EXAMPLE = Question(
    Row(
        id="example",
        model="org/model-8b",
        stated={
            "gpu": "H100 80GB",
            "quant": "bf16",
            "tp": 2,
            "total_gpu_gib": 79.18,
            "gpu_mem_util": 0.9,
            "max_model_len": 16000,
        },
        weights_gib=7.5,
        kv_bytes_per_token=None,
        pool_gib=60.0,
        budget_gib=71.26,
        concurrency=None,
        held_gib=60.0,
    ),
    Repository("org/model-8b", {"torch_dtype": "bfloat16"}, (), 8_030_261_248),
    Path("FOLDER"),
)
"""What the page shows the commands for: two cards with 79.18 GiB, of which nine tenths are used, and 16,000 tokens."""
MEANING = """
    Errors are shares of the measured figure; of a KV pool, shares of the budget (the card's total times the
    utilisation). Median and p90 are of the rows a tool answered; the shares within 1, 5 and 10 % are of the rows it was
    asked, so that an unanswered row is a miss. A crash, a refusal and a missing figure are not answers."""
CAVEATS = (
    """
    The peers fetch configs and file sizes from the model hub. Here a stand-in on the same machine answered them, by the
    hub's protocol, with what Rigfit's catalogue knows of each repository: its config, its `quantization_config` (the
    format's usual one where only the format is known), the size of its files where it is published, else the bytes that
    Rigfit counts, and a header with tensors of those dtypes and bytes. Names of tensors are Rigfit's own, experts are
    stacked, fused projections are one tensor. On the real hub a peer may see more, or other sizes.""",
    """
    Each peer got the row's model, ranks, length, memory, utilisation and types, as far as it has options for them.
    Rigfit got the same, and the engine's version and flags, for which no peer has an option. Pipeline stages were told
    as ranks. Where a row states no length, 8,192 tokens were asked about; where it states no memory, 80 GiB.""",
    """
    No peer takes a pool, so its concurrency of one is the pool divided by its bytes of one sequence of that length.""",
    """
    KV bytes a token leave out models with several kinds of layers, where pool over tokens is no one number.""",
    """
    Rigfit's rules were written with these start-ups at hand; the peers' authors had others.""",
)
