"""A task in progress: how far it is, and whether it is still wanted. Threads and the event loop both look."""

from __future__ import annotations

import threading

from theblock_gpu.hash import Stopped


class Work:
    def __init__(self) -> None:
        self.stage, self.done_ppm = "wait", 0
        self._is_stopped = threading.Event()

    def tell(self, stage: str, done_ppm: int) -> None:
        if self._is_stopped.is_set():
            raise Stopped
        self.stage, self.done_ppm = stage, done_ppm

    def stop(self) -> None:
        self._is_stopped.set()
