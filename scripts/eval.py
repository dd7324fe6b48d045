"""Ask the assistant questions whose readings are known, and judge what it does; see ``docs/evaluation.md``.

    make eval                                                         the rules
    make eval RIGFIT_LLM_URL=http://127.0.0.1:8000/v1                 the model that answers there
    make eval QUESTIONS="a.jsonl b.jsonl" OUT=results.jsonl PARALLEL=4

Results go to a file, a line each; the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from evaluation import questions, results, summary  # noqa: E402
from evaluation.asking import Expected, ask  # noqa: E402
from evaluation.judging import judge  # noqa: E402

from agent.decide.endpoint import address  # noqa: E402
from tools.errors import RigfitError  # noqa: E402
from tools.settings import Settings  # noqa: E402

KEPT = ROOT / ".eval"


def main(words: Sequence[str] | None = None) -> int:
    """Run; returns the exit code."""
    arguments = _arguments(words)
    paths = [Path(word) for word in arguments.questions] or sorted((ROOT / "tests" / "questions").glob("*.jsonl"))
    try:
        settings = replace(Settings.from_env(), network=False)
        asked = questions.load(paths)[: arguments.limit]
        model = "embedded" if not settings.llm_url else settings.llm_model or "default"
        where = address(settings.llm_url) if settings.llm_url else ""
        about = results.header(model, where, questions.digests(paths), arguments.limit)
        out = arguments.out or KEPT / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', model)}.jsonl"
        kept = results.Results(out, about, again=arguments.again)
    except (questions.WrongQuestions, results.OtherRun, RigfitError) as error:
        print(error, file=sys.stderr)
        return 2
    asyncio.run(_run(asked, settings, kept, arguments.parallel))
    _show(kept, arguments.write)
    print(f"{len(kept.rows)} results are in {out}")
    return 0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Judge the assistant on questions whose readings are known.")
    parser.add_argument("questions", nargs="*", help="files of questions (default: those of tests/questions)")
    parser.add_argument("--out", type=Path, help="file of the results (default: .eval/MODEL.jsonl)")
    parser.add_argument("--again", action="store_true", help="throw away what the file holds")
    parser.add_argument("--parallel", type=int, default=1, help="questions at once (default: 1; times count at 1)")
    parser.add_argument("--limit", type=int, help="ask no more than so many questions")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="also put the summary into a Markdown page")
    return parser.parse_args(words)


async def _run(asked: Sequence[questions.Question], settings: Settings, kept: results.Results, parallel: int) -> None:
    """Ask what has no result yet."""
    left = [one for one in asked if one.id not in kept.rows]
    turns = asyncio.Semaphore(max(1, parallel))
    with tempfile.TemporaryDirectory(prefix="rigfit-eval-") as folder:
        expected = Expected(Path(folder))

        async def one(question: questions.Question) -> None:
            async with turns:
                try:
                    done = await ask(question, settings)
                    needed = await expected.calls(question, str(done.turn.reading.get("intent")))
                except Exception as error:
                    error.add_note(f"the question was {question.id}; say the same again to go on from there")
                    raise
            judged = judge(question, done, needed, expected.bench)
            kept.add({"id": question.id, "lang": question.language, "tags": list(question.tags), **judged})
            end = "\n" if len(kept.rows) == len(asked) else "\r"
            print(f"{len(kept.rows)} of {len(asked)}", end=end, file=sys.stderr, flush=True)

        async with asyncio.TaskGroup() as group:
            for question in left:
                group.create_task(one(question))


def _show(kept: results.Results, page: Path | None) -> None:
    from rich.console import Console

    rows = list(kept.rows.values())
    if not rows:
        return
    Console(width=None if sys.stdout.isatty() else 160).print(summary.table(kept.about, rows))
    if page:
        page.write_text(summary.put_in(page.read_text(encoding="utf-8"), kept.about, rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
