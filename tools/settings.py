"""Settings, read from the environment once at the edge and passed down. Nothing else reads the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.errors import BadValue

GATEWAY_KEYS = "RIGFIT_API_KEYS"
"""The variable that holds what the gateway's clients must show."""
LOCAL = "local:"
"""What an ``llm_url`` begins with that is no address but the path of a GGUF file."""
_LLM_TOKENS = (128, 1_000_000)
"""Least and most of ``llm_max_tokens``."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this Rigfit runs.

    Attributes:
        data_dir: folder for threads, the rig store and caches (``RIGFIT_DATA_DIR``, else the platform's user folder).
        network: whether the hub and the web may be asked for a question (``RIGFIT_NETWORK``: ``on`` or ``off``).
        hub_endpoint: base URL of the model hub (``HF_ENDPOINT``).
        hub_timeout_s: limit for one hub answer.
        search_timeout_s: limit for one web search, and once more for reading its pages.
        search_url: an address that answers like DuckDuckGo's HTML page, asked instead (``RIGFIT_SEARCH_URL``).
        search_backends: engines that are asked (``RIGFIT_SEARCH_BACKENDS``, with commas between: engines of ``ddgs``
            or ``searxng``); empty = SearXNG where its address is given, else three of ``ddgs``.
        searxng_url: a SearXNG of one's own (``RIGFIT_SEARXNG_URL``).
        search_pages: how many of the pages found are read, 0 to 2 (``RIGFIT_SEARCH_PAGES``).
        search_networks: private networks whose pages may be read too (``RIGFIT_SEARCH_NETWORKS``, CIDR with commas).
        llm_url: OpenAI-compatible endpoint that decides and writes instead of the rules, or ``local:`` and the path of
            a GGUF file (``RIGFIT_LLM_URL``).
        llm_model: model name at that endpoint (``RIGFIT_LLM_MODEL``).
        llm_key_env: name of the environment variable that holds that endpoint's key; never the key itself.
        llm_max_tokens: longest message of that model, what it thinks included (``RIGFIT_LLM_MAX_TOKENS``).
        vllm_python: interpreter of an environment with vLLM, for exact mode (``RIGFIT_VLLM_PYTHON``, else the one in
            ``.vllm`` beside the program).
        lock_dir: folder of the locks on cards, the same for all users (``RIGFIT_LOCK_DIR``); None = the machine's own.
        database_url: a Postgres for conversations and memory instead of files in ``data_dir``
            (``RIGFIT_DATABASE_URL``); it may hold a password and so is left out of the settings' text.
        language: the terminal's, ``en`` or ``ru`` (``RIGFIT_LANG``, else ``LC_ALL``, ``LC_MESSAGES`` or ``LANG``).
        otlp_url: collector that is sent OpenTelemetry spans of turns, by OTLP over HTTP (``RIGFIT_OTLP_URL``).
    """

    data_dir: Path
    network: bool = True
    hub_endpoint: str = "https://huggingface.co"
    hub_timeout_s: float = 3.0
    search_timeout_s: float = 6.0
    search_url: str | None = None
    search_backends: tuple[str, ...] = ()
    searxng_url: str | None = None
    search_pages: int = 2
    search_networks: tuple[str, ...] = ()
    llm_url: str | None = None
    llm_model: str | None = None
    llm_key_env: str = "RIGFIT_LLM_API_KEY"
    llm_max_tokens: int = 2048
    vllm_python: Path | None = None
    lock_dir: Path | None = None
    database_url: str | None = field(default=None, repr=False)
    language: str = "en"
    otlp_url: str | None = None

    def llm_key(self, env: Mapping[str, str] | None = None) -> str | None:
        """Return the endpoint's key, read when it is needed and kept nowhere; of the gateway's keys the first."""
        if self.llm_key_env == GATEWAY_KEYS:
            return next(iter(self.gateway_keys(env)), None)
        return (os.environ if env is None else env).get(self.llm_key_env) or None

    def gateway_keys(self, env: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """Return what the gateway's clients must show (``RIGFIT_API_KEYS``, with commas between), kept nowhere."""
        said = (os.environ if env is None else env).get(GATEWAY_KEYS, "")
        return tuple(key.strip() for key in said.split(",") if key.strip())

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Build settings from an environment (default: the process's).

        Raises:
            BadValue: ``RIGFIT_NETWORK`` is neither ``on`` nor ``off``, ``RIGFIT_LLM_MAX_TOKENS`` or
                ``RIGFIT_SEARCH_PAGES`` is no such number.
        """
        env = os.environ if env is None else env
        network = env.get("RIGFIT_NETWORK", "on").lower()
        if network not in {"on", "off"}:
            raise BadValue("errors.bad_setting", name="RIGFIT_NETWORK", value=network, allowed="on, off")
        return cls(
            data_dir=Path(env["RIGFIT_DATA_DIR"]) if env.get("RIGFIT_DATA_DIR") else _user_data_dir(),
            network=network == "on",
            hub_endpoint=env.get("HF_ENDPOINT") or cls.__dataclass_fields__["hub_endpoint"].default,
            search_url=env.get("RIGFIT_SEARCH_URL") or None,
            search_backends=_list(env, "RIGFIT_SEARCH_BACKENDS"),
            searxng_url=env.get("RIGFIT_SEARXNG_URL") or None,
            search_pages=_pages(env),
            search_networks=_list(env, "RIGFIT_SEARCH_NETWORKS"),
            llm_url=env.get("RIGFIT_LLM_URL") or None,
            llm_model=env.get("RIGFIT_LLM_MODEL") or None,
            llm_max_tokens=_llm_max_tokens(env),
            vllm_python=_vllm_python(env),
            lock_dir=Path(env["RIGFIT_LOCK_DIR"]) if env.get("RIGFIT_LOCK_DIR") else None,
            database_url=env.get("RIGFIT_DATABASE_URL") or None,
            language=_language(env),
            otlp_url=env.get("RIGFIT_OTLP_URL") or None,
        )


def _llm_max_tokens(env: Mapping[str, str]) -> int:
    """Return how many tokens a message of the chat model may have; a shorter one than the least can't hold a call."""
    least, most = _LLM_TOKENS
    said = env.get("RIGFIT_LLM_MAX_TOKENS") or str(Settings.__dataclass_fields__["llm_max_tokens"].default)
    if not (said.isascii() and said.isdecimal() and len(said) < 10 and least <= int(said) <= most):
        raise BadValue("errors.bad_setting", name="RIGFIT_LLM_MAX_TOKENS", value=said, allowed=f"{least} ... {most}")
    return int(said)


def _list(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _pages(env: Mapping[str, str]) -> int:
    said = env.get("RIGFIT_SEARCH_PAGES") or "2"
    if said not in {"0", "1", "2"}:
        raise BadValue("errors.bad_setting", name="RIGFIT_SEARCH_PAGES", value=said, allowed="0, 1, 2")
    return int(said)


def _language(env: Mapping[str, str]) -> str:
    """Return the first set locale variable's language; POSIX order, with Rigfit's own first."""
    said = next((env[name] for name in ("RIGFIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG") if env.get(name)), "")
    return "ru" if said.lower().startswith("ru") else "en"


def passed_on(*names: str) -> dict[str, str]:
    """Return those of the process's own variables that a child process may have."""
    return {name: os.environ[name] for name in names if name in os.environ}


def engine_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what an engine's process gets of this one's variables: all but Rigfit's own and what would mislead it.

    ``VLLM_CPU_KVCACHE_SPACE`` silently wins over ``--kv-cache-memory-bytes`` (``CpuPlatform.check_and_update_config``,
    vLLM 0.32.0); ``VLLM_API_KEY`` is given to each engine by whoever starts it.
    """
    env = os.environ if env is None else env
    return {name: value for name, value in env.items() if not name.startswith("RIGFIT_") and name not in _NOT_ENGINES}


_NOT_ENGINES = frozenset({"VLLM_CPU_KVCACHE_SPACE", "VLLM_API_KEY", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"})
"""Beside what misleads vLLM: where this program's own Python looks for modules."""


def _vllm_python(env: Mapping[str, str]) -> Path | None:
    """Return the interpreter that is named, else that of the environment which ``make vllm`` makes, if it is there."""
    named = env.get("RIGFIT_VLLM_PYTHON")
    if named:
        return Path(named)
    made = Path(__file__).resolve().parents[1] / ".vllm" / "bin" / "python"
    return made if made.exists() else None


def _user_data_dir() -> Path:
    from platformdirs import user_data_path

    return user_data_path("rigfit", appauthor=False)
