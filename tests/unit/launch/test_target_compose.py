"""The Compose file: what it says, in which order things start, and that nothing in a name can act."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
import yaml as pyyaml
from compose_files import compose, loaded, text_of, two, words_of
from launch_factory import CARD, make_checkpoint, make_instance, make_plan

from tools.domain import Rig, note
from tools.errors import BadValue
from tools.launch.argv.vllm import vllm_argv
from tools.launch.choices import Choices
from tools.launch.container_scripts import DOWNLOAD
from tools.launch.generate import generate
from tools.units import GIB, gib


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
