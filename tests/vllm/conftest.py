"""These tests ask a real vLLM; without ``RIGFIT_VLLM_PYTHON`` (its interpreter) they are not even collected."""

import os

collect_ignore_glob = [] if os.environ.get("RIGFIT_VLLM_PYTHON") else ["test_*.py"]
