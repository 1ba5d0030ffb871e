"""What a member's network policy lets through."""

from __future__ import annotations

from typing import Any

import pytest
from theblock_operator.objects import policy
from theblock_operator.observed import Object, Resource

NETWORK = {"podSelector": {"matchLabels": {"theblock.dev/network": "net"}}}


def rendered(**flags: Any) -> Object:
    resource = Resource("ComputeProvider", "ns", "cp", "uid", 1, {}, {})
    return policy.network_policy(resource, "net", **flags)["spec"]


def ports(rules: list[Object], *, side: str, peer: Object | None) -> set[int]:
    """Open to ``peer``; None is everybody."""
    return {
        port["port"]
        for rule in rules
        if (side not in rule if peer is None else peer in rule.get(side, ()))
        for port in rule["ports"]
    }


def test_members_of_a_network_call_one_another_with_certificates_and_without():
    spec = rendered()
    assert ports(spec["ingress"], side="from", peer=NETWORK) == {26657, 26658}
    assert ports(spec["egress"], side="to", peer=NETWORK) == {26657, 26658}


@pytest.mark.parametrize(("is_public", "opened"), [(False, set()), (True, {26658})])
def test_everybody_reaches_the_port_without_certificates_of_a_public_member_alone(is_public, opened):
    assert ports(rendered(is_public=is_public)["ingress"], side="from", peer=None) == opened
