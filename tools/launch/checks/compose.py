"""Whether a Compose file follows the Compose specification, and whether Docker Compose itself reads it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from tools.launch.files import Check
from tools.settings import passed_on


def check_compose_schema(text: str) -> Check:
    """Whether a text follows the Compose specification's JSON schema, as check-jsonschema carries it."""
    name = "compose-schema"
    schema = _compose_schema()
    if schema is None or find_spec("jsonschema") is None:
        return Check(name, None, "validator not there: install the package check-jsonschema")
    import jsonschema
    from ruamel.yaml import YAML

    reader: Any = YAML(typ="safe", pure=True)
    validator: Any = jsonschema.Draft202012Validator(schema)
    errors = list(validator.iter_errors(reader.load(text)))
    if errors:
        return Check(name, False, "; ".join(f"{e.json_path}: {e.message}" for e in errors[:5]))
    return Check(name, True, "follows the Compose specification's schema")


def _compose_schema() -> dict[str, Any] | None:
    found = find_spec("check_jsonschema")
    for folder in (found.submodule_search_locations or []) if found else []:
        file = Path(folder) / "builtin_schemas" / "vendor" / "compose-spec.json"
        if file.is_file():
            return json.loads(file.read_text(encoding="utf-8"))
    return None


def check_compose_config(text: str) -> Check:
    """Whether ``docker compose config`` of version 2 or later reads a text; it needs no running Docker."""
    name = "docker-compose-config"
    tool = compose_command()
    if not tool:
        return Check(name, None, "validator not there: install Docker Compose 2 or newer")
    done = read_by_compose(tool, text)
    return Check(name, done.returncode == 0, done.stderr.strip() or "Docker Compose reads it")


@cache
def compose_command() -> tuple[str, ...]:
    """Return the words that start Docker Compose 2 or later; none where it is not on the search path."""
    for program, *words in (("docker", "compose"), ("docker-compose",)):
        found = which(program)
        done = _run([found, *words, "version", "--short"], "/") if found else None
        if found and done and done.returncode == 0 and done.stdout.strip().removeprefix("v")[:2] not in _OLD:
            return (found, *words)
    return ()


_OLD = ("0.", "1.")


def read_by_compose(tool: tuple[str, ...], text: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``config`` on a file alone in a folder; its output is the file as Compose understands it, in JSON.

    Args:
        tool: what ``compose_command`` found.
        text: a Compose file.
        variables: what its references are replaced by; those without which it refuses to start have a value already.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "compose.yaml").write_text(text, encoding="utf-8")
        return _run([*tool, "--file", "compose.yaml", "config", "--format", "json"], folder, _NEEDED | variables)


_NEEDED = {"VLLM_API_KEY": "key", "RIGFIT_SOURCE": "."}


def _run(command: list[str], folder: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    env = passed_on("PATH", "HOME") | (variables or {})
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )
