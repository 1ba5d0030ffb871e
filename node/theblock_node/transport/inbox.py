"""The receiving half that every session shares: a bounded queue of frames that ends with a reason."""

from __future__ import annotations

import asyncio
from collections import deque

from theblock_node.transport.provider import QUEUED_BYTES_MAX, QUEUED_FRAMES_MAX, Frame, SessionClosed


class Inbox:
    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._size = 0
        self._ended: SessionClosed | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> SessionClosed | None:
        return self._ended

    def put(self, frame: Frame) -> bool:
        """Take a frame; False if the reader is too far behind and the session should end."""
        if len(self._frames) >= QUEUED_FRAMES_MAX or self._size + len(frame.payload) > QUEUED_BYTES_MAX:
            return False
        self._frames.append(frame)
        self._size += len(frame.payload)
        self._wake()
        return True

    def end(self, code: int, reason: str) -> None:
        """No more will come; what is queued is still handed out."""
        if self._ended is None:
            self._ended = SessionClosed(code, reason)
        self._wake()

    async def get(self) -> Frame:
        while not self._frames:
            if self._ended is not None:
                raise SessionClosed(self._ended.code, self._ended.reason)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        frame = self._frames.popleft()
        self._size -= len(frame.payload)
        return frame

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
