"""A small network as processes, through the command as people use it: up, killed, scaled, deleted, down, up again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from theblock_operator.embedded import files
from theblock_operator.embedded.places import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
NETWORK = """
apiVersion: theblock.dev/v1alpha1
kind: Network
metadata: {name: small, namespace: theblock}
spec:
  genesis: {validators: [{name: lone, members: 1}]}
  overrides: [{name: block_time_ms, value: "400"}]
  funder: {amount: "1000000000000000"}
  explorer: {enabled: false}
---
apiVersion: theblock.dev/v1alpha1
kind: Validator
metadata: {name: lone, namespace: theblock}
spec: {network: small, allowSolo: true, stake: "1000000000000"}
---
"""
ORACLE = """
apiVersion: theblock.dev/v1alpha1
kind: EnergyOracle
metadata: {name: %s, namespace: theblock}
spec:
  network: small
  stake: "1000000000000"
  drainDeadlineSeconds: 60
  provider: {jurisdiction: US_CA, capacityKwh: "50", pricePerKwh: "120000000"}
  meters: [{name: roof, address: meter-%s, driver: mock, intervalSeconds: 2, mock: {stepWh: 25}}]
"""
PATIENCE_S = 240


class Run:
    """The command over one folder."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder / "up")
        self.folder = folder

    def __call__(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "theblock_operator.embedded.cli", "--home", str(self.home.root), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S + 60)
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def manifest(self, name: str, text: str) -> str:
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    def up(self) -> str:
        path = self.manifest("network", NETWORK + ORACLE % ("sun", "sun"))
        return self("up", "-f", path, "--subnet", "45", "--timeout", str(PATIENCE_S))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "-o", "json"))
        return found

    def member(self, name: str) -> dict[str, Any] | None:
        return next((row for row in self.status()["members"] if row["name"] == name), None)

    def is_ready(self, name: str) -> bool:
        return next(row["ready"] for row in self.status()["resources"] if row["name"] == name) == "True"

    def pid(self, member: str) -> int:
        found = files.holder(self.home.root / "locks" / f"{member}.node")
        assert found is not None
        return found

    def wait(self, holds: Callable[[], bool]) -> None:
        ends = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < ends, self("status")
            time.sleep(0.3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    run = Run(tmp_path_factory.mktemp("run"))
    try:
        run.up()
        yield run
    finally:
        run("down")


def test_up_says_what_runs_and_where_to_look(run: Run) -> None:
    told = run.up()

    assert re.search(r"lone-0 +validator +127\.45\.\d+\.\d+ +ready", told)
    assert re.search(r"gRPC +127\.45\.\d+\.\d+:26658", told)
    assert re.search(r"metrics +http://127\.45\.\d+\.\d+:9898/metrics", told)
    assert len(told.partition("five things to try:")[2].strip().splitlines()) >= 5
    assert "make down" in told
    assert "validator/lone unchanged" in told


def test_the_context_names_members_and_the_files_that_it_needs(run: Run) -> None:
    context = json.loads(run.home.context.read_text())

    assert {member["name"]: member["role"] for member in context["members"]}["lone-0"] == "validator"
    assert context["members"][0]["tls_name"].endswith(".theblock.svc")
    assert "BEGIN CERTIFICATE" in Path(context["ca"]).read_text()
    assert len(bytes.fromhex(Path(context["funder"]).read_text())) == 32
    assert oct(Path(context["funder"]).stat().st_mode)[-3:] == "600"
    assert oct(Path(context["admin"]["key"]).stat().st_mode)[-3:] == "600"


def test_a_killed_member_is_started_again_with_its_name_and_address(run: Run) -> None:
    run.wait(lambda: run.is_ready("sun"))
    before, pid = run.member("sun-0"), run.pid("sun-0")
    assert before is not None

    os.kill(pid, signal.SIGKILL)
    run.wait(lambda: (run.member("sun-0") or {}).get("restarts", 0) > before["restarts"])
    run.wait(lambda: run.is_ready("sun"))

    after = run.member("sun-0")
    assert after is not None
    assert after["address"] == before["address"]
    assert run.pid("sun-0") != pid


def test_a_deleted_pod_comes_back_as_another(run: Run) -> None:
    before = json.loads(run("get", "pod", "sun-0-0", "-o", "json"))["metadata"]["uid"]

    run("delete", "pod", "sun-0-0")

    def is_another() -> bool:
        found = json.loads(run("get", "pods", "-o", "json"))["items"]
        return any(pod["metadata"]["name"] == "sun-0-0" and pod["metadata"]["uid"] != before for pod in found)

    run.wait(is_another)
    run.wait(lambda: run.is_ready("sun"))


def test_scaling_brings_a_member_and_takes_it_away(run: Run) -> None:
    run("scale", "energyoracle/sun", "--replicas", "2")
    run.wait(lambda: (run.member("sun-1") or {}).get("ready", False) and run.is_ready("sun"))

    run("scale", "energyoracle/sun", "--replicas", "1")
    run.wait(lambda: run.member("sun-1") is None)

    run.wait(lambda: run.is_ready("sun"))


def test_a_deleted_resource_is_gone_and_its_keys_stay(run: Run) -> None:
    # Retain, since an exit takes as long as somebody may still buy the energy that was metered.
    wind = (ORACLE % ("wind", "wind")).replace("drainDeadlineSeconds: 60", "deletionPolicy: Retain")
    run("apply", "-f", run.manifest("wind", wind))
    run.wait(lambda: run.is_ready("wind"))

    run("delete", "energyoracle/wind", "--wait", str(PATIENCE_S))

    assert run.member("wind-0") is None
    assert "MemberRemoved" in run("events", "eo/wind")
    # The name may come back, and with its keys the account.
    assert "wind-owner" in run("get", "secrets", "-o", "name")


def test_a_bad_manifest_changes_nothing_and_names_the_field(run: Run) -> None:
    bad = run.manifest("bad", NETWORK.replace("allowSolo: true", "allowSolos: true"))

    told = run("apply", "-f", bad, code=1)

    assert "spec.allowSolos: unknown field; did you mean allowSolo?" in told


def test_a_killed_controller_leaves_nothing_and_up_starts_each_member_once(run: Run) -> None:
    members = [row["name"] for row in run.status()["members"]]
    left = [run.pid(member) for member in members]

    controller = files.holder(run.home.lock)
    assert controller is not None
    os.kill(controller, signal.SIGKILL)
    run.up()

    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]
    assert sorted(members) == sorted(row["name"] for row in run.status()["members"])
    assert len({run.pid(member) for member in members}) == len(members)


def test_state_survives_down_and_up(run: Run) -> None:
    before = json.loads(run("get", "network", "small", "-o", "json"))
    height = last_height(run)

    told = run("down")
    assert "the state is kept" in told
    run("status", code=4)
    run.up()

    after = json.loads(run("get", "network", "small", "-o", "json"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["genesisHash"] == before["status"]["genesisHash"]
    assert last_height(run) >= height


def last_height(run: Run) -> int:
    """The height at which the validator last said that it starts."""
    log = run.home.member_log("lone-0", "node").read_text().splitlines()
    starts = [json.loads(line) for line in log if '"validator starts"' in line]
    return int(starts[-1]["height"])
