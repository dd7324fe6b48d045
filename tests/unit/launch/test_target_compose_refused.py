"""What can not be put into a Compose file is refused with its reason."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from compose_files import compose, two
from launch_factory import CARD, make_checkpoint, make_instance, make_plan

from tools.domain import Quantization, Rig
from tools.errors import BadValue, NoSuchOption, NothingFits
from tools.launch.choices import Choices
from tools.launch.generate import generate
from tools.units import GIB


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
