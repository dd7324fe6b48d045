"""Generated configs for comparing the calculator with vLLM's own model code, a module for each group of families.

A case is what ``tools/vram/probe.py`` reads, with an ``id`` of its own::

    {"id": "llama-tp2", "config": {...config.json...}, "tp": 2}

and any of ``quant_config``, ``pp``, ``ep``, ``dp``, ``dtype``, ``kv_dtype``, ``max_model_len``, ``max_num_seqs``,
``max_num_batched_tokens``, ``arguments``. ``pool_bytes`` is 16 GiB unless it says otherwise; ``"capability": "10.0"``
asks for another card. A module has ``cases()``, which yields them; most have a table ``FAMILIES`` and pass it to
``parts.over_ranks``, which makes a case for 1, 2, 4 and 8 ranks of each. Configs are small and odd: few layers, sizes
that divide badly.

``python tests/vllm/generated.py [PART OF AN ID]`` prints the JSON lines that the probe reads.
"""
