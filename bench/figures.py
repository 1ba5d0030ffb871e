"""Figures, and how they are measured: sides take turns, the median counts."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 7
ROUND_S = 0.15
"""A round repeats its work for at least so long."""


@dataclass(frozen=True, slots=True)
class Peer:
    """What stands beside a figure: how fast it was in the same run."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    """Dotted: the bench, then what of it."""
    value: float | None
    """None when it could not be measured; ``note`` says why."""
    unit: str
    peers: tuple[Peer, ...] = ()
    note: str = ""
    is_time: bool = False
    """Less is better."""

    def ratio(self, peer: Peer) -> float:
        """How many times as good as ``peer``."""
        assert self.value is not None
        return peer.value / self.value if self.is_time else self.value / peer.value


def not_measured(name: str, unit: str, why: str) -> Figure:
    return Figure(name, None, unit, note=why)


def time_sides(sides: Mapping[str, Callable[[], int]], *, rounds: int = ROUNDS) -> dict[str, float]:
    """Units a second of processor time of each side.

    A side is a function that does some work and returns how many units it was. Every one runs once before the
    first round, unmeasured.
    """
    for act in sides.values():
        act()
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, act in sides.items():
            gc.collect()
            rates[name].append(_time_one(act))
    return {name: statistics.median(found) for name, found in rates.items()}


def _time_one(act: Callable[[], int]) -> float:
    # Of this process alone: what else the machine does at the same time counts less.
    units, started = 0, time.process_time()
    while True:
        units += act()
        elapsed = time.process_time() - started
        if elapsed >= ROUND_S:
            return units / elapsed


def compare(name: str, unit: str, ours: str, sides: Mapping[str, Callable[[], int]], *, note: str = "") -> Figure:
    """The figure of the side ``ours`` with the others as its peers."""
    rates = time_sides(sides)
    peers = tuple(Peer(other, rate) for other, rate in rates.items() if other != ours)
    return Figure(name, rates[ours], unit, peers, note)
