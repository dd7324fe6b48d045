"""The Compose file: what it says, in which order things start, and that nothing in a name can act."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from launch_factory import CARD, hub_id, make_checkpoint, make_instance, make_plan
from ruamel.yaml import YAML

from tools.domain import Plan, Quantization, Rig, note
from tools.errors import BadValue, NoSuchOption, NothingFits
from tools.launch.argv.vllm import vllm_argv
from tools.launch.checks.compose import check_compose_config, compose_command
from tools.launch.choices import DEFAULT, Choices
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.generate import LaunchFiles, generate
from tools.launch.job import prepare
from tools.launch.targets.compose import compose_yaml
from tools.units import GIB, gib

OURS = "HF_TOKEN|HF_ENDPOINT|HF_CACHE|ENDPOINT_PORT|VLLM_API_KEY|PAGE_PORT|CPU_ARCH|WEBUI_AUTH|WEBUI_SECRET_KEY"
SAFE_REFERENCE = re.compile(rf"\$\{{(?:(?:{OURS}):-[^${{}}]*|(?:VLLM_API_KEY|RIGFIT_SOURCE):\?[^${{}}]*)\}}")


def text_of(launch: LaunchFiles, path: str) -> str:
    return next(file.content for file in launch.files if file.path == path)


def interpolate(value: Any) -> Any:
    """Read a value as Compose does; any reference that is not one of ours is a fault."""
    if isinstance(value, dict):
        return {key: interpolate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item) for item in value]
    if not isinstance(value, str):
        return value
    rest = SAFE_REFERENCE.sub("", value.replace("$$", ""))
    assert "$" not in rest, value
    return re.sub(r"\$\$|\$\{\w+:[-?]([^}]*)\}", lambda found: "$" if found[0] == "$$" else found[1], value)


def words_of(service: dict[str, Any]) -> list[str]:
    """An engine's command with each flag's value as a word of its own."""
    return [part for word in service["command"] for part in (word.split("=", 1) if word.startswith("--") else [word])]


def compose(plan: Plan, **options: Any) -> dict[str, Any]:
    return loaded(text_of(generate(plan, **options), "compose.yaml"))


def unchecked(plan: Plan, choices: Choices = DEFAULT) -> dict[str, Any]:
    return loaded(compose_yaml(prepare(plan, None, "en", choices=choices)[0]))


def loaded(text: str) -> dict[str, Any]:
    document = YAML(typ="safe", pure=True).load(text)
    assert pyyaml.safe_load(text) == document  # YAML 1.1 and 1.2 readers agree
    return interpolate(document)


def two(**second: Any) -> Plan:
    first = make_instance("qwen-a", ("qwen",), gpu_memory_utilization=0.6)
    return make_plan(first, make_instance("qwen-b", ("qwen-int4",), order=1, **second), kind="precision")


def test_engines_start_one_after_the_other_once_the_weights_are_there():
    services = compose(two())["services"]
    assert services["qwen-a"]["depends_on"] == {"download": {"condition": "service_completed_successfully"}}
    assert services["qwen-b"]["depends_on"] == {"qwen-a": {"condition": "service_healthy"}}
    assert set(services["endpoint"]["depends_on"]) == {"qwen-a", "qwen-b"}


def test_the_start_order_is_the_plans_not_the_tuples():
    late, early = make_instance("late", order=5), make_instance("early", order=2)
    services = compose(make_plan(late, early))["services"]
    assert "early" in services["late"]["depends_on"]
    assert "download" in services["early"]["depends_on"]


def test_an_engine_gets_exactly_the_flags_of_the_builder():
    plan = two()
    service = compose(plan)["services"]["qwen-a"]
    expected = vllm_argv(plan.placement().instances[0], host="0.0.0.0", port=8000)
    assert words_of(service) == expected
    assert service["image"] == "vllm/vllm-openai:v0.32.0"


def test_only_the_endpoint_opens_a_port_and_only_on_this_machine():
    services = compose(two())["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["endpoint"]
    assert services["endpoint"]["ports"] == ["127.0.0.1:8000:80"]


def test_one_engine_needs_no_endpoint():
    services = compose(make_plan(make_instance("solo")))["services"]
    assert set(services) == {"download", "solo"}
    assert services["solo"]["ports"] == ["127.0.0.1:8000:8000"]


def test_cards_are_reserved_by_their_number_on_their_machine():
    rig = Rig((CARD, CARD, replace(CARD, node=1), replace(CARD, node=1)), nodes=2)
    near = make_instance("near", gpus=(0, 1), tp=2)
    far = make_instance("far", gpus=(3,))
    launch = generate(make_plan(near, far, rig=rig))
    assert {file.path for file in launch.files if file.path.endswith("compose.yaml")} == {
        "machine-1/compose.yaml",
        "machine-2/compose.yaml",
    }
    devices = {}
    for folder, name in (("machine-1", "near"), ("machine-2", "far")):
        service = pyyaml.safe_load(text_of(launch, f"{folder}/compose.yaml"))["services"][name]
        devices[name] = service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"]
    assert devices == {"near": ["0", "1"], "far": ["1"]}


def test_a_card_that_an_option_adds_is_like_the_first():
    plan = make_plan(make_instance("a"), make_instance("b", gpus=(1,), order=1), kind="more_hardware")
    service = compose(plan)["services"]["b"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["device_ids"] == ["1"]


def test_weights_are_fetched_once_each_with_size_and_revision():
    pinned = make_checkpoint("Org/Same", revision="abc123", file_bytes=5 * GIB)
    plan = make_plan(make_instance("a", checkpoint=pinned), make_instance("b", checkpoint=pinned, order=1))
    document = compose(plan)
    assert document["services"]["download"]["command"] == ["Org/Same", "abc123", str(5 * GIB)]
    assert document["configs"]["download"]["content"] == DOWNLOAD


def test_the_token_reaches_the_download_only_and_is_not_written_down():
    launch = generate(two())
    services = compose(two())["services"]
    assert [name for name, s in services.items() if "HF_TOKEN" in s.get("environment", {})] == ["download"]
    assert "#HF_TOKEN=\n" in text_of(launch, ".env.example")


def test_a_larger_model_is_given_more_time():
    def period(size: int) -> int:
        plan = make_plan(make_instance("a", checkpoint=make_checkpoint(file_bytes=size)))
        return int(compose(plan)["services"]["a"]["healthcheck"]["start_period"].removesuffix("s"))

    assert period(200 * GIB) - period(GIB) >= 199 * GIB / 1e9  # even a disk of 1 GB/s is in time
    assert period(GIB) >= 300


def test_sharing_serves_every_name_from_one_engine():
    services = compose(make_plan(make_instance("both", ("planner", "coder")), kind="share"))["services"]
    command = services["both"]["command"]
    at = command.index("--served-model-name")
    assert command[at + 1 : at + 3] == ["planner", "coder"]


def test_an_engine_never_takes_the_name_of_what_puts_another_to_sleep():
    plan = make_plan(
        make_instance("a", order=0, awake=False), make_instance("a-sleep", order=1, sleep_mode=True), kind="swap"
    )
    services = compose(plan)["services"]
    assert {"a", "a-sleep", "a-sleep-2"} <= services.keys()
    assert services["a-sleep"]["depends_on"] == {"a": {"condition": "service_healthy"}}


def test_in_a_swap_each_sleeps_before_the_next_starts():
    plan = make_plan(
        make_instance("awake", order=0, sleep_mode=True), make_instance("asleep", order=1, awake=False), kind="swap"
    )
    launch = generate(plan)
    services = compose(plan)["services"]
    assert services["asleep"]["depends_on"] == {"download": {"condition": "service_completed_successfully"}}
    assert services["asleep-sleep"]["depends_on"] == {"asleep": {"condition": "service_healthy"}}
    assert services["awake"]["depends_on"] == {"asleep-sleep": {"condition": "service_completed_successfully"}}
    for name in ("awake", "asleep"):
        assert "--enable-sleep-mode" in services[name]["command"]
        assert services[name]["environment"]["VLLM_SERVER_DEV_MODE"] == "1"
        assert services[name]["restart"] == "no"
    assert [name for name, service in services.items() if "ports" in service] == ["endpoint"]
    assert next(file for file in launch.files if file.path == "swap.sh").executable


@pytest.mark.parametrize("endpoint", ["nginx", "gateway"])
def test_models_that_take_turns_need_ram_for_all_of_them(endpoint: str):
    """vLLM keeps what has slept (vllm-project/vllm#16663), so the plan's figure, for those asleep, is not all."""
    instances = (make_instance("a", awake=False, tp=2, gpus=(0, 1)), make_instance("b", order=1))
    needs = (note("plan.needs_ram", gib=1.5),)
    plan = make_plan(*instances, rig=Rig((CARD,) * 2), kind="swap", needs=needs)
    weights = sum(i.footprint.weights_bytes * len(i.gpu_indices) for i in instances)
    readme = text_of(generate(plan, choices=Choices(endpoint=endpoint)), "README.md")
    assert f"Free RAM: {gib(weights)}." in readme
    assert "1.5 GiB" not in readme
    assert "Free RAM" not in text_of(generate(two()), "README.md")


def test_an_open_readme_tells_where_the_commands_take_the_key_from():
    assert "export VLLM_API_KEY=" in text_of(generate(two(), choices=Choices(open=True)), "README.md")
    assert "export VLLM_API_KEY=" not in text_of(generate(two()), "README.md")


def test_sleep_mode_keeps_to_an_allocator_that_can_free_its_memory():
    plan = make_plan(make_instance("a", awake=False), make_instance("b", order=1))
    services = compose(plan)["services"]
    assert {services[name]["environment"]["PYTORCH_ALLOC_CONF"] for name in "ab"} == {"expandable_segments:False"}
    assert "PYTORCH_ALLOC_CONF" not in compose(two())["services"]["qwen-a"]["environment"]


def test_the_endpoint_is_told_every_name_and_waits_for_every_engine():
    plan = make_plan(make_instance("a", ("one", "two")), make_instance("b", (), order=1))
    document = compose(plan)
    assert '["one", "@a"], ["two", "@a"], ["Org/Model-8B", "@b"]' in document["configs"]["endpoint-js"]["content"]
    endpoint = document["services"]["endpoint"]
    assert endpoint["depends_on"] == {name: {"condition": "service_healthy"} for name in "ab"}
    assert endpoint["healthcheck"]["test"][-1] == "http://127.0.0.1/health"


@pytest.mark.parametrize("swap", [False, True])
def test_rigfits_gateway_can_stand_in_front(swap: bool):
    plan = make_plan(make_instance("a", ("one", "two"), awake=not swap), make_instance("b", ("three",), order=1))
    launch = generate(plan, choices=Choices(endpoint="gateway"))
    services = loaded(text_of(launch, "compose.yaml"))["services"]
    assert services["endpoint"]["command"] == [
        *("gateway", "--host=0.0.0.0", "--port=8000"),
        *("--upstream=one=http://a:8000", "--alias=two=one", "--upstream=three=http://b:8000"),
        *(["--residency=swap", "--group=one,three"] if swap else []),
    ]
    assert services["endpoint"]["ports"] == ["127.0.0.1:8000:8000"]
    assert "build" in services["endpoint"]
    assert "VLLM_API_KEY" not in services["a"]["environment"]  # the gateway asks for it
    assert "${RIGFIT_SOURCE:?" in text_of(launch, "compose.yaml")
    assert "\nRIGFIT_SOURCE=\n" in text_of(launch, ".env.example")
    assert not [file for file in launch.files if file.path == "swap.sh"]


def test_engines_take_turns_with_those_on_their_cards_only():
    pairs = [(0,), (1,), (2,), (0,), (1, 3), (3,)]
    engines = [make_instance(f"e{i}", (f"m{i}",), gpus=cards, order=i, tp=len(cards)) for i, cards in enumerate(pairs)]
    asleep = [replace(engine, awake=i in (2, 4, 5)) for i, engine in enumerate(engines)]
    plan = make_plan(*asleep, rig=Rig((CARD,) * 4), kind="swap")
    words = compose(plan, choices=Choices(endpoint="gateway"))["services"]["endpoint"]["command"]
    groups = {frozenset(word.partition("=")[2].split(",")) for word in words if word.startswith("--group")}
    assert groups == {frozenset({"m0", "m3"}), frozenset({"m1", "m4"})}


def test_a_name_that_the_gateway_could_not_tell_from_an_address_is_refused():
    plan = make_plan(make_instance("a", ("x=http://evil",)), make_instance("b", ("b",), order=1))
    with pytest.raises(BadValue, match="bad_word"):
        generate(plan, choices=Choices(endpoint="gateway"))


@pytest.mark.parametrize("page", ["open-webui", "rigfit"])
@pytest.mark.parametrize("engines", [1, 2])
def test_a_chat_page_reaches_the_models_and_stays_on_this_machine(page: str, engines: int):
    plan = make_plan(*(make_instance(f"e{i}", (f"model-{i}",), order=i) for i in range(engines)))
    document = compose(plan, choices=Choices(page=page))
    service = document["services"]["page"]
    before, url = ("endpoint", "http://endpoint:80/v1") if engines > 1 else ("e0", "http://e0:8000/v1")
    assert service["depends_on"] == {before: {"condition": "service_healthy"}}
    assert url in service["environment"].values()
    assert service["ports"][0].startswith("127.0.0.1:3000:")
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(document["volumes"])
    if page == "rigfit":
        assert service["environment"]["RIGFIT_LLM_MODEL"] == "model-0"


def test_rigfits_page_talks_to_a_model_that_is_awake():
    plan = make_plan(make_instance("a", ("sleepy",), awake=False), make_instance("b", ("awake",), order=1))
    service = compose(plan, choices=Choices(page="rigfit"))["services"]["page"]
    assert service["environment"]["RIGFIT_LLM_MODEL"] == "awake"


@pytest.mark.parametrize("endpoint", ["nginx", "gateway"])
@pytest.mark.parametrize("page", ["none", "open-webui", "rigfit"])
def test_others_are_let_in_only_with_a_key(endpoint: str, page: str):
    choices = Choices(endpoint=endpoint, page=page, open=True)
    for plan in (two(), make_plan(make_instance("solo"))):
        launch = generate(plan, choices=choices)
        text = text_of(launch, "compose.yaml")
        services = loaded(text)["services"]
        assert "${VLLM_API_KEY:-" not in text
        assert text.count("${VLLM_API_KEY:?") >= len(plan.placement().instances)
        wide = {name for name, service in services.items() if service.get("ports", [""])[0].startswith("0.0.0.0:")}
        assert wide == {"endpoint"} | ({"page"} if page == "open-webui" else set())
        assert services.get("page", {}).get("environment", {}).get("WEBUI_AUTH", "true") == "true"
        assert "\nVLLM_API_KEY=\n" in text_of(launch, ".env.example")
        assert "Authorization: Bearer $VLLM_API_KEY" in text_of(launch, "README.md")


def test_on_a_processor_no_card_is_named_and_the_cores_are_shared_out():
    plan = make_plan(make_instance("a", awake=False, tp=2, gpus=(0, 1)), make_instance("b", order=1), kind="swap")
    launch = generate(plan, choices=Choices(cpu=True))
    services = loaded(text_of(launch, "compose.yaml"))["services"]
    assert set(services) == {"download", "a", "b", "endpoint"}
    for share, name in (("1/2", "a"), ("2/2", "b")):
        service = services[name]
        assert service["image"] == "vllm/vllm-openai-cpu:v0.32.0-x86_64"
        assert service["environment"]["SHARE_OF_CORES"] == share
        assert not {"deploy", "devices"} & service.keys()
        flags = {word.partition("=")[0] for word in service["command"]}
        assert "--kv-cache-memory-bytes" in flags
        assert not flags & {"--gpu-memory-utilization", "--enable-sleep-mode", "--tensor-parallel-size"}
        assert not {"VLLM_SERVER_DEV_MODE", "VLLM_CPU_KVCACHE_SPACE", "CARDS"} & service["environment"].keys()
    assert not [file for file in launch.files if file.path == "swap.sh"]
    assert not [check for check in launch.checks if check.ok is False]


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize(
    "choices",
    [Choices(), Choices(endpoint="gateway", page="rigfit"), Choices(page="open-webui", open=True), Choices(cpu=True)],
)
def test_every_file_says_first_what_it_is_for(language: str, choices: Choices):
    plan = make_plan(make_instance("a", awake=False), make_instance("b", order=1), kind="swap")
    for file in generate(plan, language=language, choices=choices, today=date(2026, 11, 23)).files:
        top = "\n".join(file.content.splitlines()[:8])
        for part in ("2026-11-23", "chosen", "vLLM 0.32.0", "16.0 GiB", "Org/Model-8B"):
            assert part in top, (file.path, part)
        assert "rigfit explain" in "\n".join(file.content.splitlines()[:12])


def test_figures_stand_in_a_file_once():
    text = text_of(generate(two()), "compose.yaml")
    assert text.count("KV cache") == 2  # one line an engine


def test_bitsandbytes_is_refused_on_the_processor():
    checkpoint = make_checkpoint(precision="bnb-4bit", in_flight=True, quantization=Quantization("bnb_nf4", 4))
    plan = make_plan(make_instance("a", checkpoint=checkpoint))
    for target in ("compose", "vllm"):
        with pytest.raises(BadValue, match="no_bnb_on_cpu"):
            generate(plan, target=target, choices=Choices(cpu=True))
    assert generate(plan).files


def test_amd_cards_get_their_image_and_devices():
    rig = Rig((replace(CARD, vendor="amd"),))
    service = compose(make_plan(make_instance("a"), rig=rig))["services"]["a"]
    assert service["image"] == "vllm/vllm-openai-rocm:v0.32.0"
    assert service["devices"] == ["/dev/kfd", "/dev/dri"]
    assert service["environment"]["HIP_VISIBLE_DEVICES"] == "0"
    assert "deploy" not in service


@pytest.mark.parametrize("vendor", ["apple", "intel"])
def test_cards_without_a_vllm_image_are_refused(vendor: str):
    with pytest.raises(BadValue, match="no_image"):
        generate(make_plan(make_instance(), rig=Rig((replace(CARD, vendor=vendor),))))
    plan = make_plan(make_instance("a"), rig=Rig((replace(CARD, vendor=vendor),)))
    assert compose(plan, choices=Choices(cpu=True))["services"]["a"]["image"].startswith("vllm/vllm-openai-cpu:")


def test_bitsandbytes_is_added_to_the_image():
    checkpoint = make_checkpoint(precision="bnb-4bit", in_flight=True, quantization=Quantization("bnb_nf4", 4))
    service = compose(make_plan(make_instance("a", checkpoint=checkpoint)))["services"]["a"]
    assert service["build"]["dockerfile_inline"].startswith("FROM vllm/vllm-openai:v0.32.0\nRUN ")
    assert "vllm-bnb-plugin==" in service["build"]["dockerfile_inline"]


def test_a_placement_that_does_not_fit_is_refused_with_its_deficit():
    with pytest.raises(NothingFits) as raised:
        generate(make_plan(make_instance(), fits=False))
    assert raised.value.params["deficit_bytes"] == 7 * GIB


def test_a_placement_that_cannot_run_is_not_called_too_large():
    plan = make_plan(make_instance(), fits=False)
    with pytest.raises(NothingFits, match="cannot_run"):
        generate(replace(plan, as_asked=replace(plan.as_asked, deficit_bytes=0)))


def test_as_asked_can_be_refused_while_the_option_is_made():
    plan = two()
    assert generate(plan).option == "chosen"
    with pytest.raises(NothingFits):
        generate(plan, option="as_asked")


def test_unknown_words_are_refused():
    with pytest.raises(NoSuchOption) as raised:
        generate(two(), option="nope")
    assert "chosen" in str(raised.value.params["allowed"])
    with pytest.raises(BadValue, match="unknown_target"):
        generate(two(), target="../../etc")


@pytest.mark.parametrize(
    ("method", "in_flight", "code"),
    [("bnb_int8", True, "no_in_flight"), ("gguf", False, "no_vllm_format"), ("exl3", False, "no_vllm_format")],
)
def test_weights_that_vllm_cannot_load_are_refused(method: str, in_flight: bool, code: str):
    checkpoint = make_checkpoint(in_flight=in_flight, quantization=Quantization(method))
    with pytest.raises(BadValue, match=code):
        generate(make_plan(make_instance(checkpoint=checkpoint)))


def test_a_model_without_a_repository_is_refused():
    with pytest.raises(BadValue, match="no_repository"):
        generate(make_plan(make_instance(checkpoint=make_checkpoint("folder"))))


def test_a_card_of_another_maker_that_an_option_brings_decides_the_image():
    plan = make_plan(make_instance("a"), rig=Rig((replace(CARD, vendor="apple", name="Apple M3 Max"),)))
    placement = replace(plan.as_asked, gpus=(replace(plan.as_asked.gpus[0], name="NVIDIA H200 SXM"),))
    service = compose(replace(plan, as_asked=placement))["services"]["a"]
    assert service["image"] == "vllm/vllm-openai:v0.32.0"


def test_an_engine_across_machines_is_refused():
    rig = Rig((CARD, replace(CARD, node=1)), nodes=2)
    with pytest.raises(BadValue, match="spans_machines"):
        generate(make_plan(make_instance(gpus=(0, 1), tp=2), rig=rig))


def test_names_that_collide_or_are_reserved_stay_apart():
    plan = make_plan(*(make_instance(name, order=i) for i, name in enumerate(["m.1", "m-1", "download", "endpoint"])))
    names = list(compose(plan)["services"])
    assert len(set(names)) == len(names) == 6
    assert all(re.fullmatch(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", name) for name in names)


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
