"""Resources that the API server must refuse, each with the field that it names: one table for all who judge."""

import pytest


def change(path, value):
    """Set a field in a spec; None takes it away."""

    def apply(object_):
        *steps, last = path.split(".")
        at = object_["spec"]
        for step in steps:
            at = at[int(step)] if step.isdecimal() else at.setdefault(step, {})
        if value is None:
            del at[last]
        else:
            at[int(last) if last.isdecimal() else last] = value

    return apply


def rename(name):
    return lambda object_: object_["metadata"].update(name=name)


BAD = [
    pytest.param("Network", change("preset", "testnet"), "spec.preset", id="preset"),
    pytest.param("Network", change("genesis", None), "spec.genesis", id="no-genesis"),
    pytest.param("Network", change("genesis.validators", []), "spec.genesis.validators", id="nobody-in-genesis"),
    pytest.param("Network", change("genesis.validators.0.members", 51), "spec.genesis.validators[0]", id="members"),
    pytest.param("Network", change("funder.amount", "007"), "spec.funder.amount", id="amount"),
    pytest.param("Network", change("funder.amount", 5), "spec.funder.amount", id="amount-number"),
    pytest.param("Network", change("chainId", 0), "spec.chainId", id="chain-id"),
    pytest.param("Network", change("trust", {"memberSeconds": 10}), "spec.trust.memberSeconds", id="certificates"),
    pytest.param("Network", change("trust", {"renewBeforeSeconds": 9_000_000}), "spec.trust", id="renewal-too-early"),
    pytest.param("Network", change("explorer", {"replicas": 2}), "spec.explorer", id="explorers-without-database"),
    pytest.param("Network", change("networkPolicy", {"peerCidrs": ["all"]}), "peerCidrs", id="cidr"),
    pytest.param("Network", change("colour", "red"), "spec.colour", id="network-unknown"),
    pytest.param("Validator", change("network", None), "spec.network", id="no-network"),
    pytest.param("Validator", change("replicas", 0), "spec.replicas", id="no-validators"),
    pytest.param("Validator", change("replicas", 51), "spec.replicas", id="too-many"),
    pytest.param("Validator", change("replicas", 3), "3f + 1", id="faults-need-four"),
    pytest.param("Validator", change("stake", "0"), "stake must be positive", id="no-stake"),
    pytest.param("Validator", change("stake", "-1"), "spec.stake", id="negative-stake"),
    pytest.param("Validator", change("replica", 4), "spec.replica", id="validator-unknown"),
    pytest.param("Validator", change("podLabels", {"theblock.dev/x": "y"}), "podLabels", id="reserved-label"),
    pytest.param("Validator", change("keys", {"secretNameTemplate": "hsm"}), "{member}", id="one-key-for-all"),
    pytest.param("Validator", change("logLevel", "loud"), "spec.logLevel", id="log-level"),
    pytest.param("Validator", change("owner", {"memberFloat": "9999999999999999"}), "10^15", id="float"),
    pytest.param("Validator", change("drainDeadlineSeconds", 1), "spec.drainDeadlineSeconds", id="deadline"),
    pytest.param("Validator", rename("validators-7"), "-<digits>", id="name-like-a-member"),
    pytest.param("Validator", rename("4validators"), "DNS label", id="name-with-a-digit"),
    pytest.param("Validator", rename("v" * 41), "40 characters", id="long-name"),
    pytest.param("StorageProvider", change("capacity", "1G"), "spec.capacity", id="bytes"),
    pytest.param("StorageProvider", change("capacity", None), "spec.capacity", id="no-capacity"),
    pytest.param("StorageProvider", change("pipeline.parityShards", 0), "spec.pipeline", id="no-parity"),
    pytest.param("StorageProvider", change("pipeline.dataShards", 255), "spec.pipeline", id="too-many-shards"),
    pytest.param("ComputeProvider", change("accelerator.count", 17), "spec.accelerator.count", id="devices"),
    pytest.param(
        "ComputeProvider", change("accelerator.fallback", "Maybe"), "spec.accelerator.fallback", id="fallback"
    ),
    pytest.param("EnergyOracle", change("meters", []), "spec.meters", id="no-meters"),
    pytest.param("EnergyOracle", change("meters.1.name", "roof"), "spec.meters[1]", id="same-meter-twice"),
    pytest.param("EnergyOracle", change("provider.capacityKwh", "1e3"), "spec.provider.capacityKwh", id="decimal"),
    pytest.param("EnergyOracle", change("meters.0.driver", "psychic"), "spec.meters[0].driver", id="driver"),
    pytest.param("Bridge", change("externalChain.profile", "doge/1"), "spec.externalChain", id="profile"),
    pytest.param("Bridge", change("asset", None), "spec.asset", id="no-asset"),
]


CHANGES = [
    pytest.param("Network", {"preset": "minimal"}, "preset", id="preset"),
    pytest.param("Network", {"genesis": {"validators": [{"name": "other", "members": 4}]}}, "genesis", id="genesis"),
    pytest.param("Validator", {"network": "other"}, "network is immutable", id="network"),
    pytest.param("Validator", {"stake": "1"}, "never lowered", id="stake"),
    pytest.param("Validator", {"storage": {"size": "1Gi"}}, "may only grow", id="smaller-volume"),
    pytest.param("Validator", {"storage": {"className": "fast"}}, "className is immutable", id="class"),
    pytest.param("Validator", {"owner": {"keySecretRef": {"name": "x"}}}, "keySecretRef is immutable", id="owner"),
    pytest.param("Validator", {"keys": {"secretNameTemplate": "a-{member}"}}, "keys are fixed", id="keys"),
]
