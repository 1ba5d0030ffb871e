"""Thirty ways to be refused before anything is stored, each with the path of the field at fault."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from theblock_operator.api import Invalid
from theblock_operator.embedded import admission
from theblock_operator.embedded.admission import Refused
from theblock_operator.kinds import KINDS

STARTER = Path(__file__).resolve().parents[3] / "examples" / "starter" / "starter.yaml"
Object = dict[str, Any]
GONE = object()


def starter(kind: str) -> Object:
    return next(found for found in yaml.safe_load_all(STARTER.read_text()) if found["kind"] == kind)


def changed(kind: str, path: str, value: Any) -> Object:
    """The resource of the starter with one field set, or taken away."""
    found = copy.deepcopy(starter(kind))
    place: Any = found
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        place = place[step] if isinstance(step, int) else place.setdefault(step, {})
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return found


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_the_starter_is_admitted_and_admitting_again_changes_nothing(kind: str) -> None:
    once = admission.admit(starter(kind), None)

    assert admission.admit(once, once) == once


@pytest.mark.parametrize(
    ("kind", "path", "value", "at"),
    [
        pytest.param("Network", "apiVersion", "theblock.dev/v2", "apiVersion", id="another-version"),
        pytest.param("Network", "speck", {}, "speck", id="unknown-at-the-top"),
        pytest.param("Network", "metadata.lables", {}, "metadata.lables", id="unknown-in-metadata"),
        pytest.param("Network", "metadata.labels", {"a": 1}, "metadata.labels.a", id="label-is-a-number"),
        pytest.param("Network", "metadata.name", "Starter", "metadata.name", id="capital-in-a-name"),
        pytest.param("Validator", "metadata.name", "v-1", "metadata.name", id="name-of-a-member"),
        pytest.param("Bridge", "metadata.name", "b" * 41, "metadata.name", id="name-too-long"),
        pytest.param("Network", "spec", GONE, "spec", id="no-spec"),
        pytest.param("Network", "spec", [], "spec", id="spec-is-a-list"),
        pytest.param("Network", "spec.genesis", GONE, "spec.genesis", id="no-genesis"),
        pytest.param("Network", "spec.genesis.validators", [], "spec.genesis.validators", id="nobody-in-the-genesis"),
        pytest.param("Network", "spec.genesis.validators.0.members", 0, "spec.genesis.validators[0].members", id="0"),
        pytest.param("Network", "spec.chainId", 2**32, "spec.chainId", id="chain-id-too-large"),
        pytest.param("Network", "spec.preset", "mainnet", "spec", id="mainnet-with-a-funder"),
        pytest.param("Network", "spec.statusRefreshSeconds", 59, "spec", id="refresh-too-often"),
        pytest.param("Network", "spec.trust.overlapSeconds", 10**9, "spec.trust", id="overlap"),
        pytest.param("Validator", "spec.replicas", 3, "spec", id="too-few-for-the-faults"),
        pytest.param("Validator", "spec.replicas", "4", "spec.replicas", id="number-as-text"),
        pytest.param("Validator", "spec.replicas", True, "spec.replicas", id="true-is-no-number"),
        pytest.param("Validator", "spec.replicas", None, "spec.replicas", id="null"),
        pytest.param("Validator", "spec.stake", "0", "spec", id="no-stake"),
        pytest.param("Validator", "spec.stake", "1e9", "spec.stake", id="stake-is-no-amount"),
        pytest.param("Validator", "spec.stake", 1, "spec.stake", id="stake-as-a-number"),
        pytest.param("Validator", "spec.network", GONE, "spec.network", id="no-network"),
        pytest.param("Validator", "spec.Network", "starter", "spec.Network", id="wrong-case"),
        pytest.param("Validator", "spec.podLabels", {"theblock.dev/x": "1"}, "spec.podLabels", id="reserved-label"),
        pytest.param("Validator", "spec.storage.size", "2GB", "spec.storage.size", id="size-in-gb"),
        pytest.param("Validator", "spec.keys", {"secretNameTemplate": "one"}, "spec", id="one-key-for-all"),
        pytest.param("StorageProvider", "spec.capacity", "1Mi", "spec", id="too-small"),
        pytest.param("StorageProvider", "spec.pipeline.dataShards", 300, "spec.pipeline.dataShards", id="shards"),
        pytest.param("ComputeProvider", "spec.lanes", ["consumer", "consumer"], "spec.lanes[1]", id="lane-twice"),
        pytest.param("ComputeProvider", "spec.prover.backend", "tpu", "spec.prover.backend", id="no-such-backend"),
        pytest.param("EnergyOracle", "spec.meters.1.name", "roof", "spec.meters[1].name", id="meter-twice"),
        pytest.param("EnergyOracle", "spec.meters.0.driver", "http", "spec.meters[0]", id="http-without-endpoint"),
        pytest.param("EnergyOracle", "spec.meters.0.mock.faults", ["x"], "spec.meters[0].mock.faults[0]", id="fault"),
        pytest.param("Bridge", "spec.externalChain.source", {"driver": "rpc"}, "spec.externalChain.source", id="rpc"),
    ],
)
def test_a_bad_resource_is_refused_with_the_path_of_the_fault(kind: str, path: str, value: Any, at: str) -> None:
    with pytest.raises(Refused) as refused:
        admission.admit(changed(kind, path, value), None)

    assert at in [found for found, _ in refused.value.faults]


def test_every_fault_is_told_at_once() -> None:
    bad = changed("Validator", "spec.stake", "x")
    bad["spec"] |= {"replicas": "4", "unknown": 1}

    with pytest.raises(Refused) as refused:
        admission.admit(bad, None)

    assert {path for path, _ in refused.value.faults} == {"spec.stake", "spec.replicas", "spec.unknown"}


def test_a_misspelt_field_is_told_the_right_one() -> None:
    with pytest.raises(Refused, match="did you mean replicas"):
        admission.admit(changed("Validator", "spec.replica", 4), None)


@pytest.mark.parametrize(
    ("kind", "path", "before", "after", "at"),
    [
        pytest.param("Network", "spec.preset", "devnet", "minimal", "spec", id="preset"),
        pytest.param("Network", "spec.chainId", 7, 8, "spec", id="chain-id"),
        pytest.param("Network", "spec.chainId", 7, GONE, "spec", id="chain-id-taken-away"),
        pytest.param("Network", "spec.overrides", [{"name": "a", "value": "1"}], GONE, "spec", id="overrides"),
        pytest.param("Network", "spec.params", [{"name": "a", "value": "1"}], GONE, "spec", id="params"),
        pytest.param("Network", "spec.genesis.validators.0.members", 4, 5, "spec", id="genesis"),
        pytest.param("Network", "spec.funder.amount", "5", "6", "spec", id="funder"),
        pytest.param("Validator", "spec.network", "starter", "other", "spec", id="network"),
        pytest.param("Validator", "spec.stake", "10", "9", "spec", id="stake-lowered"),
        pytest.param("Validator", "spec.owner.keySecretRef", {"name": "a"}, {"name": "b"}, "spec.owner", id="owner"),
        pytest.param("Validator", "spec.storage.size", "2Gi", "1Gi", "spec.storage", id="volume-shrunk"),
        pytest.param("Validator", "spec.storage.className", "a", "b", "spec.storage", id="volume-class"),
        pytest.param("Validator", "spec.keys.secretNameTemplate", "a-{member}", "b-{member}", "spec", id="keys"),
        pytest.param("StorageProvider", "spec.capacity", "1Gi", "512Mi", "spec", id="capacity-shrunk"),
        pytest.param("EnergyOracle", "spec.meters.0.address", "a", "b", "spec", id="address-of-a-meter"),
        pytest.param("Bridge", "spec.asset", "wBTC", "xBTC", "spec", id="asset"),
        pytest.param("Bridge", "spec.channel", {"confirmDepth": 8}, {"confirmDepth": 6}, "spec.channel", id="depth"),
    ],
)
def test_a_change_that_is_not_allowed_is_refused(kind: str, path: str, before: Any, after: Any, at: str) -> None:
    old = admission.admit(changed(kind, path, before), None)
    new = changed(kind, path, before if after is GONE else after)
    if after is GONE:
        del new["spec"][path.split(".")[1]]

    with pytest.raises(Refused) as refused:
        admission.admit(new, old)

    assert [found for found, _ in refused.value.faults] == [at]


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        pytest.param("spec.stake", "9", "10", id="stake-raised"),
        pytest.param("spec.storage.size", "1Gi", "1Gi", id="volume-as-it-was"),
        pytest.param("spec.storage.size", "1024Mi", "1Gi", id="volume-in-other-words"),
        pytest.param("spec.replicas", 4, 5, id="scaled"),
    ],
)
def test_a_change_that_is_allowed_is_admitted(path: str, before: Any, after: Any) -> None:
    old = admission.admit(changed("Validator", path, before), None)

    admission.admit(changed("Validator", path, after), old)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_rule_has_its_twin(kind: Any) -> None:
    for rule in kind.rules:
        assert (rule.holds_change is not None) == ("oldSelf" in rule.cel), rule.message
        assert (rule.holds is None) == (rule.holds_change is not None), rule.message


def test_only_kinds_with_replicas_are_scaled() -> None:
    assert admission.scale_patch("Validator", 5) == {"spec": {"replicas": 5}}
    with pytest.raises(Invalid):
        admission.scale_patch("Network", 5)
