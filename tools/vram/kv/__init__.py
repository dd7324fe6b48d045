"""KV cache and state memory by vLLM's block and page arithmetic.

``specs`` is what a layer asks for, ``types`` the bytes of a cached element, ``rules`` the engine's versions,
``groups`` which layers share block tables, ``plan`` what a sequence takes and a pool holds, ``deployed`` all of it
for a deployment.
"""

from tools.vram.kv.groups import Cache, Group
from tools.vram.kv.plan import CacheFlags, CachePlan, plan
from tools.vram.kv.rules import KvRules, kv_rules
from tools.vram.kv.specs import BLOCK_TOKENS, CacheContext, KvSpec
from tools.vram.kv.types import element_bytes, pair_bytes

__all__ = [
    "BLOCK_TOKENS",
    "Cache",
    "CacheContext",
    "CacheFlags",
    "CachePlan",
    "Group",
    "KvRules",
    "KvSpec",
    "element_bytes",
    "kv_rules",
    "pair_bytes",
    "plan",
]
