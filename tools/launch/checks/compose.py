"""Whether a Compose file follows the Compose specification."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tools.launch.files import Check


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
