"""The words in the files of Compose: their language, and that nothing in a name can act."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from compose_files import loaded, text_of, two, unchecked, words_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import hub_id, make_checkpoint, make_instance, make_plan

from tools.domain import note
from tools.launch.argv.vllm import vllm_argv
from tools.launch.checks.compose import check_compose_config, compose_command
from tools.launch.choices import Choices
from tools.launch.generate import generate


@pytest.mark.parametrize(("language", "word"), [("en", "weights"), ("ru", "веса")])
def test_comments_and_readme_speak_the_askers_language(language: str, word: str):
    launch = generate(two(), language=language)
    for path in ("compose.yaml", "README.md"):
        assert word in text_of(launch, path)
        assert "16.0 GiB" in text_of(launch, path)


def test_the_readme_lists_assumptions_and_needs_without_letting_them_act():
    evil = note("errors.bad_size", value="`<img src=x>`|\n# big")
    plan = replace(make_plan(make_instance(), kind="swap", needs=(evil,)), assumptions=(evil,))
    text = text_of(generate(plan), "README.md")
    assert text.count(r"\`\<img src=x\>\`\| \# big") == 2
    assert "\n# big" not in text


def test_every_check_passes_where_its_validator_is_there():
    for plan in (two(), make_plan(make_instance("a", awake=False), make_instance("b", order=1))):
        checks = {check.name: check for check in generate(plan).checks}
        assert set(checks) >= {"yaml", "compose-schema", "vllm-flags"}
        assert not [check for check in checks.values() if check.ok is False]
        assert checks["compose-schema"].ok


def test_without_docker_compose_its_check_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    compose_command.cache_clear()
    try:
        check = check_compose_config("services: {}")
    finally:
        compose_command.cache_clear()
    assert check.ok is None
    assert "Docker Compose" in check.detail


printable = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
    | st.sampled_from(list("$`'\"\\{}[]&*!|>%@#:,;<>?~^= \u0085\u00a0\ufeff\u200b")),
    min_size=1,
    max_size=40,
).filter(lambda text: not text.startswith("-") and "\x85" not in text)


numbers = st.integers(1, 1 << 40)
CHOSEN = (Choices(), Choices(page="rigfit"), Choices(open=True, page="open-webui"))


@settings(max_examples=50, deadline=None)
@given(printable, st.lists(printable, min_size=1, max_size=3), printable, numbers, numbers, st.sampled_from(CHOSEN))
@example("$(reboot)", ["${HF_TOKEN}", "a: b # c"], "&x *x !!python/object", 1, 2, CHOSEN[0])
@example("{{ 7*7 }}", ["'; rm -rf ~ #", "{% raw %}"], "yes", 8, 8, CHOSEN[1])
@example("0x1F", ["1e3", "12:30:45"], "null", 10_000_000, 1 << 33, CHOSEN[1])
@example("a\ufeffb", ["\u00a0", "~"], "2026-01-01", 7, 7, CHOSEN[2])
@example("модель", ["Кириллица", "x --> </script> `x`"], "=", 1, 1, CHOSEN[0])
def test_whatever_a_name_holds_it_comes_back_as_it_went_in(
    name: str, served: list[str], revision: str, users: int, cache: int, choices: Choices
):
    repo = hub_id(name)
    checkpoint = make_checkpoint(repo, revision=revision, file_bytes=cache)
    changes: dict[str, Any] = {"max_num_seqs": users, "kv_cache_memory_bytes": cache}
    first = make_instance("a", tuple(served), checkpoint=checkpoint, **changes)
    document = unchecked(make_plan(first, make_instance("b", ("other",), order=1)), choices)
    services = document["services"]
    assert services["download"]["command"][:3] == [repo, revision, str(cache)]
    assert words_of(services["a"]) == vllm_argv(first, host="0.0.0.0", port=8000)
    assert set(services) == {"download", "a", "b", "endpoint"} | ({"page"} if choices.page != "none" else set())
    table = document["configs"]["endpoint-js"]["content"].partition("\n")[0]
    rows = json.loads(table.removeprefix("const MODELS = ").removesuffix(";"))
    assert rows == [[model, "@a"] for model in served] + [["other", "@b"]]
    if choices.page == "rigfit":
        assert services["page"]["environment"]["RIGFIT_LLM_MODEL"] == served[0]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["en", "ru"]))
@example("x\n  evil:\n    image: evil", "a\r\nb", "en")
@example("--> <script>alert(1)</script>", "-->\n# big", "ru")
@example("$(touch /tmp/x)", "`reboot`", "ru")
def test_no_text_leaves_a_comment_or_becomes_a_service(name: str, precision: str, language: str):
    asleep = make_instance(name, checkpoint=make_checkpoint(precision=precision), awake=False)
    plan = make_plan(asleep, make_instance("b", order=1), kind="swap")
    launch = generate(plan, language=language, checked=False)
    document = loaded(text_of(launch, "compose.yaml"))
    assert len(document["services"]) == 5
    assert set(document) == {"name", "services", "volumes", "configs"}
    for line in text_of(launch, ".env.example").splitlines():
        assert not line or line.startswith("#")
    script = text_of(launch, "swap.sh").splitlines()
    assert next(line for line in script if not line.startswith("#")) == "set -euo pipefail"
    comment, _, rest = text_of(launch, "README.md").partition("\n-->\n")
    assert comment.count("-->") == 0
    assert rest.startswith("\n# ")
