"""Whether a file is YAML."""

from __future__ import annotations

from typing import Any

from tools.launch.files import Check


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
