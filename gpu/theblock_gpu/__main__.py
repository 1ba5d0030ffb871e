"""`python -m theblock_gpu --config FILE`: run the prover beside a compute provider's node."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import signal
import sys
from pathlib import Path

from theblock_gpu import config as configs
from theblock_gpu.backends import open_backends
from theblock_gpu.config import EXIT_BAD_CONFIG, EXIT_LOST, BadConfig, Config
from theblock_gpu.metrics import Metrics
from theblock_gpu.proving import Proving
from theblock_gpu.worker import Prover, serve

log = logging.getLogger("prover")


def main() -> int:
    parser = argparse.ArgumentParser(prog="theblock_gpu", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the prover's prover.json")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        config = configs.load(arguments.config)
    except BadConfig as refused:
        print(f"bad config: {refused}", file=sys.stderr)
        return EXIT_BAD_CONFIG
    # Memory holds wires, which are secret.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return asyncio.run(run(config))


async def run(config: Config) -> int:
    """Check the back ends, then serve until SIGTERM or SIGINT, or until a device is lost."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    backends = await asyncio.to_thread(open_backends, config, metrics)
    prover = Prover(backends, metrics, Proving(backends, metrics, cache_bytes=config.cache_bytes))
    if config.self_check:
        checked = await prover.self_check()
        if not checked.passed:
            log.error("the self-check came to %s, not %s", checked.digest.hex(), checked.expected.hex())
    else:
        backends.trust()
    if config.metrics:
        metrics.serve(config.host, config.metrics)
    log.info("prover computes with %s %s", backends.backend, backends.fallback_reason)
    async with serve(prover, config.socket), asyncio.TaskGroup() as group:
        watching = group.create_task(prover.watch_devices())
        waits = [group.create_task(event.wait()) for event in (stop, prover.lost)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, *waits):
            task.cancel()
    if backends.lost:
        log.error("a device is lost to this process, which ends so that another one gets it: %s", backends.lost)
        logging.shutdown()
        # A thread may hang in the driver, and would keep an orderly end waiting.
        os._exit(EXIT_LOST)
    return 0


if __name__ == "__main__":
    sys.exit(main())
