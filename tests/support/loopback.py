"""Loopback addresses for what a test starts: a subnet of the room it stands for, and of the worker that runs it.

Two workers never share one, whichever files they run; within a worker one test follows the other.
"""

from __future__ import annotations

import os

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Processes that a test starts inherit the variable."""


def subnet(room: int) -> str:
    """The first three octets of the addresses."""
    return f"127.{room}.{WORKER}"
