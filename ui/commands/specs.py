"""``rigfit specs``: what the catalogue knows of a model or a card, with its source."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from ui.arguments import Parser
from ui.output import chosen_language, columns, print_json, print_lines, say

ABOUT = "Print what is known of a card or a model, with source and date."
EXAMPLE = 'rigfit specs model "qwen 30"'


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("kind", choices=("gpu", "model"), help="what to look up")
    parser.add_argument("query", nargs="+", metavar="QUERY", help="a name as you would say it")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the facts."""
    language = chosen_language(arguments.lang)
    words = " ".join(arguments.query)
    facts = _gpu(words, language) if arguments.kind == "gpu" else _model(words, language)
    if arguments.json:
        print_json(facts)
    else:
        print_lines(columns((name, _short(value)) for name, value in facts.items() if value not in (None, [], "")))
    return 0


def _gpu(query: str, language: str) -> dict[str, Any]:
    from dataclasses import asdict

    from tools.specs.gpus import GpuCatalogue

    catalogue = GpuCatalogue.load()
    found = catalogue.find(query)
    facts = {name: value for name, value in asdict(found.gpu).items() if name not in {"node", "measured", "known_as"}}
    return {
        "query": query,
        **facts,
        "near_misses": list(found.near_misses),
        "notes": [say(language, note) for note in found.notes],
        "date": catalogue.date,
    }


def _model(query: str, language: str) -> dict[str, Any]:
    from ui.catalogue import open_models

    catalogue = open_models()
    found = catalogue.find(query)
    spec = found.spec
    return {
        "query": query,
        "name": spec.name,
        "how": found.how,
        "architecture": spec.architecture,
        "params_total": spec.params_total,
        "params_active": spec.params_active,
        "layers": len(spec.layers),
        "max_context": spec.max_context,
        "dtype": spec.dtype,
        "license": spec.license,
        "release_date": spec.release_date,
        "checkpoints": [
            {"repo": one.repo, "precision": one.precision, "file_bytes": one.file_bytes, "in_flight": one.in_flight}
            for one in spec.checkpoints
        ],
        "near_misses": list(found.near_misses),
        "notes": [say(language, note) for note in (*found.notes, *spec.status)],
        "source": spec.source,
        "date": catalogue.date,
    }


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(
            f"{item['repo']} {item['precision']}" if isinstance(item, dict) else str(item) for item in value
        )
    return str(value)
