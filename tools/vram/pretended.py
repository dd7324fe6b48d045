"""Let vLLM's model code run where there is no GPU: a pretended CUDA card, and stand-ins for what a CPU build has not.

Imported by ``probe.py`` alone, within vLLM's environment. No kernel ever runs: only shapes and types are read.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import tempfile
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

GIB = 1 << 30
DEFAULT_MEMORY = 80 * GIB
STAND_INS = (
    "torchvision",
    "torchaudio",
    "vllm._C_stable_libtorch",
    "vllm._moe_C_stable_libtorch",
)
"""Modules a CPU build has not, or that can't be imported without a driver; whatever is asked of them does nothing."""
REPLACED = ("torchcodec",)
"""Lent only in place of one that does not work; where there is none, libraries do without."""
ATTENTION = ("vllm.vllm_flash_attn._vllm_fa2_C", "vllm.vllm_flash_attn._vllm_fa3_C")
"""Always lent: their package can't be imported without either."""
LATE_STAND_INS = (
    "cuda",
    "cutlass",
    "deep_gemm",
    "flashinfer",
    "flashinfer_cubin",
    "quack",
    "tilelang",
    "vllm._flashkda_C",
    "vllm._flashmla_C",
    "vllm._flashmla_extension_C",
    "vllm.third_party.flashmla",
    "vllm.vllm_flash_attn.cute",
)
"""Lent once vLLM is imported, for its libraries look whether these are there; in place of real ones, too."""


class Nothing:
    """Takes every call, attribute and subscript, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __call__(self, *args: Any, **_: Any) -> Any:
        """Return a decorated function as it is."""
        return args[0] if len(args) == 1 and callable(args[0]) else self

    def __getitem__(self, _: Any) -> Any:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __or__(self, _: Any) -> Any:
        return self

    __ror__ = __or__

    def __mro_entries__(self, _: Any) -> tuple[type, ...]:
        return ()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class Operator(Nothing):
    """A kernel that is not built; "is this supported?" is answered yes."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        """Say yes."""
        return True


class TuningChoice:
    """Triton's description of one way to launch a kernel."""

    def __init__(self, kwargs: dict[str, Any], num_warps: int = 4, num_stages: int = 3, **_: Any) -> None:
        self.kwargs, self.num_warps, self.num_stages = kwargs, num_warps, num_stages


class StandIn(types.ModuleType):
    """A module that has every attribute."""

    __path__: Sequence[str] = ()
    __version__ = "0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for what no other finder knows; ``names`` are the modules lent."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, *_: Any) -> importlib.machinery.ModuleSpec | None:
        """Return a specification for the modules lent and what lies under them."""
        if any(fullname == name or fullname.startswith(f"{name}.") for name in self.names):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make the empty module."""
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing."""


def can_import(name: str) -> bool:
    """Whether a module is there and works; built for CUDA, it may be there and lack the driver's library."""
    try:
        importlib.import_module(name)
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def lend_missing_kernels() -> None:
    """Give torch's operator tables every name, and let streams and fake kernels be made for what is not there."""
    import torch
    from torch import _ops

    known, register = _ops._OpNamespace.__getattr__, torch.library.register_fake

    def operator(namespace: Any, name: str) -> Any:
        try:
            return known(namespace, name)
        except AttributeError:
            if name.startswith("__") or not namespace.name.startswith("_"):
                raise
            return Operator()

    def tolerant(op: Any, function: Any = None, /, **rest: Any) -> Any:
        def decorate(implementation: Any) -> Any:
            try:
                return register(op, implementation, **rest)
            except RuntimeError:
                return implementation

        return decorate if function is None else decorate(function)

    _ops._OpNamespace.__getattr__ = operator
    torch.library.register_fake = tolerant
    if not torch.cuda.is_available():
        for name in ("Stream", "Event"):
            setattr(torch.cuda, name, Nothing)
        for name in ("current_stream", "default_stream", "synchronize"):
            setattr(torch.cuda, name, lambda *_, **__: Nothing())
        torch.cuda.current_device = lambda: 0
        torch.accelerator.current_device_index = lambda: 0
        torch.accelerator.empty_cache = lambda: None


def pretend_card(capability: tuple[int, int], memory: list[int]) -> None:
    """Make vLLM believe in a CUDA card of this capability; ``memory`` holds its size in bytes and may be changed."""
    from vllm import platforms
    from vllm.platforms import cuda, interface

    communicator = "vllm.distributed.device_communicators.cpu_communicator.CpuCommunicator"
    answers: dict[str, Callable[..., Any]] = {
        "get_device_capability": lambda *_, **__: interface.DeviceCapability(*capability),
        "get_device_name": lambda *_, **__: "NVIDIA H100",
        "get_device_total_memory": lambda *_, **__: memory[0],
        "is_fully_connected": lambda *_, **__: True,
        "num_compute_units": lambda *_, **__: 132,
        "is_integrated_gpu": lambda *_, **__: False,
        "is_pin_memory_available": lambda *_, **__: False,
        "device_count": lambda *_, **__: 1 << 12,
        "log_warnings": lambda *_, **__: None,
        "get_device_communicator_cls": lambda *_, **__: communicator,
    }
    methods = {name: staticmethod(answer) for name, answer in answers.items()}
    platforms._current_platform = type("PretendedCard", (cuda.CudaPlatformBase,), methods)()
    from vllm import triton_utils
    from vllm.triton_utils import importing
    from vllm.vllm_flash_attn import flash_attn_interface

    if not importing.HAS_TRITON:
        importing.HAS_TRITON = triton_utils.HAS_TRITON = True
        triton_utils.triton.Config = TuningChoice
        triton_utils.triton.set_allocator = lambda *_: None
        triton_utils.triton.runtime = types.SimpleNamespace(autotuner=types.SimpleNamespace(Autotuner=TuningChoice))
    versions = {9: (2, 3), 10: (2, 4)}.get(capability[0], (2,))
    flash_attn_interface.is_fa_version_supported = lambda version, *_, **__: version in versions
    flash_attn_interface.fa_version_unsupported_reason = lambda *_, **__: None


def lift_kernel_checks() -> None:
    """Register tensors as a checkpoint has them: kernels for every format, no padding for one kernel's sake."""
    from vllm.model_executor.layers.fused_moe import expert_map_manager
    from vllm.model_executor.layers.fused_moe.oracle import mxfp4
    from vllm.model_executor.models import registry

    registry._run_in_subprocess = lambda function: function()
    expert_map_manager.ExpertMapManager.get_compressed_map_string = lambda _: ""  # a log's; it would read the tensor
    rounded = mxfp4.mxfp4_round_up_hidden_size_and_intermediate_size
    plain = mxfp4.Mxfp4MoeBackend.EMULATION
    for module in [module for name, module in sys.modules.items() if name.startswith("vllm.")]:
        if vars(module).get(rounded.__name__) is rounded:
            setattr(module, rounded.__name__, lambda _, *sizes, **__: rounded(plain, *sizes[:2]))


def lift_processor_checks() -> None:
    """Count a model as one that sees or hears where only a processor with its tokenizer could tell which it does."""
    from vllm.config import ModelConfig

    asked = ModelConfig._supports_multimodal_inputs

    def supports(model: Any) -> bool:
        try:
            return asked(model)
        except (AttributeError, ImportError, OSError, ValueError):
            return True

    ModelConfig._supports_multimodal_inputs = supports


def lift_host_tables() -> None:
    """Leave out the tables that the engine keeps in the computer's memory (Qwen3.8-Flash-Next's n-grams)."""
    import torch
    from vllm.models.qwen4_exp.common import ngram_embedding as tables

    def left_out(_: Any, _rows: int, width: int, dtype: Any) -> Any:
        return torch.empty(0, width, dtype=dtype)

    tables.is_uva_available = lambda: True
    tables.triton = types.SimpleNamespace(next_power_of_2=lambda n: 1 << (n - 1).bit_length())
    tables.get_accelerator_view_from_cpu_tensor = lambda tensor: tensor
    tables.Qwen4ExpPLEPinnedHostEmbedding.allocate_embedding_weight = left_out


def set_up(capability: str) -> tuple[dict[str, Any], list[int]]:
    """Start one-process groups whose sizes can be pretended.

    Returns:
        The groups by their name, and the card's memory as a list of one number that may be changed.
    """
    memory = [DEFAULT_MEMORY]
    sys.meta_path.insert(0, StandInFinder(ATTENTION))
    lend_missing_kernels()
    lacking = [name for name in (*STAND_INS, *filter(importlib.util.find_spec, REPLACED)) if not can_import(name)]
    sys.meta_path.insert(0, StandInFinder(lacking))
    major, _, minor = capability.partition(".")
    pretend_card((int(major), int(minor or 0)), memory)
    import torch
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.distributed import parallel_state
    from vllm.v1.worker import workspace

    with set_current_vllm_config(VllmConfig()):
        rendezvous = f"file://{tempfile.mkdtemp()}/store"
        parallel_state.init_distributed_environment(1, 0, rendezvous, 0, "gloo")
        parallel_state.initialize_model_parallel(1, 1)
    workspace.init_workspace_manager(torch.device("meta"))
    sys.meta_path.insert(0, StandInFinder(LATE_STAND_INS))
    lift_kernel_checks()
    lift_processor_checks()
    return {name: getattr(parallel_state, f"_{name.upper()}") for name in ("tp", "pp", "dp", "ep")}, memory


@contextmanager
def pretended_ranks(groups: dict[str, Any], case: dict[str, Any], stage: int) -> Iterator[None]:
    """Set the sizes of the parallel groups as rank 0 of a pipeline stage sees them."""
    tp, pp, dp = (int(case.get(name, 1)) for name in ("tp", "pp", "dp"))
    for name, (size, rank) in {"tp": (tp, 0), "pp": (pp, stage), "dp": (dp, 0), "ep": (tp * dp, 0)}.items():
        group = groups[name]
        group.world_size, group.rank_in_group, group.rank, group.ranks = size, rank, rank, list(range(size))
    try:
        yield
    finally:
        for group in groups.values():
            group.world_size, group.rank_in_group, group.rank, group.ranks = 1, 0, 0, [0]


@contextmanager
def on_meta() -> Iterator[None]:
    """Make tensors on the meta device, also those that ask for the card by name."""
    import torch
    from torch.overrides import TorchFunctionMode

    def moved(value: Any) -> Any:
        device = value if isinstance(value, str | torch.device) else ""
        return "meta" if str(device).partition(":")[0] == "cuda" else value

    class ToMeta(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = {name: moved(value) for name, value in (kwargs or {}).items()}
            if isinstance(named.get("device"), int):
                named["device"] = "meta"
            return func(*map(moved, args), **named)

    with torch.device("meta"), ToMeta():
        yield
