"""The file of one process: taken whole, or refused with the key that is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from theblock_node import config
from theblock_node.config import BadConfig

VALIDATOR = {
    "role": "validator", "kind": "Validator", "network": "starter", "namespace": "theblock", "resource": "validators",
    "member": "validators-0", "ordinal": 0,
    "chain": {"genesis": "/etc/theblock/genesis/genesis.json", "genesis_hash": None},
    "paths": {
        "key": "/etc/theblock/key/node.key", "signing": None, "tls": "/etc/theblock/tls",
        "ca": "/etc/theblock/ca/ca.crt", "peers": "/etc/theblock/peers/peers.json", "data": "/var/lib/theblock",
        "run": "/run/theblock",
    },
    "listen": {"host": "0.0.0.0", "grpc": 26658, "p2p": 26656, "health": 26659, "metrics": 9898, "http": 8080},
    "advertise": "validators-0.theblock.svc", "owner": "0000:" + "0" * 64, "fencing_epoch": 1, "allow_solo": False,
    "bootstrap_peers": [], "log_level": "info",
    "settings": {"mempool_max_entries": 50000, "snapshot_interval_blocks": 1024},
}  # fmt: skip
SETTINGS = {
    "storage_provider": {
        "capacity_bytes": 1073741824, "price_per_block": "0", "region": "default", "data_shards": 2, "parity_shards": 1,
        "placement": "Network", "policy": "relaxed", "compression": "zstd", "encryption": "chacha20-poly1305",
        "repair_interval_seconds": 60,
    },
    "compute_provider": {
        "lanes": ["consumer", "industrial"], "workloads": ["gpuHash"], "price_per_unit": "0", "units_per_epoch": 1000,
        "bond_per_unit": "0",
        "prover": {
            "socket": "/run/theblock/prover.sock", "backend": "auto", "self_check": True, "cache_bytes": 1073741824,
        },
    },
    "energy_oracle": {
        "meters": [
            {
                "name": "a", "address": "meter-a", "driver": "mock", "endpoint": None, "interval_seconds": 15,
                "scale_to_wh": 1000, "provider_id": "solar-roof", "mock": {"step_wh": 250, "start_wh": 0, "faults": []},
            }
        ],
        "policy": {"max_age_seconds": 300, "max_future_skew_seconds": 30, "heartbeat_blocks": 360},
        "retry": {"initial_ms": 500, "max_ms": 30000}, "spool_entries": 10000,
    },
    "bridge": {
        "asset": "wBTC", "chain_id": "bitcoin", "profile": "bitcoin/1", "checkpoint": None,
        "source": {"driver": "builtin", "dataset": "bitcoin-main-1-1111", "endpoints": [], "headers_file": None},
        "confirm_depth": 6, "header_sync": True, "members": 1,
    },
    "explorer": {"database": {"dsn_file": "/etc/theblock/database/dsn"}},
}  # fmt: skip


def test_the_contracts_validator_is_taken():
    parsed = config.parse(json.dumps(VALIDATOR).encode())
    assert parsed.chain.genesis == Path("/etc/theblock/genesis/genesis.json")
    assert parsed.settings == config.ValidatorSettings()


@pytest.mark.parametrize("role", sorted(SETTINGS))
def test_every_role_of_the_contract_is_taken(role):
    parsed = config.parse(json.dumps({**VALIDATOR, "role": role, "settings": SETTINGS[role]}).encode())
    assert isinstance(parsed.settings, config.SETTINGS[role])


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        pytest.param(("colour",), 1, "colour", id="unknown-key"),
        pytest.param(("paths", "cache"), "/", "$.paths", id="unknown-path"),
        pytest.param(("settings", "mempool"), 1, "mempool", id="unknown-setting"),
        pytest.param(("settings", "snapshot_interval_blocks"), 9, "$.settings.snapshot_interval_blocks", id="bound"),
        pytest.param(("listen", "grpc"), 0, "$.listen.grpc", id="port"),
        pytest.param(("role",), "miner", "$.role", id="role"),
        pytest.param(("paths", "key"), 5, "$.paths.key", id="not-a-path"),
        pytest.param(("member",), None, "$.member", id="null"),
    ],
)
def test_a_file_is_refused_with_the_key(path, value, named):
    document = copy.deepcopy(VALIDATOR)
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(BadConfig, match=named.replace("$", r"\$").replace(".", r"\.")):
        config.parse(json.dumps(document).encode())


def test_a_missing_key_and_no_json_are_refused():
    with pytest.raises(BadConfig, match="advertise"):
        config.parse(json.dumps({name: value for name, value in VALIDATOR.items() if name != "advertise"}).encode())
    with pytest.raises(BadConfig):
        config.parse(b"{")
