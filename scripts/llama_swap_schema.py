"""Keep what llama-swap's schema of its configuration rules, without its explanations.

python scripts/llama_swap_schema.py v250 PATH/TO/config-schema.json > tools/launch/data/llama-swap-v250-schema.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_EXPLAINS = {"description", "default", "title", "$id"}


def ruled(schema: Any) -> Any:
    """Return a schema without annotations; names of properties are kept, whatever they are."""
    if isinstance(schema, list):
        return [ruled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    named = {"properties", "definitions"}
    return {
        key: {name: ruled(item) for name, item in value.items()} if key in named else ruled(value)
        for key, value in schema.items()
        if key not in _EXPLAINS
    }


def main() -> None:
    version, path = sys.argv[1:]
    schema = ruled(json.loads(Path(path).read_text(encoding="utf-8")))
    schema["$comment"] = (
        f"llama-swap {version}, config-schema.json, Copyright (c) 2024 Benson Wong, MIT; explanations left out"
    )
    print(json.dumps(schema, separators=(",", ":"), sort_keys=True))


if __name__ == "__main__":
    main()
