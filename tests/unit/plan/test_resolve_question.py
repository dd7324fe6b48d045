"""From a Reading to a request: defaults, names, questions, bounds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prompts import text
from tools.domain import GpuAsk, ModelAsk, Reading, Rig
from tools.errors import BadValue, RequestError, UnknownGpu, UnknownModel
from tools.plan.resolve import Resolution, resolve

GIB = 1 << 30
QWEN = ModelAsk("Qwen3", 8.0)


@pytest.fixture
def read(models, gpus):
    def go(rig: Rig | None = None, **fields) -> Resolution:
        fields.setdefault("intent", "fit")
        return resolve(Reading(**fields), models=models, gpus=gpus, rig=rig)

    return go


def codes(notes) -> set[str]:
    return {note.code for note in notes}


def test_every_default_is_listed(read):
    found = read(models=(QWEN,), gpus=(GpuAsk("3090"),))
    assert found.request is not None
    (only,) = found.request.instances
    assert (only.context, only.users, only.precision) == (8192, 4, "any")
    assert {"plan.assume_context", "plan.assume_users", "plan.assume_engine"} <= codes(found.assumptions)
    assert found.request.stated == frozenset()
    assert found.asks == ()


def test_what_is_stated_is_kept_and_marked(read):
    found = read(
        models=(ModelAsk("Qwen3", 8.0, precision="AWQ", copies=2),),
        gpus=(GpuAsk("3090", count=2),),
        context=16384,
        users=7,
        ram_gb=64,
        reserved_gb=1.5,
        same_model=True,
        engine="vllm",
        kv_cache="fp8",
    )
    request = found.request
    assert request is not None
    assert [(i.context, i.users, i.precision) for i in request.instances] == [(16384, 7, "awq")] * 2
    assert len(request.rig.gpus) == 2
    assert {gpu.reserved_bytes for gpu in request.rig.gpus} == {round(1.5 * GIB)}
    assert request.rig.ram_bytes == 64 * GIB
    assert request.same_model is True
    assert request.kv_dtype == "fp8"
    assert request.stated == {"context", "users", "precision", "kv_dtype"}


def test_without_a_card_it_asks_and_with_a_known_rig_it_does_not(read, gpus):
    asked = read(models=(QWEN,))
    assert asked.request is None
    assert codes(asked.asks) == {"plan.ask_gpu"}
    known = read(Rig((gpus.find("RTX 3090").gpu,), source="remembered"), models=(QWEN,))
    assert known.request is not None
    assert known.request.rig.source == "remembered"


def test_cards_in_the_question_go_before_the_known_rig(read, gpus):
    known = Rig((gpus.find("RTX 3090").gpu,), source="detected")
    found = read(known, models=(QWEN,), gpus=(GpuAsk("RTX A6000"),))
    assert found.request is not None
    assert "A6000" in found.request.rig.gpus[0].name


def test_memory_in_use_is_applied_to_the_known_rig(read, gpus):
    known = Rig((gpus.find("RTX 3090").gpu,), source="detected")
    found = read(known, models=(QWEN,), reserved_gb=7.2)
    assert found.request is not None
    assert found.request.rig.gpus[0].reserved_bytes == round(7.2 * GIB)


def test_how_much_memory_a_model_needs_is_no_reason_to_ask_for_a_card(read):
    found = read(models=(QWEN,), intent="memory_needed")
    assert (found.request, found.asks) == (None, ())


def test_no_model_is_asked_for(read):
    assert codes(read(gpus=(GpuAsk("3090"),)).asks) == {"plan.ask_model"}
    assert codes(read(models=(ModelAsk(size_b=70),), gpus=(GpuAsk("3090"),)).asks) == {"plan.ask_model"}


def test_a_family_without_a_size_is_asked_about_with_suggestions(read):
    (ask,) = read(models=(ModelAsk("Qwen3"),), gpus=(GpuAsk("3090"),)).asks
    assert ask.code == "plan.ask_model_size"
    assert "Qwen3" in ask.params["suggestions"]


def test_a_size_alone_is_a_card_of_that_class(read):
    found = read(models=(QWEN,), gpus=(GpuAsk(memory_gb=98),))
    assert found.request is not None
    assert found.request.rig.gpus[0].memory_bytes == 97887 << 20
    assert any(note.code.startswith("specs.") for note in found.assumptions)


def test_alternatives_are_not_added_up(read):
    found = read(
        models=(QWEN, ModelAsk("Qwen3", 14.0)),
        models_relation="alternatives",
        gpus=(GpuAsk("3090"), GpuAsk("4090")),
        gpus_relation="alternatives",
    )
    assert found.request is not None
    assert (len(found.request.instances), len(found.request.rig.gpus)) == (1, 1)
    assert {"plan.first_of_models", "plan.first_of_gpus"} <= codes(found.assumptions)


def test_cards_are_spread_over_machines(read):
    found = read(models=(QWEN,), gpus=(GpuAsk("A10", count=8),), nodes=4)
    assert found.request is not None
    assert [gpu.node for gpu in found.request.rig.gpus] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.request.rig.nodes == 4


def test_another_engine_is_named_in_the_assumptions(read):
    found = read(models=(QWEN,), gpus=(GpuAsk("3090"),), engine="ktransformers")
    assert found.request is not None
    assert found.request.engine == "vllm"
    assert "plan.other_engine" in codes(found.assumptions)
    computed = read(models=(QWEN,), gpus=(GpuAsk("3090"),), engine="llama.cpp")
    assert computed.request is not None
    assert computed.request.engine == "llama.cpp"
    assert "plan.other_engine" not in codes(computed.assumptions)


def test_unknown_names_are_errors(read):
    with pytest.raises(UnknownModel):
        read(models=(ModelAsk("Zorblax-9000", 8.0),), gpus=(GpuAsk("3090"),))
    with pytest.raises(UnknownGpu):
        read(models=(QWEN,), gpus=(GpuAsk("Zorblax 9000"),))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"gpus": (GpuAsk("3090", count=-5),)}, "errors_plan.bad_gpus"),
        ({"gpus": (GpuAsk("3090", count=0),)}, "errors_plan.bad_gpus"),
        ({"gpus": (GpuAsk("3090", count=2000),)}, "errors_plan.bad_gpus"),
        ({"users": 0}, "errors_plan.bad_users"),
        ({"users": 10**9}, "errors_plan.bad_users"),
        ({"context": 10**12}, "errors_plan.bad_context"),
        ({"context": 0}, "errors_plan.bad_context"),
        ({"nodes": 0, "gpus": (GpuAsk("3090"),)}, None),
        ({"nodes": 100000, "gpus": (GpuAsk("3090"),)}, "errors_plan.bad_nodes"),
        ({"ram_gb": -3.0}, "errors_plan.bad_ram"),
        ({"models": (ModelAsk("Qwen3", 8.0, copies=65),)}, "errors_plan.bad_copies"),
        ({"models": (ModelAsk("Qwen3", 8.0, copies=-1),)}, "errors_plan.bad_copies"),
        ({"models": (ModelAsk("Qwen3", 8.0, copies=40),) * 2}, "errors_plan.bad_instances"),
    ],
)
def test_numbers_out_of_bounds_are_one_clear_error(read, fields, code):
    fields = {"models": (QWEN,), "gpus": (GpuAsk("3090"),)} | fields
    if code is None:
        assert read(**fields).request is not None
        return
    with pytest.raises(BadValue) as caught:
        read(**fields)
    assert caught.value.code == code


def test_a_context_somewhat_beyond_the_model_becomes_its_longest(read):
    found = read(models=(QWEN,), gpus=(GpuAsk("3090"),), context=65536)
    assert found.request is not None
    assert found.request.instances[0].context == found.request.instances[0].model.max_context == 40960
    assert "plan.context_capped" in codes(found.assumptions)


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("4bit", "int4"),
        ("4-bit", "int4"),
        ("4 bit", "int4"),
        ("int4", "int4"),
        ("инт4", "int4"),
        ("q4", "int4"),
        ("Q4_K_M", "int4"),
        ("UD-Q4_K_XL", "int4"),
        ("gguf", "any"),
        ("8bit", "fp8"),
        ("q8_0", "fp8"),
        ("Q6_K", "fp8"),
        ("int8", "int8"),
        ("fp8", "fp8"),
        ("full", "any"),
        ("full precision", "any"),
        ("non-quantized", "any"),
        ("bf16", "bf16"),
        ("fp16", "fp16"),
        ("16bit", "bf16"),
        ("AWQ", "awq"),
        ("4bpw", "int4"),
        ("exl2-4.0", "int4"),
        ("mlx-4bit", "int4"),
        ("1.58bit", "int4"),
        ("gptq", "int4"),
        ("nonsense", "any"),
    ],
)
def test_askers_words_for_precision(read, said, word):
    found = read(models=(ModelAsk("Qwen/Qwen3-8B", precision=said),), gpus=(GpuAsk("3090"),))
    assert found.request is not None
    assert found.request.instances[0].precision == word


def test_another_engines_format_is_replaced_and_said(read):
    found = read(models=(ModelAsk("Qwen3", 8.0, precision="Q4_K_M"),), gpus=(GpuAsk("3090"),))
    assert "plan.precision_mapped" in codes(found.assumptions)


def test_a_format_nobody_published_becomes_the_nearest_that_exists(read):
    found = read(models=(ModelAsk("01-ai/Yi-6B", precision="nvfp4"),), gpus=(GpuAsk("3090"),))
    assert found.request is not None
    assert found.request.instances[0].precision == "int4"
    assert "plan.precision_nearest" in codes(found.assumptions)


odd_numbers = st.none() | st.floats() | st.integers(-(10**15), 10**15)
asks = st.builds(
    ModelAsk,
    st.sampled_from(["Qwen3", "лама", "x; rm -rf /", "", "{a}", "Qwen/Qwen3-8B", None]),
    odd_numbers,
    st.none() | st.text(max_size=8),
    st.none() | st.text(max_size=12),
    st.none() | st.integers(-9, 99),
)
card_asks = st.builds(
    GpuAsk, st.sampled_from(["3090", "x; rm -rf /", "", "{b}", None]), odd_numbers, st.none() | st.integers(-9, 2000)
)


@given(
    st.lists(asks, max_size=2),
    st.lists(card_asks, max_size=2),
    st.fixed_dictionaries(
        {
            "context": st.none() | st.integers(-(10**13), 10**13),
            "users": st.none() | st.integers(-(10**9), 10**9),
            "nodes": st.none() | st.integers(-9, 9999),
            "ram_gb": st.none() | st.floats(),
            "reserved_gb": st.none() | st.floats(),
            "engine": st.none() | st.text(max_size=9),
            "kv_cache": st.none() | st.text(max_size=9),
        }
    ),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_reading_is_a_request_a_question_or_one_sentence(models, gpus, wanted, cards, rest):
    reading = Reading(models=tuple(wanted), gpus=tuple(cards), intent="fit", **rest)
    try:
        found = resolve(reading, models=models, gpus=gpus, rig=None)
    except RequestError as error:
        sentence = text("ru", error.code, **error.params)
    else:
        sentence = " ".join(text("ru", n.code, **n.params) for n in (*found.asks, *found.assumptions))
        assert found.request is not None or found.asks
    assert sentence
