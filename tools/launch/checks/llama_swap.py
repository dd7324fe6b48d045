"""Whether llama-swap would take a configuration: by its JSON schema, and by what it demands beyond the schema."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.util import find_spec
from typing import Any

from tools.launch import pins
from tools.launch.files import Check


def check_llama_swap(text: str) -> Check:
    """Whether a text follows llama-swap's schema and what ``internal/config/load.go`` demands beside it."""
    from ruamel.yaml import YAML

    name = "llama-swap-config"
    if find_spec("jsonschema") is None:
        return Check(name, None, "validator not there: install the package jsonschema")
    import jsonschema

    reader: Any = YAML(typ="safe", pure=True)
    document: Any = reader.load(text)
    validator: Any = jsonschema.Draft7Validator(_schema())
    faults = [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)][:5]
    faults = faults or list(demands(document))
    if faults:
        return Check(name, False, "; ".join(faults))
    return Check(name, True, f"follows the schema of llama-swap {pins.LLAMA_SWAP} and what its loader demands")


@cache
def _schema() -> Mapping[str, Any]:
    file = resources.files("tools.launch") / "data" / pins.LLAMA_SWAP_SCHEMA
    return json.loads(file.read_text(encoding="utf-8"))


def demands(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the loader would refuse: placeholders, names given twice, unknown models in sets and groups."""
    models: Mapping[str, Any] = document["models"]
    aliases = Counter(alias for model in models.values() for alias in model.get("aliases", ()))
    yield from (f"alias {name} is given twice" for name, count in aliases.items() if count > 1)
    yield from (f"alias {name} is a model's own name" for name in aliases if name in models)
    for name, model in models.items():
        if not _words(model["cmd"]):
            yield f"{name}: empty command"
        if "${PORT}" not in model["cmd"] and "proxy" not in model:
            yield f"{name}: no ${{PORT}} in its command"
        yield from (f"{name}: unknown placeholder {found}" for found in _placeholders(model) if found != "${PORT}")
    yield from _routing_faults(document, models)
    preload: Any = document.get("hooks", {}).get("on_startup", {}).get("preload", ())
    yield from (f"preload: unknown model {name}" for name in preload if name not in models)


def _words(command: str) -> list[str]:
    """Read a command as llama-swap does: lines of comment left out, lines that go on joined, then as a shell."""
    kept = [line for line in command.split("\n") if not line.strip().startswith("#")]
    return shlex.split("\n".join(re.sub(r"\\\s*$", " ", line) for line in kept))


def _placeholders(model: Any) -> Iterator[str]:
    """Every placeholder in the values of a model, however deep."""
    if isinstance(model, str):
        yield from re.findall(r"\$\{(?:env\.)?[a-zA-Z0-9_-]+\}", model)
        return
    inner: Any = model.values() if isinstance(model, dict) else model if isinstance(model, list) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    for item in inner:
        yield from _placeholders(item)


def _routing_faults(document: Mapping[str, Any], models: Mapping[str, Any]) -> Iterator[str]:
    settings: Any = document.get("routing", {}).get("router", {}).get("settings", {})
    matrix, groups = settings.get("matrix"), settings.get("groups", {})
    members = Counter(member for group in groups.values() for member in group["members"])
    yield from (f"group: unknown model {name}" for name in members if name not in models)
    yield from (f"group: {name} is in two places" for name, count in members.items() if count > 1)
    if matrix is None:
        return
    names = {*models, *matrix["vars"]}
    yield from (f"matrix: unknown model {name}" for name in matrix["vars"].values() if name not in models)
    yield from (
        f"matrix: no model for the cost of {name}" for name in matrix.get("evict_costs", {}) if name not in names
    )
    for name, rule in matrix["sets"].items():
        try:
            combinations_of(rule, matrix["sets"])
        except ValueError as error:
            yield f"matrix: {name}: {error}"
            continue
        used = {word for one in combinations_of(rule, matrix["sets"]) for word in one}
        yield from (f"matrix: {name}: unknown model {word}" for word in used if word not in names)


def combinations_of(rule: str, sets: Mapping[str, str], depth: int = 0) -> list[frozenset[str]]:
    """Return the sets of names that a rule allows at once.

    The grammar (``internal/matrix/dsl.go``): names joined by ``&`` (both) and ``|`` (either; binds less), parentheses,
    and ``+name`` for another rule. ``"(a | b) & c"`` allows a with c and b with c.

    Raises:
        ValueError: the rule doesn't follow the grammar, or names a rule that is not there or goes round in a circle.
    """
    if depth > len(sets):
        raise ValueError("rules go round in a circle")
    tokens = re.findall(r"[&|()]|\+?[\w.-]+|\S", rule)
    found, rest = _either(tokens, sets, depth)
    if rest:
        raise ValueError(f"unexpected {rest[0]}")
    return found


def _either(tokens: list[str], sets: Mapping[str, str], depth: int) -> tuple[list[frozenset[str]], list[str]]:
    found, rest = _both(tokens, sets, depth)
    while rest[:1] == ["|"]:
        more, rest = _both(rest[1:], sets, depth)
        found = [*found, *more]
    return found, rest


def _both(tokens: list[str], sets: Mapping[str, str], depth: int) -> tuple[list[frozenset[str]], list[str]]:
    found, rest = _one(tokens, sets, depth)
    while rest[:1] == ["&"]:
        more, rest = _one(rest[1:], sets, depth)
        found = [one | other for one in found for other in more]
    return found, rest


def _one(tokens: list[str], sets: Mapping[str, str], depth: int) -> tuple[list[frozenset[str]], list[str]]:
    if not tokens:
        raise ValueError("a name is missing")
    token, rest = tokens[0], tokens[1:]
    if token == "(":  # noqa: S105 - a parenthesis
        found, rest = _either(rest, sets, depth)
        if rest[:1] != [")"]:
            raise ValueError("a parenthesis is open")
        return found, rest[1:]
    if token.startswith("+") and token[1:] in sets:
        return combinations_of(sets[token[1:]], sets, depth + 1), rest
    if not re.fullmatch(r"[\w.-]+", token):
        raise ValueError(f"unexpected {token}")
    return [frozenset((token,))], rest
