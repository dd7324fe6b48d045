"""Which repositories of the hub are quantised copies of a catalogue model, and which merely share its structure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from catalog.merge import Row, Sources, fingerprint
from catalog.shorten import quantisation

from tools.specs.copies import base_of
from tools.specs.formats import from_repository_name
from tools.specs.model_index import ModelIndex
from tools.specs.names import parse_name

MIN_DOWNLOADS = 500
"""A copy that fewer fetched is not listed; it is still resolved by its name."""

MOST_OF_A_FORMAT = 4
"""Copies in one format that a model lists, most fetched first."""

COUNTED = 100_000_000
"""Parameters from which on two models of a family that have exactly as many are of one structure."""

AGREE = ("num_hidden_layers", "hidden_size")
"""A copy's hub record must agree with the model's config in these; packing changes none of them."""


def format_of(repo: str) -> str | None:
    """Return the precision word that a repository's name tells, or None where it is no quantised copy.

    GGUF repositories hold many types and are not listed.
    """
    words = parse_name(repo).quant
    told = from_repository_name(repo, words)
    return None if told is None or told[0].startswith("gguf") else told[0]


def agrees(record: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Tell whether what a hub record states of a copy does not contradict a model's config."""
    text = {**config, **(config.get("text_config") or {})}
    return all(record.get(name) in {None, text.get(name)} or text.get(name) is None for name in AGREE)


def by_structure(sources: Sources, index: ModelIndex, complete: Collection[str]) -> dict[str, str]:
    """Find the repositories whose name tells no base but whose hub record is that of a catalogue model.

    Fine-tunes under names of their own: of equal sizes, or, where a record states none, of the same family with the
    very same count of parameters (``COUNTED`` at least). Of several such models the most fetched one is told.

    Args:
        sources: hub records.
        index: every model's name.
        complete: ids of the models whose structure is known wholly.
    """
    sized: dict[tuple[Any, ...], str] = {}
    counted: dict[tuple[Any, ...], str] = {}
    for row in sorted(index.rows, key=lambda row: -row.downloads):
        record = sources.hub.get(row.hf_id, {})
        if record.get("num_hidden_layers"):
            sized.setdefault(fingerprint(record), row.hf_id)
        if record.get("parameters_raw") and row.hf_id in complete:
            counted.setdefault(_count_of(record), row.hf_id)
    found: dict[str, str] = {}
    for repo, record in sources.hub.items():
        few = (record.get("hf_downloads") or 0) < MIN_DOWNLOADS
        if few or index.by_id(repo) is not None or base_of(repo, index) is not None:
            continue
        base = sized.get(fingerprint(record)) if record.get("num_hidden_layers") else counted.get(_count_of(record))
        if base and (record.get("num_hidden_layers") or (record.get("parameters_raw") or 0) >= COUNTED):
            found[repo] = base
    return found


def _count_of(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return record.get("architecture"), record.get("parameters_raw")


def by_name(sources: Sources, index: ModelIndex) -> dict[str, str]:
    """Find the repositories whose name tells whose copy they are, by the product's own rule."""
    found = {repo: base_of(repo, index) for repo in sources.hub if index.by_id(repo) is None}
    return {repo: base.hf_id for repo, base in found.items() if base is not None}


def attached(rows: list[Row], sources: Sources, bases: Mapping[str, str]) -> list[Row]:
    """Return the rows with their quantised copies listed, most fetched first.

    Args:
        rows: the catalogue's rows.
        sources: hub records and reviewed checkpoints.
        bases: repository to model, by the product's own rule of names.
    """
    configs = {row["hf_id"]: row["config"] for row in rows}
    listed: dict[str, list[Row]] = defaultdict(list)
    reviewed = {repo: str(entry["of"]) for repo, entry in sources.checkpoints.items()}
    for repo, base in sorted({**bases, **reviewed}.items()):
        record, entry = sources.hub.get(repo, {}), sources.checkpoints.get(repo, {})
        told = format_of(repo)
        few = (record.get("hf_downloads") or 0) < MIN_DOWNLOADS and not entry
        if base not in configs or told is None or few or not agrees(record, configs[base]):
            continue
        listed[base].append(_line(repo, record, entry, sources))
    lend_quantisation([(_sizes(configs[base]), line) for base, lines in listed.items() for line in lines])
    return [
        {**row, "quantized": _most_fetched(listed[row["hf_id"]])} if row["hf_id"] in listed else row for row in rows
    ]


def lend_quantisation(lines: Iterable[tuple[tuple[Any, ...], Row]]) -> None:
    """Give lines without a read config that of a line of equal sizes, format and packed element count.

    Two repositories of one structure that pack into the very same number of elements quantise the same modules.

    Args:
        lines: (sizes of the model, its copy's line); lines are changed in place.
    """
    known: dict[tuple[Any, ...], Row] = {}
    waiting: list[tuple[tuple[Any, ...], Row]] = []
    for sizes, line in lines:
        key = (sizes, line.get("elements"), format_of(line["repo"]))
        if "quantization_config" in line:
            known.setdefault(key, line)
        elif line.get("elements"):
            waiting.append((key, line))
    for key, line in waiting:
        lender = known.get(key)
        if lender is not None:
            line["quantization_config"] = lender["quantization_config"]
            line["source"] += f"; as many elements as {lender['repo']}"


def _sizes(config: Mapping[str, Any]) -> tuple[Any, ...]:
    text = {**config, **(config.get("text_config") or {})}
    names = ("num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads", "num_key_value_heads")
    return (config.get("model_type"), *(text.get(name) for name in names))


def _line(repo: str, record: Mapping[str, Any], entry: Mapping[str, Any], sources: Sources) -> Row:
    stated = quantisation(*sources.literal[repo]) if repo in sources.literal else entry.get("quantization_config")
    line = {
        "repo": repo,
        "quantization_config": stated,
        "config_overrides": entry.get("config_overrides"),
        "bytes": entry.get("file_bytes"),
        "elements": record.get("parameters_raw"),
        "hub_downloads": record.get("hf_downloads") or 0,
        "source": entry.get("source")
        or (sources.names["literal"] if repo in sources.literal else sources.names["hub"]),
    }
    return {key: value for key, value in line.items() if value is not None}


def _most_fetched(lines: Iterable[Row]) -> list[Row]:
    kept: list[Row] = []
    seen: dict[str | None, int] = defaultdict(int)
    for line in sorted(lines, key=lambda line: (-line["hub_downloads"], line["repo"])):
        told = format_of(line["repo"])
        seen[told] += 1
        if seen[told] <= MOST_OF_A_FORMAT or "quantization_config" in line or "bytes" in line:
            kept.append(line)
    return kept


def with_relatives(rows: list[Row], relatives: Mapping[str, str]) -> list[Row]:
    """Return the rows with the repositories of the same structure under other names (``relatives``)."""
    listed: dict[str, list[str]] = defaultdict(list)
    for repo, base in sorted(relatives.items()):
        listed[base].append(repo)
    return [{**row, "relatives": listed[row["hf_id"]]} if row["hf_id"] in listed else row for row in rows]
