"""``rigfit gateway``: one endpoint in front of engines that already run."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from tools.errors import BadValue
from tools.settings import Settings
from ui.arguments import Parser
from ui.endpoint_arguments import add_endpoint, client_keys, engine_keys, notice, turn_seconds
from ui.output import chosen_language, print_json, print_lines

if TYPE_CHECKING:
    from serving.config import GatewayConfig
    from serving.orders import Policy

ABOUT = "One OpenAI endpoint in front of engines that already run."
EXAMPLE = "rigfit gateway --upstream Qwen/Qwen3-8B=http://127.0.0.1:8001 --alias small=Qwen/Qwen3-8B"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--upstream", action="append", metavar="NAME=URL", help="a model and its engine; repeat, also for replicas"
    )
    parser.add("--residency", "all engines awake (default), or one at a time", choices=("together", "swap"))
    parser.add_argument(
        "--group", action="append", metavar="NAME,NAME", help="with swap: models that take turns (default: all); repeat"
    )
    add_endpoint(parser)
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
        notice(text(language, "serving.exposed", host=config.host))

    def ready(url: str) -> None:
        if arguments.json:
            print_json({"url": url, "models": [*config.models, *config.aliases]})
        else:
            print_lines([text(language, "serving.listening", url=f"{url}/v1")])
        sys.stdout.flush()

    secrets = engine_keys(upstream.key_env for upstream in config.upstreams if upstream.key_env is not None)
    serve(config, secrets, ready, notice)
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
    turn_words = (arguments.group, arguments.pin, arguments.sleep_level, *turn_seconds(arguments))
    if not swaps and any(word is not None for word in turn_words):
        raise BadValue("errors_serving.group_alone")
    groups = read_groups(arguments.group or (), upstreams) if swaps else ()
    return GatewayConfig(
        upstreams=upstreams,
        aliases=read_aliases(arguments.alias or (), {upstream.model for upstream in upstreams}),
        host=arguments.host or "127.0.0.1",
        port=arguments.port or 8000,
        keys=client_keys(arguments.api_key_file, Settings.from_env()),
        origins=tuple(arguments.allow_origin or ()),
        far=far,
        language=language,
        groups=groups,
        policy=_policy(*turn_seconds(arguments)),
        sleep_level=arguments.sleep_level or 1,
        pins=read_pins(arguments.pin or (), groups),
    )


def _policy(min_awake_s: float | None, max_wait_s: float | None, ttl_s: float | None) -> Policy:
    from serving.orders import Policy

    default = Policy()
    return Policy(
        min_awake_s=default.min_awake_s if min_awake_s is None else min_awake_s,
        max_wait_s=default.max_wait_s if max_wait_s is None else max_wait_s,
        ttl_s=ttl_s,
    )
