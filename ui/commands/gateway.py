"""``rigfit gateway``: one endpoint in front of engines that already run."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from tools.errors import BadValue
from tools.settings import Settings, passed_on
from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from serving.config import GatewayConfig
    from serving.orders import Policy

ABOUT = "One OpenAI endpoint in front of engines that already run."
EXAMPLE = "rigfit gateway --upstream Qwen/Qwen3-8B=http://127.0.0.1:8001 --alias small=Qwen/Qwen3-8B"
_SECONDS = {
    "min-awake": "least time awake while others wait (default: 2)",
    "max-wait": "longest wait for one's turn (default: 120)",
    "ttl": "sleep when nobody asked for so long (default: never)",
}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--upstream", action="append", metavar="NAME=URL", help="a model and its engine; repeat, also for replicas"
    )
    parser.add_argument("--alias", action="append", metavar="ALIAS=NAME", help="another name of a model; repeat")
    parser.add("--residency", "all engines awake (default), or one at a time", choices=("together", "swap"))
    parser.add_argument(
        "--group", action="append", metavar="NAME,NAME", help="with swap: models that take turns (default: all); repeat"
    )
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
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Serve until it is stopped."""
    from prompts import text
    from serving.server import serve
    from ui.server import is_loopback, require_free_port

    language = chosen_language(arguments.lang)
    config = _config(arguments, language)
    require_free_port(config.host, config.port, "gateway")
    if not config.keys and not is_loopback(config.host):
        _notice(text(language, "serving.exposed", host=config.host))

    def ready(url: str) -> None:
        if arguments.json:
            print_json({"url": url, "models": [*config.models, *config.aliases]})
        else:
            print_lines([text(language, "serving.listening", url=f"{url}/v1")])
        sys.stdout.flush()

    serve(config, _secrets(config), ready, _notice)
    return 0


def _config(arguments: Namespace, language: str) -> GatewayConfig:
    """Read the command line.

    Raises:
        BadValue: something in it can't be read or does not go together.
    """
    from serving.config import GatewayConfig, read_aliases, read_groups, read_pins, read_upstreams

    far = arguments.allow_public_upstreams
    upstreams = read_upstreams(arguments.upstream or (), far=far, keys=arguments.upstream_key or ())
    swaps = arguments.residency == "swap"
    turn_words = (arguments.group, arguments.pin, arguments.sleep_level, *_turn_seconds(arguments))
    if not swaps and any(word is not None for word in turn_words):
        raise BadValue("errors_serving.group_alone")
    groups = read_groups(arguments.group or (), upstreams) if swaps else ()
    return GatewayConfig(
        upstreams=upstreams,
        aliases=read_aliases(arguments.alias or (), {upstream.model for upstream in upstreams}),
        host=arguments.host or "127.0.0.1",
        port=arguments.port or 8000,
        keys=_keys(arguments.api_key_file, Settings.from_env()),
        origins=tuple(arguments.allow_origin or ()),
        far=far,
        language=language,
        groups=groups,
        policy=_policy(*_turn_seconds(arguments)),
        sleep_level=arguments.sleep_level or 1,
        pins=read_pins(arguments.pin or (), groups),
    )


def _turn_seconds(arguments: Namespace) -> tuple[float | None, float | None, float | None]:
    return arguments.min_awake, arguments.max_wait, arguments.ttl


def _policy(min_awake_s: float | None, max_wait_s: float | None, ttl_s: float | None) -> Policy:
    from serving.orders import Policy

    default = Policy()
    return Policy(
        min_awake_s=default.min_awake_s if min_awake_s is None else min_awake_s,
        max_wait_s=default.max_wait_s if max_wait_s is None else max_wait_s,
        ttl_s=ttl_s,
    )


def _seconds(word: str) -> float:
    value = float(word)
    if not 0 <= value < 1e9:
        raise ValueError(word)
    return value


_seconds.__name__ = "number of seconds"


def _notice(sentence: str) -> None:
    """Tell whoever runs the gateway something."""
    print(sentence, file=sys.stderr, flush=True)


def _keys(path: str | None, settings: Settings) -> tuple[str, ...]:
    """Return what clients must show: a file's keys, else the variable's."""
    from serving.config import read_keys

    if path is None:
        keys = settings.gateway_keys()
        return read_keys(keys) if keys else ()
    try:
        return read_keys(Path(path).read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or ""
        raise BadValue("errors_ui.cannot_read", path=path, reason=reason) from error


def _secrets(config: GatewayConfig) -> dict[str, str]:
    """Read the engines' keys.

    Raises:
        BadValue: a variable is not set.
    """
    names = {upstream.key_env for upstream in config.upstreams if upstream.key_env is not None}
    secrets = passed_on(*names)
    for name in sorted(names):
        if not secrets.get(name):
            raise BadValue("errors_serving.no_such_variable", name=name)
    return secrets
