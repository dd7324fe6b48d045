"""``rigfit search``: the web, asked once."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict

from ui.arguments import Parser
from ui.output import chosen_language, print_json, print_lines

ABOUT = "Search the web; exit code 3 where no search was possible."
EXAMPLE = 'rigfit search "Qwen3-30B-A3B AWQ"'


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("query", nargs="+", metavar="QUERY", help="what to look for")
    parser.add_number("--limit", "most hits to print (default: 5)", least=1)
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the hits."""
    from prompts import text
    from tools.search.web import search_web
    from tools.settings import Settings

    language = chosen_language(arguments.lang)
    query = " ".join(arguments.query)
    hits = search_web(query, settings=Settings.from_env(), limit=arguments.limit or 5)
    if arguments.json:
        print_json({"query": query, "hits": [asdict(hit) for hit in hits]})
        return 0
    for hit in hits:
        print_lines([hit.title, f"  {hit.url}", f"  {hit.snippet}", ""])
    if not hits:
        print_lines([text(language, "cli.no_hits")])
    return 0
