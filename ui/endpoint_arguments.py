"""What ``rigfit gateway`` and ``rigfit serve`` are told alike about their endpoint."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from tools.errors import BadValue
from tools.settings import Settings, passed_on
from ui.arguments import Parser

_SECONDS = {
    "min-awake": "least time awake while others wait (default: 2)",
    "max-wait": "longest wait while others are served (default: 120)",
    "ttl": "sleep when nobody asked for so long (default: never)",
}


def add_endpoint(parser: Parser) -> None:
    """Declare where it listens, who may ask, other names, engines elsewhere and how turns are taken."""
    parser.add_argument("--alias", action="append", metavar="ALIAS=NAME", help="another name of a model; repeat")
    parser.add_argument("--sleep-level", type=int, choices=(1, 2), help="with swap: vLLM's level of sleep (default: 1)")
    for name, about in _SECONDS.items():
        parser.add_argument(f"--{name}", metavar="S", type=_seconds, help=f"with swap: {about}")
    parser.add_argument("--pin", action="append", metavar="NAME", help="with swap: a model that is kept awake")
    parser.add("--host", "address to listen on (default: 127.0.0.1)")
    parser.add_number("--port", "TCP port (default: 8000)", least=1)
    parser.add("--api-key-file", "file of keys that clients must show, one a line (or RIGFIT_API_KEYS)", metavar="FILE")
    parser.add_argument(
        "--upstream-key", action="append", metavar="[NAME=]VARIABLE", help="variable that holds an engine's key; repeat"
    )
    parser.add_argument(
        "--allow-origin", action="append", metavar="ORIGIN", help="a web page that may call from a browser; repeat"
    )
    parser.add_argument(
        "--allow-public-upstreams", action="store_true", help="engines may lie outside of private networks"
    )


def turn_seconds(arguments: Namespace) -> tuple[float | None, float | None, float | None]:
    """Return least time awake, longest wait and time to live, where they were said."""
    return arguments.min_awake, arguments.max_wait, arguments.ttl


def client_keys(path: str | None, settings: Settings) -> tuple[str, ...]:
    """Return what clients must show: a file's keys, else the variable's.

    Raises:
        BadValue: the file can't be read, or holds what is no key.
    """
    from serving.config import read_keys

    if path is None:
        keys = settings.gateway_keys()
        return read_keys(keys) if keys else ()
    try:
        return read_keys(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or ""
        raise BadValue("errors_ui.cannot_read", path=path, reason=reason) from error


def engine_keys(names: Iterable[str]) -> dict[str, str]:
    """Read engines' keys from the variables of these names.

    Raises:
        BadValue: a variable is not set.
    """
    wanted = sorted(set(names))
    found = passed_on(*wanted)
    for name in wanted:
        if not found.get(name):
            raise BadValue("errors_serving.no_such_variable", name=name)
    return found


def notice(sentence: str) -> None:
    """Tell whoever runs it something."""
    print(sentence, file=sys.stderr, flush=True)


def _seconds(word: str) -> float:
    value = float(word)
    if not 0 <= value < 1e9:
        raise ValueError(word)
    return value


_seconds.__name__ = "number of seconds"
