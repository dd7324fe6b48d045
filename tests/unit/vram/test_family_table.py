"""Families' modules are imported on demand: the table that says which must name every builder, and no other."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module

from tools.vram import families
from tools.vram.families import _MODULES


def test_every_builder_is_in_the_table_and_no_other() -> None:
    found = {}
    for module in pkgutil.iter_modules(families.__path__):
        builders = getattr(import_module(f"{families.__name__}.{module.name}"), "BUILDERS", None)
        if builders is not None:
            found[module.name] = set(builders)
    assert {name: set(kinds) for name, kinds in _MODULES.items()} == found


def test_a_plain_model_imports_no_other_familys_module() -> None:
    script = (
        "import sys; from tools.specs.models import ModelCatalogue;"
        "ModelCatalogue.load().find('Qwen/Qwen3-30B-A3B');"
        "print(*(name for name in sys.modules if name.startswith('tools.vram.families.')))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout
    imported = {name.rsplit(".", 1)[1] for name in told.split()}
    assert "regular" in imported
    assert not imported & {"gemma", "hybrid_conv", "hybrid_gdn", "hybrid_mamba2", "towers", "uneven", "windowed"}
