"""How much of a model's files has come from the hub: vLLM fetches them without a word, so their folder is measured."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_FILES = 4096
"""A model has fewer; more are not counted."""
_BLOCK = 512
"""Bytes of ``st_blocks`` (stat(2)): a file that was made as long as it will be counts as what is written."""


def cache_folder(env: Mapping[str, str]) -> Path:
    """Return the hub's cache as an engine with this environment has it (huggingface_hub/constants.py 2.4).

    Example:
        ``{"HF_HOME": "/data"}`` is ``/data/hub``.
    """
    named = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    home = env.get("HF_HOME") or os.path.join(env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def fetched_bytes(cache: Path, repo: str) -> int:
    """Return the bytes of a repository's files that are here, whole or in part; 0 where there are none.

    Args:
        cache: the hub's cache.
        repo: ``owner/name``.
    """
    total = 0
    with suppress(OSError), os.scandir(cache / f"models--{repo.replace('/', '--')}" / "blobs") as files:
        for _, file in zip(range(_FILES), files, strict=False):
            with suppress(OSError):
                found = file.stat(follow_symlinks=False)
                total += min(found.st_size, found.st_blocks * _BLOCK)
    return total
