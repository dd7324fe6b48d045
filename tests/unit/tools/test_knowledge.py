"""The knowledge base: complete in both languages, its figures computed, every entry found as people ask."""

from __future__ import annotations

import ast
import operator
import re

import pytest

from prompts import LANGUAGES
from tools.knowledge import VLLM_VERSION, entries, find, is_outside

# ruff: noqa: E501
PARAPHRASES = {
    "awq": ("what's awq quantization", "что за AWQ такой", "explain activation aware quantization of weights"),
    "gptq": ("what is a gptq model", "что такое GPTQ", "how does GPTQ quantize layer by layer"),
    "nvfp4": ("what is nvfp4", "объясни nvfp4 на blackwell", "NVIDIA fp4 what is that"),
    "mxfp4": ("what's mxfp4 in gpt-oss", "что такое mxfp4", "how does mxfp4 work"),
    "fp8": ("what is fp8", "что такое фп8", "how does fp8 work on ampere"),
    "bitsandbytes": ("what is bnb", "что такое bitsandbytes", "why is bitsandbytes slow"),
    "gguf": ("what does Q4_K_M mean", "что такое gguf", "what are gguf quants"),
    "exl": ("what is exl3", "что такое EXL2", "explain exllama formats"),
    "four_bits": ("why are 4 bits not 4 bytes", "почему 4 бита это не 4 байта", "bits vs bytes"),
    "which_quant": ("which quantization is the best to take", "какой квант лучше взять", "what quant should I choose"),
    "tp_three": ("why does tp 3 fail?", "почему tp 3 не работает?", "why must attention heads be divisible"),
    "tp_pp": ("difference between tp and pp", "чем tp отличается от pp", "what is tensor parallelism"),
    "expert_parallel": ("what is expert parallel", "что такое экспертный параллелизм", "what does --enable-expert-parallel do"),
    "data_parallel": ("what is data parallel", "что такое data parallel", "why use data parallelism"),
    "nvlink": ("is nvlink needed, why", "зачем нужен нвлинк", "what is NVLink for"),
    "pcie": ("why does pcie speed matter", "почему важна скорость pcie", "what is the difference between pcie x8 and x16"),
    "gb_gib": ("why is GB not GiB?", "чем гигабайт отличается от гибибайта", "difference between GB and GiB"),
    "unified_memory": ("what is unified memory", "что такое единая память", "how does unified memory work on strix halo"),
    "wsl": ("how does vllm work on windows", "что такое wsl2", "why is memory halved in wsl2"),
    "ecc": ("what is ecc", "зачем нужен ECC", "why does ecc lower memory"),
    "driver_reserve": ("why is some vram reserved by driver", "почему не вся видеопамять доступна", "why missing vram"),
    "modded": ("what is a modded card", "что такое модифицированные карты", "what is a modified gpu"),
    "rocm": ("what is rocm", "как работает vllm на amd", "how does vllm work on AMD"),
    "kv_cache": ("what is the KV cache", "что такое кв кэш", "why does the key-value cache grow"),
    "gqa": ("what is gqa", "что такое GQA", "explain grouped query attention"),
    "mla": ("what is mla", "что такое MLA", "explain multi head latent attention"),
    "moe": ("what are active parameters", "что такое активные параметры", "explain mixture of experts"),
    "sleep_levels": ("what is sleep level 2?", "что такое sleep level 2", "how does vllm sleep work"),
    "gpu_memory_utilization": ("what is gpu_memory_utilization", "что такое gpu-memory-utilization", "what does gpu memory utilization do"),
    "kv_cache_memory": ("what is kv-cache-memory-bytes", "что такое kv-cache-memory-bytes", "what does --kv-cache-memory-bytes do"),
    "max_model_len": ("what is max-model-len", "что такое max model len", "what does --max-model-len mean"),
    "max_num_seqs": ("what is max_num_seqs", "что значит max-num-seqs", "what does --max-num-seqs do"),
    "concurrency": ("what is maximum concurrency in the log", "что такое concurrency", "how does vllm concurrency work"),
    "vllm_takes_all": ("why does vllm take all memory", "почему vllm забирает всю память", "why vllm uses all my vram"),
    "two_engines": ("why can't I start two vllm on one gpu", "как работают два движка на одной карте", "two engines on one card how"),
    "start_order": ("why does start order matter", "почему важен порядок запуска", "what is the start order of engines"),
    "swap_together": ("а чем swap отличается от together?", "swap vs together", "what is swap mode"),
    "cpu_offload": ("what is cpu offload", "что такое --cpu-offload-gb", "how does offloading weights to RAM work"),
    "kv_offload": ("what is kv offload", "что такое LMCache", "what does --kv-offloading-size do"),
    "kv_quant": ("what is a quantized kv cache", "что такое квантованный kv-кэш", "what does --kv-cache-dtype do"),
    "oom_start": ("why OOM at start", "почему OOM при старте", "why is there no available memory for cache blocks"),
    "oom_later": ("why out of memory later", "почему OOM через несколько часов", "why oom while running"),
    "lora_memory": ("how does lora memory work", "зачем LoRA столько памяти", "what does --enable-lora reserve"),
    "cuda_graphs": ("what are CUDA graphs", "что такое CUDA-графы", "why cudagraph capture"),
    "enforce_eager": ("what is enforce eager", "что делает, объясни --enforce-eager", "what does eager mode do"),
    "prefix_caching": ("what is prefix caching", "что такое кэширование префикса", "how does automatic prefix caching work"),
    "chunked_prefill": ("what is chunked prefill", "что такое chunked prefill", "how does chunked prefill help"),
    "speculative": ("how fast is MTP?", "насколько MTP ускоряет?", "what is MTP", "что такое спекулятивное декодирование", "how does speculative decoding work"),
    "bandwidth": ("how do tokens per second follow from bandwidth", "как скорость зависит от пропускной способности памяти", "why does memory bandwidth limit speed"),
    "prefill_decode": ("difference between prefill and decode", "чем prefill отличается от decode", "what is prefill"),
    "ttft": ("what is TTFT", "что такое время до первого токена", "why is the time to first token long"),
    "yarn": ("what is YaRN", "что такое YaRN", "how does context extension work"),
    "ollama_context": ("why does ollama cut context", "что такое num_ctx", "what is the ollama default context length"),
    "llamacpp_offload": ("what is -ngl", "что такое --n-cpu-moe", "what does n-gpu-layers mean"),
    "sglang_fraction": ("what is mem-fraction-static", "что такое mem-fraction-static", "what does --mem-fraction-static cover"),
    "engines": ("vllm or ollama for one person", "сравни vllm и ollama", "which engine should I choose"),
    "quant_quality": ("does quantization hurt quality?", "насколько падает качество в 4 битах?", "is 4 bit good enough"),
    "mixing_cards": ("can I mix a 3090 and a 4090?", "можно ли объединить 3090 и 4060?", "can I combine two different cards"),
    "cpu_inference": ("can I run a model on the CPU", "можно ли запустить модель без видеокарты", "inference without a GPU"),
    "comfortable_speed": ("how many tokens per second is comfortable?", "сколько токенов в секунду комфортно", "is 20 tokens per second enough"),
    "token": ("what is a token?", "сколько слов в токене", "how many pages is 32k context"),
    "base_instruct": ("what is an instruct model", "чем base отличается от instruct?", "base vs instruct"),
    "several_machines": ("one model over several machines", "одна модель на нескольких машинах", "multi-node inference"),
    "training": ("how do I fine-tune Qwen3-8B on a 4090?", "сколько памяти нужно чтобы дообучить llama 8b через qlora?", "train a LoRA"),
    "image_models": ("can I run FLUX on my 3060?", "генерация картинок на 4070", "stable diffusion on 8 GB"),
    "video_models": ("wan 2.2 video on a 4090", "потянет ли 4090 wan 2.1 видео?", "video generation"),
    "speech_models": ("can I run whisper on a 3090?", "распознавание речи на 3060", "text to speech"),
    "prices": ("how much does it cost to run llama 70b in the cloud?", "сколько стоит аренда h100", "rent a GPU"),
    "smarter": ("which model is smarter, Qwen3-32B or Llama-3.3-70B?", "какая модель умнее", "benchmark scores of models"),
    "parsers": ("what is a reasoning parser", "что такое парсер рассуждений", "what does --tool-call-parser do"),
}  # fmt: skip
NOT_IN_IT = (
    "what is the capital of France?",
    "what is a flux capacitor?",
    "Qwen3-32B on a 3090?",
    "which model for my 4070",
    "что такое осень",
    "what is love",
    "",
    "why?",
    "привет",
)
OPERATIONS = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow,
}  # fmt: skip


def computed(node: ast.expr) -> float:
    """Compute plain arithmetic."""
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](computed(node.left), computed(node.right))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, (int, float))
    return node.value


def together(text: str) -> str:
    """Close up the thousands of a text: ``32,768`` and ``32 768`` are ``32768``."""
    return re.sub(r"(?<=\d)[,\s\u00a0](?=\d{3}\b)", "", text)


def test_there_are_enough_entries_each_with_paraphrases() -> None:
    assert len(entries()) >= 45
    assert PARAPHRASES.keys() == entries().keys()


@pytest.mark.parametrize("key", entries())
def test_an_entry_is_whole(key: str) -> None:
    entry = entries()[key]
    for language in LANGUAGES:
        assert entry.names[language]
        sentences = re.findall(r"[.!?](?:\s|$)", entry.answer[language])
        assert 3 <= len(sentences) <= 8, (key, language, len(sentences))
    assert re.search("[а-я]", entry.answer["ru"])
    assert entry.sources
    assert all(s.url.startswith("https://") and s.title and s.supports for s in entry.sources)
    assert set(entry.related) <= entries().keys() - {key}


@pytest.mark.parametrize("key", entries())
def test_both_languages_state_the_same_figures(key: str) -> None:
    sized = re.compile(r"\d+(?:\.\d+)?(?= ?(?:GiB|KiB|MiB|GB))")
    english, russian = (set(sized.findall(together(entries()[key].answer[language]))) for language in LANGUAGES)
    assert english == russian


@pytest.mark.parametrize("key", [k for k, e in entries().items() if e.worked])
def test_figures_are_what_their_arithmetic_gives(key: str) -> None:
    entry = entries()[key]
    for line in entry.worked:
        formula, _, result = line.rpartition(" = ")
        digits = len(result.partition(".")[2])
        assert round(computed(ast.parse(formula, mode="eval").body), digits) == float(result), line
        for text in entry.answer.values():
            assert result in together(text), (line, text)


@pytest.mark.parametrize("key", entries())
def test_an_entry_is_found_by_each_of_its_names(key: str) -> None:
    for language, ask in (("en", "what is {}?"), ("ru", "что такое {}?")):
        for name in entries()[key].names[language]:
            found = [match.entry.id for match in find(ask.format(name))]
            assert key in found, (name, found)


@pytest.mark.parametrize("key", PARAPHRASES)
def test_an_entry_is_found_by_paraphrases(key: str) -> None:
    for asked in PARAPHRASES[key]:
        found = [match.entry.id for match in find(asked)]
        assert found[:1] == [key], (asked, found)


@pytest.mark.parametrize("asked", NOT_IN_IT)
def test_what_is_not_in_it_is_not_found(asked: str) -> None:
    assert find(asked) == ()


def test_a_difference_between_two_entries_finds_both() -> None:
    assert {match.entry.id for match in find("what is the difference between AWQ and GPTQ?")} == {"awq", "gptq"}


def test_a_huge_question_is_read_in_part() -> None:
    assert find("what is AWQ? " + "x " * 1_000_000)[0].entry.id == "awq"


def test_what_was_read_of_vllm_is_one_release() -> None:
    of_vllm = [s for e in entries().values() for s in e.sources if "vllm/blob" in s.url]
    assert len(of_vllm) > 20
    assert all(f"/v{VLLM_VERSION}/" in source.url and source.read == VLLM_VERSION for source in of_vllm)


@pytest.mark.parametrize(("name", "outside"), [("Whisper", True), ("flux.1", True), ("Qwen3", False), ("", False)])
def test_what_is_outside_is_known_by_name(name: str, outside: bool) -> None:
    assert is_outside(name) is outside


def test_what_is_outside_says_what_can_be_answered() -> None:
    outside = [entry for entry in entries().values() if entry.outside]
    assert {entry.id for entry in outside} >= {"training", "image_models", "video_models", "speech_models", "prices"}
    for entry in outside:
        assert re.search(r"What I can|I do compute|Tell me the card", entry.answer["en"]), entry.id
        assert re.search(r"Что могу|я считаю|Назовите карту", entry.answer["ru"]), entry.id
