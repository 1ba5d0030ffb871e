"""The starter network on a real Kubernetes does what people come for, and scales."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.support import things
from tests.support.circom import Tools
from tests.support.starter import NETWORK

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]


def test_all_six_kinds_are_ready(starter, record_property):
    record_property("ready_seconds", starter.deployed.ready_seconds)
    print(f"time to Ready: {starter.deployed.ready_seconds:.1f} s")

    table = starter.kubectl("get", "theblock", "-o", "wide")

    rows = [line.split() for line in table.splitlines() if line and not line.startswith("NAME")]
    assert sorted(row[0].partition(".")[0] for row in rows) == [
        "bridge",
        "computeprovider",
        "energyoracle",
        "network",
        "storageprovider",
        "validator",
    ]
    assert all(row[1:3] == ["True", "Serving"] for row in rows), table


def test_a_transfer_is_final(starter):
    things.pay_somebody(starter.shell, starter.funder)


def test_a_file_outlives_the_loss_of_a_provider(starter):
    def lose(provider: str) -> None:
        starter.kubectl("delete", "pod", f"{provider}-0", "--grace-period=0", "--force")

    things.keep_a_file(starter.shell, lose)
    starter.wait_ready("storageprovider/storage", replicas=3)


def test_a_signed_reading_becomes_a_receipt(starter):
    things.buy_energy(starter.shell, starter.funder)


def test_a_job_ends_with_the_digest_of_the_exact_twin(starter):
    things.compute_digests(starter.shell, starter.funder)


def test_a_circuit_goes_from_its_source_to_a_proof_that_is_paid(starter, tmp_path):
    proved = things.prove_a_circuit(starter.shell, starter.funder, Tools(tmp_path))

    assert things.find_shown_proof(starter.context["explorer"], proved["job_id"])["verified"]


def test_bitcoin_headers_are_followed_and_a_forged_one_is_refused(starter):
    things.follow_bitcoin(starter.shell)


def test_the_explorer_shows_it_from_postgresql(starter):
    url = starter.context["explorer"].rstrip("/")
    for path in ("/", "/blocks", "/transactions", "/accounts", "/providers", "/events"):
        with urllib.request.urlopen(url + path, timeout=20) as answer:
            assert answer.status == 200, path
    command = ["psql", "--host=/tmp", "--username=explorer", "--dbname=explorer", "--tuples-only", "--no-align"]
    query = "--command=SELECT count(*) FROM block"

    counted = starter.kubectl("exec", f"{NETWORK}-db-0", "--", *command, query)

    assert int(counted) > 10


def test_storage_scales_up_and_back_with_its_data(starter):
    data = bytes(range(256)) * 800
    path = starter.shell.write("scaled.bin", data)
    stored = things.ask(starter.shell, "storage", "put", path, "--key-out", "/tmp/scaled.key")

    starter.kubectl("scale", "storageprovider/storage", "--replicas=5")
    up_s = starter.wait_ready("storageprovider/storage", replicas=5)
    starter.kubectl("scale", "storageprovider/storage", "--replicas=3")
    down_s = starter.wait_ready("storageprovider/storage", replicas=3, limit_s=600)

    print(f"3 to 5 in {up_s:.0f} s, back to 3 in {down_s:.0f} s")
    things.ask(
        starter.shell, "storage", "get", stored["manifest_id"], "--key", "/tmp/scaled.key", "-o", "/tmp/back.bin"
    )
    assert starter.shell.read("/tmp/back.bin") == data
    providers = things.ask(starter.shell, "storage", "providers")["providers"]
    retired = {row["provider_id"]: row["retired"] for row in providers}
    assert retired == {f"storage-{ordinal}": ordinal > 2 for ordinal in range(5)}


def test_validators_scale_up_and_back_without_a_pause(starter):
    first = starter.head()

    starter.kubectl("scale", "validator/validators", "--replicas=5")
    up_s = starter.wait_ready("validator/validators", replicas=5, limit_s=900)
    starter.kubectl("scale", "validator/validators", "--replicas=4")
    down_s = starter.wait_ready("validator/validators", replicas=4, limit_s=900)

    gap_s = starter.longest_gap_s(first)
    print(f"4 to 5 in {up_s:.0f} s, back to 4 in {down_s:.0f} s; longest time between two blocks {gap_s:.1f} s")
    assert gap_s <= 10


def test_the_operator_logs_no_traceback(starter):
    logs = starter.kubectl("logs", "deployment/theblock-operator", "--tail=-1")

    assert "Traceback" not in logs
    for line in filter(None, logs.splitlines()):
        json.loads(line)
