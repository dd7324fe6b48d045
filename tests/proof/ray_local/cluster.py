"""Run a Serve configuration on a Ray of its own on this machine, until standard input ends.

Reads the configuration from the first line, as JSON; prints ``ready`` or why it is not.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
import sys
import tempfile
import time

LIMIT_S = 150.0
STORE_BYTES = 80 * 2**20


def main(cards: int, cores: int) -> None:
    """Start Ray, whose cards and cores are only counted, deploy as ``serve run`` does, wait, take all down again."""
    import ray
    from ray import serve
    from ray.serve._private import api
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(json.loads(sys.stdin.readline()))
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        ray.init(
            num_cpus=cores,
            num_gpus=cards,
            include_dashboard=False,
            object_store_memory=STORE_BYTES,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            namespace="serve",
        )
        client = api.serve_start(http_options=config.http_options.model_dump(), proxy_location=config.proxy_location)
        client.deploy_apps(config)
        print(_until_running(), flush=True)
        sys.stdin.read()
        serve.shutdown()
        ray.shutdown()


def _until_running() -> str:
    from ray import serve

    ends = time.monotonic() + LIMIT_S
    while time.monotonic() < ends:
        applications = serve.status().applications
        (one,) = applications.values() if applications else (None,)
        if one is not None and one.status == "RUNNING":
            return "ready"
        if one is not None:
            faults = [found.message for found in one.deployments.values() if "failed to start" in found.message]
            if faults or one.status == "DEPLOY_FAILED":
                return f"failed: {one.message} {faults}"
        time.sleep(0.2)
    return f"not running after {LIMIT_S:.0f} s: {serve.status()!r}".replace("\n", " ")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
