"""Ray beside vLLM in one interpreter: vLLM's environment, and Ray's packages after it.

Python imports this by itself where the folder is on PYTHONPATH; Ray's workers inherit that.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

_PACKAGES = Path(sysconfig.get_path("purelib"))
sys.path.append(str(Path(__file__).parents[3] / ".proof" / _PACKAGES.relative_to(sys.prefix)))
