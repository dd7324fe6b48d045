"""These tests ask a real vLLM; without ``RIGFIT_VLLM_PYTHON`` (its interpreter) they are not even collected.

Those that start engines are marked so: an engine takes 2.4 GB and half a minute of two cores to start, so that they
run one after the other (``-m engines -n 0``), and the others, which only ask vLLM's code, beside each other.
"""

import os

import pytest

collect_ignore_glob = [] if os.environ.get("RIGFIT_VLLM_PYTHON") else ["test_*.py"]
WITHOUT_ENGINES = {"test_generated", "test_literal_configs", "test_room_like_engine"}


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark."""
    config.addinivalue_line("markers", "engines: starts real engines")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what starts engines."""
    if item.path.parent.name == "vllm" and item.path.stem not in WITHOUT_ENGINES:
        item.add_marker("engines")
