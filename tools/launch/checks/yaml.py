"""Whether a file is YAML."""

from __future__ import annotations

from collections.abc import Mapping
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


def check_yaml_documents(texts: Mapping[str, str]) -> Check:
    """Whether texts, by the names of their files, are YAML documents, one or several each."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    reader: Any = YAML(typ="safe", pure=True)
    count = 0
    for name, text in texts.items():
        try:
            count += len(list(reader.load_all(text)))
        except YAMLError as error:
            return Check("yaml", False, f"{name}: {error}")
    return Check("yaml", True, f"{count} YAML documents")
