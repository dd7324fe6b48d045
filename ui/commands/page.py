"""``rigfit ui``: the chat page."""

from __future__ import annotations

import sys
from argparse import Namespace

from ui.arguments import Parser, with_llm
from ui.output import chosen_language, print_json, print_lines

ABOUT = "Open the chat page on this machine."
EXAMPLE = "rigfit ui --port 7861"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add("--host", "address to listen on (default: 127.0.0.1)")
    parser.add_number("--port", "TCP port (default: 7860)", least=1)
    parser.add_llm()
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Serve the page until it is stopped."""
    from dataclasses import replace

    from prompts import text
    from tools.settings import Settings
    from ui.server import require_free_port, serve

    host, port = arguments.host or "127.0.0.1", arguments.port or 7860
    require_free_port(host, port)
    settings = replace(with_llm(Settings.from_env(), arguments), language=chosen_language(arguments.lang))

    def ready(url: str) -> None:
        if arguments.json:
            print_json({"url": url})
        else:
            print_lines([text(settings.language, "cli.page_ready", url=url)])
        sys.stdout.flush()

    serve(host, port, settings, ready)
    return 0
