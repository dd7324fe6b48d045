"""Ollama's files: what its parser would read is what the plan says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, make_checkpoint, make_gguf, make_llama, make_plan

from tools.domain import EngineOptions, InstancePlan, Quantization, Rig
from tools.errors import BadValue
from tools.launch.argv.ollama import is_name, modelfile_line
from tools.launch.checks.ollama import check_modelfiles, check_settings, read_modelfile
from tools.launch.choices import Choices
from tools.launch.generate import LaunchFiles, generate


def engine(
    name: str = "a", served: tuple[str, ...] = ("model-a",), *, awake: bool = True, **changes: Any
) -> InstancePlan:
    return replace(make_llama(name, served, engine="ollama", **changes), awake=awake)


def made(*instances: InstancePlan, language: str = "en", choices: Choices | None = None, **plan: Any) -> LaunchFiles:
    plan_made = make_plan(*instances, engine="ollama", **plan)
    return generate(plan_made, target="ollama", language=language, choices=choices or Choices(), checked=False)


def text_of(launch: LaunchFiles, path: str) -> str:
    return next(file.content for file in launch.files if file.path == path)


def modelfile(launch: LaunchFiles, name: str = "a") -> dict[str, str]:
    return {one.parameter or one.name: one.value for one in read_modelfile(text_of(launch, f"Modelfile.{name}"))}


def settings_of(launch: LaunchFiles, file: str = "ollama.env") -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", text_of(launch, file), re.MULTILINE))


def steps(launch: LaunchFiles) -> list[str]:
    return text_of(launch, "create.sh").rpartition("\n}\n")[2].split("\n")[1:-1]


def test_a_modelfile_names_the_file_and_what_decides_about_memory():
    assert modelfile(made(engine())) == {
        "from": "hf.co/Org/Model-8B-GGUF:Q4_K_M",
        "num_ctx": "8192",
        "num_gpu": "999",
        "num_batch": "512",
    }
    partly = made(engine(options=EngineOptions(gpu_layers=20), max_num_batched_tokens=256))
    assert modelfile(partly) == modelfile(made(engine())) | {"num_gpu": "20", "num_batch": "256"}


def test_a_file_that_no_repository_has_is_converted_first():
    launch = made(engine(checkpoint=make_gguf("Org/Model-8B", "Q6_K", hypothetical=True)))
    assert modelfile(launch)["from"] == "./models/Org-Model-8B-Q6_K.gguf"
    assert "made models/Org-Model-8B-Q6_K.gguf" in steps(launch)
    assert any(file.path == "make-gguf.sh" for file in launch.files)


def test_one_server_for_models_of_the_same_settings():
    launch = made(engine("a"), engine("b", ("b",), checkpoint=make_gguf(kind="Q6_K")), kind="fp8")
    assert settings_of(launch) == {
        "OLLAMA_HOST": "127.0.0.1:11434",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "0",
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_MAX_LOADED_MODELS": "2",
        "OLLAMA_CONTEXT_LENGTH": "8192",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_LOAD_TIMEOUT": "360s",
    }
    dropin = text_of(launch, "systemd/ollama.service.d/rigfit.conf")
    assert dict(re.findall(r'^Environment="([A-Z_]+)=(.*)"$', dropin, re.MULTILINE)) == settings_of(launch)
    assert steps(launch) == [
        "on 127.0.0.1:11434",
        "room hf.co/Org/Model-8B-GGUF:Q4_K_M 5242880",
        "ollama pull hf.co/Org/Model-8B-GGUF:Q4_K_M",
        "ollama create model-a -f Modelfile.a",
        "room hf.co/Org/Model-8B-GGUF:Q6_K 5242880",
        "ollama pull hf.co/Org/Model-8B-GGUF:Q6_K",
        "ollama create b -f Modelfile.b",
        "loaded model-a '100% GPU'",
        "loaded b '100% GPU'",
    ]


@pytest.mark.parametrize(
    "other",
    [{"gpus": (1,)}, {"max_num_seqs": 2}, {"kv_dtype": "q8_0"}, {}],
    ids=["cards", "users", "cache", "same file"],
)
def test_a_server_each_where_settings_differ_or_the_file_is_the_same(other: dict[str, Any]):
    file = make_gguf(kind="Q6_K") if other else make_gguf()
    launch = made(engine("a"), engine("b", ("b",), checkpoint=file, **other))
    assert settings_of(launch, "ollama-a.env")["OLLAMA_HOST"] == "127.0.0.1:11434"
    second = settings_of(launch, "ollama-b.env")
    assert second["OLLAMA_HOST"] == "127.0.0.1:11435"
    assert second["OLLAMA_MAX_LOADED_MODELS"] == "1"
    assert second.get("OLLAMA_KV_CACHE_TYPE") == other.get("kv_dtype")
    assert second.get("OLLAMA_FLASH_ATTENTION") == ("1" if "kv_dtype" in other else None)
    assert not any(file.path.startswith("systemd/") for file in launch.files)
    assert steps(launch).index("on 127.0.0.1:11435") > steps(launch).index("loaded model-a '100% GPU'")


def test_engines_that_take_turns_share_a_server_that_holds_as_many_as_are_awake():
    launch = made(engine("a"), engine("b", ("b",), awake=False, gpus=(0, 1)), kind="swap")
    assert settings_of(launch)["OLLAMA_MAX_LOADED_MODELS"] == "1"
    assert settings_of(launch)["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert [step for step in steps(launch) if step.startswith("loaded")] == ["loaded model-a '100% GPU'"]
    with pytest.raises(BadValue):
        made(engine("a"), engine("b", ("b",), awake=False, max_num_seqs=1), kind="swap")


def test_a_model_over_several_cards():
    launch = made(engine(gpus=(0, 1)))
    assert settings_of(launch)["OLLAMA_SCHED_SPREAD"] == "1"
    assert settings_of(launch)["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(("vendor", "name"), [("amd", "ROCR_VISIBLE_DEVICES"), ("intel", "GGML_VK_VISIBLE_DEVICES")])
def test_other_makers_cards(vendor: str, name: str):
    launch = made(engine(), rig=Rig((replace(CARD, vendor=vendor),)))
    assert settings_of(launch)[name] == "0"


def test_cards_that_share_the_processors_memory_are_let_in():
    for vendor, asked in (("amd", "1"), ("nvidia", None), ("apple", None)):
        launch = made(engine(), rig=Rig((replace(CARD, vendor=vendor, unified=True),)))
        assert settings_of(launch).get("OLLAMA_IGPU_ENABLE") == asked
        assert "shares its memory" in text_of(launch, "README.md")
    assert "shares its memory" not in text_of(made(engine()), "README.md")


def test_without_cards():
    launch = made(engine(), choices=Choices(cpu=True))
    assert modelfile(launch)["num_gpu"] == "0"
    assert settings_of(launch)["CUDA_VISIBLE_DEVICES"] == "-1"
    assert "loaded model-a '100% CPU'" in steps(launch)


def test_several_names_are_copies_of_one_model():
    launch = made(engine("a", ("one", "two:8b", "Модель", "ONE")))
    assert "ollama create one -f Modelfile.a" in steps(launch)
    assert "ollama cp one two:8b" in steps(launch)
    assert not any("Модель" in step or "ONE" in step for step in steps(launch))
    assert "`one`, `two:8b`" in text_of(launch, "README.md")


def test_a_name_that_ollama_does_not_take_becomes_the_engines():
    assert "ollama create a -f Modelfile.a" in steps(made(engine("a", ("модель один",))))


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *((name, True) for name in ("qwen3", "me/qwen3:8b", "a.b-c_d", "x" * 80)),
        *((name, False) for name in ("", "a b", "-a", "a/b/c", "a:", "модель", "x" * 81, "a;id", "me.you/x")),
    ],
)
def test_names_by_ollamas_grammar(name: str, taken: bool):
    assert is_name(name) is taken


@pytest.mark.parametrize(
    "changes",
    [
        {"options": EngineOptions(experts_in_ram=3)},
        {"options": EngineOptions(cache_in_ram=True)},
        {"options": EngineOptions(value_dtype="q4_0")},
        {"checkpoint": make_checkpoint(quantization=Quantization("awq", 4))},
        {"checkpoint": make_gguf("my.org/Model-GGUF")},
        {"checkpoint": make_gguf("Org/" + "x" * 81)},
        {"kv_dtype": "fp8"},
        {"max_model_len": 40_961},
    ],
)
def test_what_ollama_has_no_setting_for_is_refused(changes: dict[str, Any]):
    with pytest.raises(BadValue):
        made(engine(**changes))


def test_a_kind_that_gets_one_sequence_is_said():
    one = engine()
    model = replace(one.deployment.model, model_type="qwen3_next")
    launch = made(replace(one, deployment=replace(one.deployment, model=model)))
    assert "OLLAMA_NUM_PARALLEL" in text_of(launch, "Modelfile.a")
    assert "OLLAMA_NUM_PARALLEL" not in text_of(made(engine()), "Modelfile.a")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_everything_is_accepted_and_begins_with_what_it_is_for(language: str):
    file = make_gguf("Org/Model-8B", "Q6_K", hypothetical=True)
    plan = make_plan(engine("a"), engine("b", ("b",), gpus=(1,), checkpoint=file), engine="ollama")
    launch = generate(plan, target="ollama", language=language)
    assert {check.name for check in launch.checks} >= {"ollama-modelfile", "ollama-settings", "shellcheck"}
    assert all(check.ok for check in launch.checks), launch.checks
    for one in launch.files:
        assert "Ollama 0." in "\n".join(one.content.splitlines()[:2])
        assert "rigfit explain" in one.content


@settings(max_examples=300, deadline=None)
@given(st.text(min_size=1, max_size=40), st.sampled_from(["FROM", "SYSTEM"]))
@example('"', "FROM")
@example('"a"', "FROM")
@example('""" x', "FROM")
@example(" a ", "SYSTEM")
@example("a\nFROM /etc/passwd", "FROM")
def test_whatever_a_value_holds_it_is_read_back_or_refused(value: str, instruction: str):
    try:
        line = modelfile_line(instruction, value)
    except BadValue:
        assert not value.isprintable()
        return
    found = read_modelfile(f"# comment\n{line}\nFROM x\n")
    assert [(one.name, one.value) for one in found] == [(instruction.lower(), value), ("from", "x")]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=3), st.text(max_size=30), st.text(max_size=20))
@example(["$(id)", "a;b", "x"], "a\nPARAMETER num_gpu 0", "\r\nFROM y")
def test_no_text_leaves_its_place(served: list[str], repo: str, revision: str):
    file = make_gguf(f"Org/{repo or 'x'}", "Q6_K", hypothetical=True, revision=revision)
    try:
        launch = made(engine("a", tuple(served), checkpoint=file))
    except BadValue:
        return
    found = read_modelfile(text_of(launch, "Modelfile.a"))
    assert [one.name for one in found] == ["from", "parameter", "parameter", "parameter"]
    assert re.fullmatch(r"\./models/[A-Za-z0-9._-]+\.gguf", found[0].value)
    assert check_modelfiles([text_of(launch, "Modelfile.a")]).ok
    assert check_settings([settings_of(launch)]).ok
    for step in steps(launch):
        assert re.fullmatch(r"(?:on|made|loaded|ollama (?:create|cp)) [A-Za-z0-9_.:/% '-]+", step), step


@pytest.mark.parametrize(
    "text",
    [
        "PARAMETER num_ctx 1\n",
        "FROM x\nPARAMETER num_ctx many\n",
        "FROM x\nPARAMETER num_ctxs 1\n",
        "FROM x\nRUN rm\n",
        'FROM x\nSYSTEM "open\n',
        "FROM\n",
        "FROM x\nPARAMETER stop\n",
        "FROM x\nPARAMETER use_mmap yes\n",
        'FROM x\nTEMPLATE """a\nb"""\n',
        "FROM x\nMESSAGE robot hi\n",
    ],
)
def test_what_ollama_would_refuse_is_seen(text: str):
    assert check_modelfiles([text]).ok is False


def test_a_good_modelfile_is_read():
    text = '# c\n\nfrom x\nPARAMETER stop "<|end|>"\nMESSAGE user hello there\nSYSTEM """say "hi""""\n'
    assert check_modelfiles([text]).ok
    assert [(one.parameter, one.value) for one in read_modelfile(text)][1:] == [
        ("stop", "<|end|>"),
        ("user", "hello there"),
        ("", 'say "hi"'),
    ]


@pytest.mark.parametrize(
    "settings",
    [{"OLLAMA_NO_SUCH": "1"}, {"OLLAMA_KEEP_ALIVE": "forever"}, {"OLLAMA_NUM_PARALLEL": "0"}, {"OLLAMA_HOST": "x:1"}],
)
def test_settings_that_the_server_does_not_read_are_seen(settings: dict[str, str]):
    assert check_settings([settings]).ok is False
