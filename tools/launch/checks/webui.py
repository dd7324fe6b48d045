"""Whether text-generation-webui takes its two files: by the recorded table of its flags and its loaders' settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from tools.launch import pins
from tools.launch.checks.flag_table import flag_faults
from tools.launch.files import Check


@cache
def recorded() -> Mapping[str, Any]:
    """The record: ``flags`` (``nargs``, ``type``, ``choices``, ``dest`` by name) and ``loaders`` (settings by name)."""
    file = resources.files("tools.launch") / "data" / pins.WEBUI_FLAG_TABLE
    return json.loads(file.read_text(encoding="utf-8"))


def flags_in(text: str) -> list[str]:
    """Read a ``CMD_FLAGS.txt`` as the page does: no comments, backslashes at line ends dropped, words as in a shell."""
    lines = (line.strip().rstrip("\\").strip() for line in text.splitlines() if not line.strip().startswith("#"))
    return shlex.split(" ".join(line for line in lines if line))


def check_cmd_flags(name: str, text: str) -> Check:
    """Whether the page's parser knows every flag and value of a ``CMD_FLAGS.txt``."""
    try:
        faults = flag_faults(flags_in(text), recorded()["flags"])
    except ValueError as error:
        faults = [str(error)]
    label = f"webui-flags: {name}"
    if faults:
        return Check(label, False, "; ".join(faults))
    return Check(label, True, f"every flag is in the parser of text-generation-webui {pins.WEBUI}")


def check_user_config(text: str) -> Check:
    """Whether ``config-user.yaml`` is a table of settings that the named loaders have."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    name = "webui-config"
    reader: Any = YAML(typ="safe", pure=True)
    try:
        table = reader.load(text)
    except YAMLError as error:
        return Check(name, False, str(error))
    faults: list[str] = []
    for pattern, settings in table.items():
        allowed = recorded()["loaders"].get(settings.get("loader"))
        if allowed is None:
            faults.append(f"{pattern}: no loader {settings.get('loader')}")
            continue
        faults += [
            f"{pattern}: {key} is no setting of its loader" for key in settings if key not in {*allowed, "loader"}
        ]
    if faults:
        return Check(name, False, "; ".join(faults))
    return Check(name, True, f"every setting is one of its loader in text-generation-webui {pins.WEBUI}")
