"""`python -m theblock_operator`: become leader, then look after the resources of some namespaces until told to stop.

Exit codes: 0 after SIGTERM or SIGINT, 1 when the Lease or a watch was lost, 2 for bad flags, 3 without a cluster.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from theblock_operator import access, logs, settings, watch
from theblock_operator.access import Access, AccessError
from theblock_operator.cluster import Cluster
from theblock_operator.controller import Controller, Settings
from theblock_operator.leader import Leader, LeaseLost, acquire_all
from theblock_operator.metrics import CertificateReader, Metrics
from theblock_operator.metrics_api import MetricsApi, Place
from theblock_operator.serve import serve
from theblock_operator.settings import Config
from theblock_operator.watch import Sweep, WatchDeaf

log = logging.getLogger("theblock_operator")
LOST, NO_CLUSTER = 1, 3
WATCH_AGE_MAX_S = 600.0
"""A watch that is silent begins anew much earlier; if that does not help, the process does."""
EXIT_S = 4.0
"""Between giving the Lease up and the earliest moment that another may lead, less a second."""
FIGURES_S = 10.0
"""So fresh is what autoscalers see; the controller that asks comes every 15 seconds."""


class Stopped(Exception):
    """Somebody asked us to end."""


class Process:
    """The parts of one run, and how it is going."""

    def __init__(self, config: Config, api: Cluster, metrics: Metrics) -> None:
        self._config = config
        self._api = api
        self._metrics = metrics
        self._stop = asyncio.Event()
        self._leads = False
        self._works = False
        self.controller = Controller(
            api,
            Settings(
                config.run_dir,
                (config.image, config.prover_image),
                config.watches_nodes,
                figures_s=FIGURES_S if config.metrics_api else None,
            ),
            meter=metrics,
        )
        self.leaders = [
            Leader(api, namespace, config.identity, led=metrics.led) for namespace in sorted(config.namespaces)
        ]
        certificates = CertificateReader()
        secrets = self.controller.observer.secrets
        metrics.follow_queue(lambda: self.controller.queue.depth, lambda: self.controller.queue.oldest_seconds)
        metrics.follow_watches(api.watch_age)
        metrics.follow_accelerators(lambda: self.controller.cache.all("ComputeProvider"))
        metrics.follow_certificates(lambda: certificates.read(secrets.known()), lambda: int(time.time()))

    def sick(self) -> str | None:
        age = self._api.watch_age()
        return f"a watch has been silent for {age:.0f} s" if age > WATCH_AGE_MAX_S else None

    def unready(self) -> str | None:
        """Who waits for the Lease is ready: it is the next in line."""
        is_complete = self._works and self.controller.cache.is_synced()
        return "its first lists are not complete" if self._leads and not is_complete else None

    async def run(self, access_: Access) -> None:
        """Until stopped or lost; both come as exceptions."""
        self._listen_to_signals()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._wait_stop())
            if self._config.metrics_api:
                tasks.create_task(self._metrics_api(access_.namespace).run())
            await watch.wait_kinds(self._api)
            await acquire_all(self.leaders)
            self._leads = True
            for leader in self.leaders:
                tasks.create_task(leader.hold())
            cache, namespaces = self.controller.cache, self._config.namespaces
            tasks.create_task(watch.run(cache, access_, namespaces, self._listen_to_signals))
            await watch.wait_told(self._api, cache, namespaces)
            tasks.create_task(Sweep(self._api, cache, namespaces).run())
            tasks.create_task(self.controller.run(namespaces, own_kinds=False))
            self._works = True

    def _metrics_api(self, namespace: str) -> MetricsApi:
        config = self._config
        place = Place(config.metrics_api, namespace, config.namespaces, config.listen, config.metrics_api_port)
        return MetricsApi(self._api, place)

    async def release(self) -> None:
        for leader in self.leaders:
            await leader.release()

    async def _wait_stop(self) -> None:
        await self._stop.wait()
        raise Stopped

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)


async def run(config: Config, access_: Access) -> int:
    metrics, code = Metrics(), 0
    async with Cluster(access_, meter=metrics) as api:
        process = Process(config, api, metrics)
        async with serve(config.listen, config.port, metrics, sick=process.sick, unready=process.unready):
            try:
                await process.run(access_)
            except* Stopped:
                log.info("stopped")
            except* (LeaseLost, WatchDeaf, TimeoutError) as lost:
                _exit_soon()
                log.error("ends: %s", "; ".join(str(each) or type(each).__name__ for each in lost.exceptions))
                code = LOST
            finally:
                await process.release()
    return code


def _exit_soon() -> None:
    """Whatever a library still waits for, a process that does not lead is gone in time."""
    timer = threading.Timer(EXIT_S, os._exit, (LOST,))
    timer.daemon = True
    timer.start()


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        access_ = access.find(environment)
    except AccessError as missing:
        if "-h" in arguments or "--help" in arguments:
            access_ = Access("")
        else:
            print(f"theblock_operator: {missing}", file=sys.stderr)
            return NO_CLUSTER
    config = settings.read(arguments, environment, default_namespace=access_.namespace)
    logs.configure(config.log_level)
    log.info("watches %s as %s", ", ".join(config.namespaces), config.identity)
    with suppress(KeyboardInterrupt):
        return asyncio.run(run(config, access_))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
