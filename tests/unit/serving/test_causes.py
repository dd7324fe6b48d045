"""Why an engine ended, and whether another start could help."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prompts import LANGUAGES, text
from serving.causes import cause_of_exit
from serving.engine_process import Exit

BEGIN = "(APIServer pid=1) INFO 11-23 20:18:29 [api_utils.py:286] vLLM API server version 0.32.0\n"
PYDANTIC = (
    f"{BEGIN}Traceback (most recent call last):\n"
    "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
    "  Value error, Sleep mode is not supported on current platform. [type=value_error, input_value=x(), "
    "input_type=ArgsKwargs]\n    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
)
CORE = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n"
OFFLINE = (
    f"{BEGIN}huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the "
    "specified revision on the local disk and outgoing traffic has been disabled.\n"
)
NO_NETWORK = f"{BEGIN}OSError: We couldn't connect to the hub to load the files, and couldn't find them in the cache.\n"
TOO_LITTLE = (
    f"{BEGIN}ValueError: Free memory on device cuda:0 (4.0/24.0 GiB) on startup is less than desired GPU memory "
    f"utilization (0.5, 12.0 GiB). Decrease GPU memory utilization.\n{CORE}"
)
UP = "INFO:     Application startup complete.\n"
MEMORY = (
    'Traceback (most recent call last):\n  File "x.py", line 1, in execute_model\ntorch.OutOfMemoryError: CUDA out of '
    "memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.99 GiB of which 1.00 GiB is free.\n"
)
FLAG = "usage: vllm [-h] [-v]\nvllm: error: unrecognized arguments: --no-such-flag\n"
PARSER = f"{BEGIN}KeyError: 'invalid tool call parser: nosuch (chose from {{ apertus,hermes }})'\n"


@pytest.mark.parametrize(
    ("ended", "code", "final", "words"),
    [
        (Exit(1, PYDANTIC), "fleet.exit_words", True, "Sleep mode is not supported on current platform."),
        (Exit(1, OFFLINE), "fleet.exit_words", True, "outgoing traffic has been disabled"),
        (Exit(1, NO_NETWORK), "fleet.exit_words", False, "OSError: We couldn't connect to the hub"),
        (Exit(1, PARSER), "fleet.exit_words", True, "nosuch"),
        (Exit(2, FLAG), "fleet.exit_words", True, "unrecognized arguments: --no-such-flag"),
        (Exit(1, TOO_LITTLE), "logs.free_below_budget_by", True, "4.00 GiB"),
        (Exit(1, f"{BEGIN}ZeroDivisionError: division\n{CORE}"), "fleet.exit_words", False, "ZeroDivisionError"),
        (Exit(127, "rigfit: error: /x/vllm: Exec format error\n"), "fleet.exit_words", True, "Exec format error"),
        (Exit(1, ""), "fleet.exit", False, "1"),
        (Exit(3), "fleet.exit", False, "3"),
        (Exit(-9, TOO_LITTLE), "fleet.signal", False, "SIGKILL"),
        (Exit(-9, BEGIN, starved=True), "fleet.starved", False, "RAM"),
        (Exit(1, f"{BEGIN}RuntimeError: Worker died\n", starved=True), "fleet.starved", False, "RAM"),
        (Exit(-15, TOO_LITTLE, starved=True), "fleet.signal", False, "SIGTERM"),
        (Exit(-11, BEGIN), "fleet.signal", False, "SIGSEGV"),
        (Exit(-77, BEGIN), "fleet.signal", False, "77"),
        (
            Exit(1, f"{BEGIN}401 Client Error\n{UP}EngineDeadError: core\n"),
            "fleet.exit_words",
            False,
            "EngineDeadError",
        ),
        (Exit(1, f"{BEGIN}{UP}{MEMORY}"), "logs.oom_running_by", False, "2.00 GiB"),
        (Exit(1, f"{BEGIN}OSError: long ago\n{UP}"), "fleet.exit", False, "1"),
        (Exit(0, TOO_LITTLE), "fleet.ended", False, "named no error"),
        (Exit(None, TOO_LITTLE), "fleet.unseen", False, "guards"),
    ],
)
def test_causes(ended: Exit, code: str, final: bool, words: str) -> None:
    cause = cause_of_exit(ended)
    assert (cause.reason.code, cause.final) == (code, final)
    assert words in text("en", cause.reason.code, **cause.reason.params)
    assert text("ru", cause.reason.code, **cause.reason.params)


@given(st.none() | st.integers(-64, 255), st.text(max_size=3000), st.booleans())
def test_any_end_has_a_sentence(code: int | None, said: str, starved: bool) -> None:
    reason = cause_of_exit(Exit(code, f"{said}\nValueError: {said}\n", starved)).reason
    for language in LANGUAGES:
        sentence = text(language, reason.code, **reason.params)
        assert sentence.isprintable()
        assert len(sentence) < 600


def test_what_an_engine_says_is_not_taken_for_a_terminals_orders() -> None:
    reason = cause_of_exit(Exit(1, "ValueError: \x1b[31mred\x07 and \u202eturned\n")).reason
    assert reason.params["words"] == "ValueError:  [31mred  and  turned"
