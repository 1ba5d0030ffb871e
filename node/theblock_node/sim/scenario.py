"""A network under faults from a seed: what `python -m theblock_node.sim` and `tb-cli sim` run.

Members are partitioned, crashed and restarted at random, and messages lost, while transfers come in; then the
faults stop, and all must go on. Safety is checked all the while, on what every disk calls final.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass

import structlog

from theblock_node.client.wallet import Wallet
from theblock_node.core.crypto import blake3
from theblock_node.core.domains.accounts import Transfer
from theblock_node.sim.faults import add_unguarded_twin, disturb
from theblock_node.sim.loop import run_virtual
from theblock_node.sim.network import Network
from theblock_node.transport.memory import Faults

FAULTS = Faults(latency_ms=(1, 250), loss_ppm=30_000)
MEMBERS_MIN, MEMBERS_MAX = 4, 16
SECONDS_MAX = 3600
ROUND_SECONDS = 20
"""How long faults go on between two checks."""
FAULT_SECONDS = 5
"""One fault is drawn so often."""
CALM_SECONDS_MAX = 180
AHEAD = 8
"""How many blocks beyond the highest must become final everywhere once the faults have stopped."""
AMOUNT = 5


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went; that there is one means that nothing final was contradicted."""

    seed: int
    members: int
    seconds: int
    """Of the network's own time, under faults."""
    faults: int
    transfers: int
    heights: tuple[int, ...]
    final_heights: tuple[int, ...]
    compared: int
    """Highest height that was compared across disks."""
    recovery_s: float
    """Until all went on after the faults."""


def run(seed: int, *, members: int = MEMBERS_MIN, seconds: int = 120) -> Report:
    """Run a network from ``seed``; raises `SafetyViolation`, or TimeoutError where it does not go on."""
    return run_virtual(_run(seed, members, seconds))


def set_up_logs(level: int = logging.ERROR) -> None:
    """Drop what members log below ``level``, show the rest on standard error; for a process that only simulates."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def run_planted(seed: int) -> None:
    """Run two keys twice on both sides of a partition, unguarded: raises `SafetyViolation`, or the check is blind."""

    async def main() -> None:
        network = Network(seed=seed, count=MEMBERS_MIN)
        twins = [add_unguarded_twin(network, network.members[number]) for number in (2, 3)]
        network.net.cut(["host-0", "host-2", "host-3"], ["host-1", *(twin.host for twin in twins)])
        async with network.running():
            await network.sleep(60)
            network.check_safety()

    run_virtual(main())


async def _run(seed: int, count: int, seconds: int) -> Report:
    wallet = Wallet(blake3(b"sender in a simulation"))
    network = Network(seed=seed, count=count, faults=FAULTS, funded=(wallet.address,))
    rounds, transfers = max(1, seconds // ROUND_SECONDS), 0
    async with network.running():
        for _ in range(rounds):
            transfers += _transfer(network, wallet)
            await disturb(network, seconds=ROUND_SECONDS)
            network.check_safety()
        goal = max(network.heights()) + AHEAD
        recovery = await network.wait(lambda: min(network.final_heights()) >= goal, limit_s=CALM_SECONDS_MAX)
        return Report(
            seed=seed,
            members=count,
            seconds=rounds * ROUND_SECONDS,
            faults=rounds * (ROUND_SECONDS // FAULT_SECONDS),
            transfers=transfers,
            heights=tuple(network.heights()),
            final_heights=tuple(network.final_heights()),
            compared=network.check_safety(),
            recovery_s=recovery,
        )


def _transfer(network: Network, wallet: Wallet) -> int:
    """Hand a transfer to the first member; how many were handed over."""
    node = network.members[0].node
    assert node is not None, "everybody runs between two rounds"
    service = node.service
    signed = wallet.sign_call(
        "accounts.transfer",
        Transfer(wallet.address, AMOUNT, 0),
        chain_id=node.chain.chain.chain_id,
        nonce=service.pending_nonce(wallet.address) + 1,
        base_fee=service.tip().base_fee,
    )
    service.submit(signed.envelope)
    return 1
