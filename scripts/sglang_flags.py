"""Record the parser of SGLang's server as a small table: flags, value type, choices, number of values.

Run by the interpreter of an environment with PyTorch and Transformers, with an unpacked wheel of SGLang on its path;
of SGLang's other dependencies only names are needed to build the parser, and missing ones are stood in for:

    PYTHONPATH=PATH/TO/UNPACKED .vllm/bin/python scripts/sglang_flags.py > tools/launch/data/sglang-0.5.23-flags.json
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import json
import sys
from collections.abc import Iterator, Mapping
from types import ModuleType


class Anything(type):
    """A class that has every attribute and may be called, subscripted, or used as a base or a decorator."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})

    def __call__(cls, *words: object, **_: object) -> object:
        return words[0] if len(words) == 1 and callable(words[0]) else cls

    def __getitem__(cls, _: object) -> type:
        return cls

    def __iter__(cls) -> Iterator[object]:
        return iter(())


class StandIn(ModuleType):
    """A module of which every name can be imported."""

    __version__ = "99.0"

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last: stands in for packages that are not installed, never for a part of one that is."""

    def find_spec(self, name: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        top = name.partition(".")[0]
        there = top in sys.stdlib_module_names or (top in sys.modules and not isinstance(sys.modules[top], StandIn))
        return None if there else importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the stand-in as it is."""


def rows(parser: argparse.ArgumentParser) -> Mapping[str, Mapping[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for action in parser._actions:
        row: dict[str, object] = {}
        if action.nargs is not None:
            row["nargs"] = action.nargs
        if action.type in (int, float):
            row["type"] = action.type.__name__
        if action.choices:
            row["choices"] = sorted(str(choice) for choice in action.choices)
        for flag in action.option_strings:
            found[flag] = row
    return dict(sorted(found.items()))


def main() -> None:
    sys.meta_path.append(Missing())
    with contextlib.redirect_stdout(sys.stderr):
        from sglang.srt.server_args import ServerArgs  # pyright: ignore[reportMissingImports]

        parser = argparse.ArgumentParser()
        ServerArgs.add_cli_args(parser)
        table = rows(parser)
    version = (__import__("importlib.metadata").metadata.version)("sglang")
    print(json.dumps({"version": version, "flags": table}, separators=(",", ":")).replace('"--', '\n"--'))


main()
