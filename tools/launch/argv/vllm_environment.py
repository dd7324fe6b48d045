"""The environment that an engine of vLLM is started with: built here once for scripts, units and containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.launch.job import Unit


def vllm_environment(unit: Unit, *, cpu: bool = False, pick_cards: bool = True) -> dict[str, str]:
    """Return variables by name; secrets are not among them (``VLLM_API_KEY``, ``HF_TOKEN``).

    ``VLLM_CPU_KVCACHE_SPACE`` must not be set beside them: it silently wins over ``--kv-cache-memory-bytes``
    (``CpuPlatform.check_and_update_config``, vLLM 0.32.0).

    Args:
        unit: the engine.
        cpu: it runs on the processor.
        pick_cards: name the cards by their numbers on the machine; False where a container sees no others.

    Example:
        ``{"VLLM_NO_USAGE_STATS": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "0,1"}``.
    """
    found = {"VLLM_NO_USAGE_STATS": "1"}
    if cpu:
        # cores are left to the operating system: bound to the same ones, two engines would wait for each other
        return found | {"VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    cards = ",".join(map(str, unit.devices))
    if unit.vendor == "amd":
        found["HIP_VISIBLE_DEVICES"] = cards
    elif pick_cards:
        # as nvidia-smi counts them
        found |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": cards}
    if unit.can_sleep:
        # the routes /sleep and /wake_up (vllm/entrypoints/launchers/api_server/routers.py)
        found["VLLM_SERVER_DEV_MODE"] = "1"
        # the pool that sleep frees can't have them (pytorch/pytorch#147851; vllm-project/vllm#11743: nothing is freed)
        found["PYTORCH_ALLOC_CONF"] = "expandable_segments:False"
    layers = unit.instance.deployment.pp_layers
    if layers:
        found["VLLM_PP_LAYER_PARTITION"] = ",".join(map(str, layers))
    return found
