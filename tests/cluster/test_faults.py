"""A validator's pod, the operator and the API server die under load: finality goes on and nothing final is lost.

At rest the operator writes nothing but its Lease.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import json
import threading
import time
from pathlib import Path

import pytest

from tests.support import things
from tests.support.starter import OPERATOR_USER, Starter
from tools.cluster import network, processes
from tools.cluster.audit import Call

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]
QUIET_S = 300
SETTLED_S = 60
FAULT_S = 60
FINALITY_GAP_MAX_S = 10


class Load:
    """Transfers, one after another, each waited for until it is final; and how finality moves meanwhile."""

    def __init__(self, starter: Starter) -> None:
        self._starter = starter
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._pay), threading.Thread(target=self._watch)]
        self.final: list[str] = []
        self.failed: list[str] = []
        self.moves: list[tuple[float, int]] = []
        """(when, finalized height) whenever it had moved."""

    def __enter__(self) -> Load:
        self._funder = self._starter.funder
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)

    def longest_stall_s(self) -> float:
        times = [at for at, _ in self.moves]
        return max((after - before for before, after in itertools.pairwise(times)), default=0.0)

    def _pay(self) -> None:
        to = "0000:" + hashlib.sha256(b"somebody").hexdigest()
        while not self._stop.is_set():
            done = self._starter.outside.tb_cli(
                "--output",
                "json",
                "accounts",
                "transfer",
                "--to",
                to,
                "--amount",
                "1",
                "--key",
                "-",
                stdin=self._funder,
            )
            (self.final if done.code == 0 else self.failed).append(done.out if done.code == 0 else done.err)

    def _watch(self) -> None:
        while not self._stop.is_set():
            done = self._starter.outside.tb_cli("--output", "json", "status")
            if done.code == 0:
                height = int(json.loads(done.out)["finalized_height"])
                if not self.moves or height > self.moves[-1][1]:
                    self.moves.append((time.monotonic(), height))
            time.sleep(0.2)


def check(load: Load, starter: Starter) -> None:
    """What must hold after every fault."""
    assert load.final, load.failed[-3:]
    assert len(load.moves) > 10
    for out in load.final:
        tx_id = json.loads(out)["tx_id"]
        found = things.ask(starter.outside, "tx", "status", tx_id)
        assert (found["state"], found["final"]) == ("success", True), found
    assert things.ask(starter.outside, "validators", "evidence")["evidence"] == []


def told(starter: Starter, seconds: float) -> list[Call]:
    """What the operator wrote in the last ``seconds``, but for its Lease."""
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    return [call for call in starter.cluster.audit_writes(OPERATOR_USER, since) if call.resource != "leases"]


def test_a_network_at_rest_causes_no_writes(starter):
    if starter.cluster.kube is None:
        pytest.skip("others made this cluster: its audit log is not ours to read")
    things.wait("the last news of the start are told", lambda: not told(starter, SETTLED_S), limit_s=QUIET_S)
    since = datetime.datetime.now(datetime.UTC)

    time.sleep(QUIET_S)  # The passing of time is what is tested.

    assert [call for call in starter.cluster.audit_writes(OPERATOR_USER, since) if call.resource == "leases"]
    assert told(starter, QUIET_S) == []


def test_the_death_of_a_leader_does_not_stop_finality(starter):
    with Load(starter) as load:
        deadline = time.monotonic() + FAULT_S
        while time.monotonic() < deadline:
            starter.kubectl("delete", "pod", f"{starter.last_proposer()}-0", "--grace-period=0", "--force")
            starter.wait_ready("validator/validators", replicas=4)

    print(f"{len(load.final)} final, longest stall of finality {load.longest_stall_s():.1f} s")
    check(load, starter)
    assert load.longest_stall_s() <= FINALITY_GAP_MAX_S


def test_the_death_of_the_operator_stops_nothing(starter):
    with Load(starter) as load:
        starter.kubectl("scale", "deployment/theblock-operator", "--replicas=0")
        time.sleep(FAULT_S)  # The time without an operator is what is tested.
        starter.kubectl("scale", "deployment/theblock-operator", "--replicas=1")
        starter.kubectl("scale", "computeprovider/compute", "--replicas=2")
        starter.wait_ready("computeprovider/compute", replicas=2)

    starter.kubectl("scale", "computeprovider/compute", "--replicas=1")
    starter.wait_ready("computeprovider/compute", replicas=1)
    check(load, starter)
    assert load.longest_stall_s() <= FINALITY_GAP_MAX_S


def test_the_death_of_the_api_server_stops_nothing(starter):
    layout = starter.cluster.layout
    pid = processes.pid_of(layout, "api")
    if pid is None:
        pytest.skip("others made this cluster: its API server is not ours to kill")
    command = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")

    with Load(starter) as load:
        processes.stop(layout, "api")
        time.sleep(FAULT_S)  # The time without an API server is what is tested.
        processes.start(layout, "api", command, enter=network.enter(layout.node(0)))
        things.wait("the API server answers", starter.answers, limit_s=120)

    check(load, starter)
    assert load.longest_stall_s() <= FINALITY_GAP_MAX_S
    starter.wait_ready("validator/validators", replicas=4)
    starter.kubectl("scale", "computeprovider/compute", "--replicas=2")
    starter.wait_ready("computeprovider/compute", replicas=2)
    starter.kubectl("scale", "computeprovider/compute", "--replicas=1")
    starter.wait_ready("computeprovider/compute", replicas=1)
