"""These tests ask a real vLLM; without ``RIGFIT_VLLM_PYTHON`` (its interpreter) they are not even collected.

Those that start engines run one after the other in one process (``--dist loadgroup``), beside those that only ask
vLLM's code: an engine takes 2.4 GB and half a minute of two cores to start.
"""

import os

import pytest

collect_ignore_glob = [] if os.environ.get("RIGFIT_VLLM_PYTHON") else ["test_*.py"]
ENGINES = "engines"
WITHOUT_ENGINES = {"test_generated", "test_literal_configs", "test_room_like_engine"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start engines first, and each module into a group."""
    for item in items:
        group = item.path.stem if item.path.stem in WITHOUT_ENGINES else ENGINES
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.path.stem in WITHOUT_ENGINES)
