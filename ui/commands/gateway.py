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

ABOUT = "One OpenAI endpoint in front of engines that already run."
EXAMPLE = "rigfit gateway --upstream Qwen/Qwen3-8B=http://127.0.0.1:8001 --alias small=Qwen/Qwen3-8B"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--upstream", action="append", metavar="NAME=URL", help="a model and its engine; repeat, also for replicas"
    )
    parser.add_argument("--alias", action="append", metavar="ALIAS=NAME", help="another name of a model; repeat")
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
    from serving.config import GatewayConfig, read_aliases, read_upstreams
    from serving.server import serve
    from ui.server import is_loopback, require_free_port

    settings, far = Settings.from_env(), arguments.allow_public_upstreams
    language = chosen_language(arguments.lang)
    upstreams = read_upstreams(arguments.upstream or (), far=far, keys=arguments.upstream_key or ())
    config = GatewayConfig(
        upstreams=upstreams,
        aliases=read_aliases(arguments.alias or (), {upstream.model for upstream in upstreams}),
        host=arguments.host or "127.0.0.1",
        port=arguments.port or 8000,
        keys=_keys(arguments.api_key_file, settings),
        origins=tuple(arguments.allow_origin or ()),
        far=far,
        language=language,
    )
    require_free_port(config.host, config.port)
    if not config.keys and not is_loopback(config.host):
        print(text(language, "serving.exposed", host=config.host), file=sys.stderr, flush=True)

    def ready(url: str) -> None:
        if arguments.json:
            print_json({"url": url, "models": [*dict.fromkeys(u.model for u in upstreams), *config.aliases]})
        else:
            print_lines([text(language, "serving.listening", url=f"{url}/v1")])
        sys.stdout.flush()

    serve(config, _secrets(config), ready)
    return 0


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
