"""llama-server of build 11434, started with ``--verbosity 4``: its build, what it holds, that it runs."""

from __future__ import annotations

from tools.logs.read import read_log
from tools.units import MIB

LOG = """\
0.00.012.480 I cmn  common_param: common_params_print_info: build 11434 (unknown) with GNU 12.2.0 for Linux x86_64
0.00.025.982 I srv    load_model: loading model 'models/SmolLM2-135M-Instruct.Q4_1.gguf'
0.01.191.999 I load_tensors:   CUDA0 model buffer size =    92.10 MiB
0.01.209.675 I llama_context:      CUDA0  output buffer size =     0.75 MiB
0.01.209.756 I llama_kv_cache:      CUDA0 KV buffer size =    22.50 MiB
0.01.303.121 I sched_reserve:      CUDA0 compute buffer size =    15.64 MiB
0.06.576.888 I srv  llama_server: model loaded
0.06.576.894 I srv  llama_server: listening on http://127.0.0.1:8000
"""


def test_the_newest_wording_is_read():
    log = read_log(LOG)
    assert log is not None
    assert (log.engine, log.version, log.phase) == ("llama.cpp", "11434", "running")
    assert log.failure is None
    assert log.ranks["CUDA0"].kv_bytes == 22.5 * MIB
