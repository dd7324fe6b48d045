"""A model of the asker's own, run in this process: a GGUF file and llama.cpp (the extra ``local``).

xllamacpp holds llama.cpp's server, which answers on a port of this machine only, under a key that nobody else knows. It
is asked as any other endpoint is, by structured output: llama.cpp holds every model to a JSON schema, and few models
to a call of a tool.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool

from agent.decide.asking import Form
from agent.decide.endpoint import Endpoint
from tools.errors import ModelUnavailable
from tools.settings import LOCAL, Settings

CONTEXT_TOKENS = 16384
"""A question with the tools, a plan and what was said before it; its cache takes 2 GiB for a model of 8 billion."""
_MAGIC = b"GGUF"
"""First bytes of such a file (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""


@dataclass(frozen=True, slots=True)
class _Started:
    """A server of llama.cpp; it runs as long as this is kept."""

    server: Any
    url: str
    key: str


class LocalEndpoint(Endpoint):
    """A model in a file.

    Args:
        settings: ``llm_url``, which is ``local:`` and the file's path.
        tools: what the model may call.
    """

    def __init__(self, settings: Settings, tools: Sequence[BaseTool]) -> None:
        super().__init__(settings, tools)
        self._path = Path((settings.llm_url or "").removeprefix(LOCAL)).expanduser()
        self.model = settings.llm_model or self._path.stem
        self.context, self.form = CONTEXT_TOKENS, Form.CHOICE
        self._starting: asyncio.Task[_Started] | None = None

    async def _reached(self) -> tuple[str, str]:
        """Load the model where it is not loaded yet; those who ask meanwhile wait for the same."""
        if self._starting is None:
            self._starting = asyncio.create_task(asyncio.to_thread(_start, self._path))
        task = self._starting
        try:
            started = await asyncio.shield(task)
        except ModelUnavailable:
            self._starting = None
            raise
        return f"{started.url}/v1", started.key


def endpoint_of(settings: Settings, tools: Sequence[BaseTool]) -> Endpoint:
    """Return the model that the settings name: one in a file, or one behind an address."""
    kind = LocalEndpoint if (settings.llm_url or "").startswith(LOCAL) else Endpoint
    return kind(settings, tools)


def _start(path: Path) -> _Started:
    """Load a model.

    Raises:
        ModelUnavailable: the extra is not installed, there is no such file, or it is none that llama.cpp reads.
    """
    try:
        xllamacpp: Any = import_module("xllamacpp")
    except ImportError as error:
        raise ModelUnavailable("errors_agent.local_extra") from error
    try:
        with path.open("rb") as file:
            is_gguf = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise ModelUnavailable("errors_agent.local_no_file", path=str(path)) from error
    if not is_gguf:
        raise ModelUnavailable("errors_agent.local_unreadable", path=str(path))
    key = secrets.token_hex()
    try:
        server = xllamacpp.Server(_parameters(xllamacpp, path, key))
    except (RuntimeError, ValueError) as error:
        raise ModelUnavailable("errors_agent.local_unreadable", path=str(path)) from error
    return _Started(server, server.listening_address, key)


def _parameters(xllamacpp: Any, path: Path, key: str) -> Any:
    """Say how to run it: one conversation after the other, one core left to everything else."""
    import psutil

    asked = xllamacpp.CommonParams()
    asked.model.path = str(path)
    asked.n_ctx, asked.n_parallel = CONTEXT_TOKENS, 1
    asked.hostnames, asked.port, asked.api_keys = ["127.0.0.1"], 0, [key]
    asked.ui = asked.endpoint_slots = asked.endpoint_props = False
    asked.cpuparams.n_threads = max((psutil.cpu_count(logical=False) or 2) - 1, 1)
    asked.verbosity = -1
    return asked
