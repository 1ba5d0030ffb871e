"""Who calls, told by the certificate's URI, and what only some may call."""

from __future__ import annotations

import time

import pytest
from theblock_node.core.errors import InvalidRecord
from theblock_node.rpc.auth import ADMIN_METHODS, Caller, read_caller, require_allowed
from theblock_operator import ca

NETWORK = "starter"
TIP, CHANNELZ = "/theblock.v1.Chain/GetTip", "/grpc.channelz.v1.Channelz/GetServers"


def certified(uri: str) -> Caller:
    """The caller with a certificate as the operator issues it."""
    now = int(time.time())
    authority = ca.make_authority(NETWORK, now=now, seconds=3600)
    pair = ca.issue(authority, common_name="x", dns_names=["x.svc"], uri=uri, now=now, seconds=3600)
    return read_caller("ipv4:127.0.0.1:5000", {"x509_pem_cert": [pair.certificate.encode()]})


@pytest.mark.parametrize(
    ("uri", "admin", "of_network", "member"),
    [
        ("theblock://starter/operator", True, True, None),
        ("theblock://starter/admin/ann", True, True, None),
        ("theblock://starter/validator/validators-0", False, True, "validators-0"),
        ("theblock://starter2/operator", False, False, None),
        ("theblock://starter/operator2", False, True, None),
        ("theblock://other/admin/ann", False, False, None),
        ("spiffe://starter/operator", False, False, None),
    ],
)
def test_a_certificate_says_who_calls(uri, admin, of_network, member):
    caller = certified(uri)

    assert caller.uris == (uri,)
    assert caller.is_admin(NETWORK) is admin
    assert caller.is_of(NETWORK) is of_network
    assert caller.member(NETWORK) == member
    for method in ADMIN_METHODS:
        if admin:
            require_allowed(method, caller, NETWORK)
        else:
            with pytest.raises(InvalidRecord) as refused:
                require_allowed(method, caller, NETWORK)
            assert refused.value.code == "rpc.admin_only"


def test_strangers_may_call_what_is_public_and_look_inside_nothing():
    stranger = read_caller("ipv4:127.0.0.1:5000", {})

    require_allowed(TIP, stranger, NETWORK)
    with pytest.raises(InvalidRecord) as refused:
        require_allowed(CHANNELZ, stranger, NETWORK)

    assert refused.value.code == "rpc.members_only"
    require_allowed(CHANNELZ, certified("theblock://starter/validator/v-0"), NETWORK)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", "127.0.0.1"),
        ("ipv6:%5B::1%5D:5000", "%5B::1%5D"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("nonsense", "nonsense"),
    ],
)
def test_limits_go_by_the_host_without_its_port(peer, address):
    assert read_caller(peer, {}).address == address


def test_a_certificate_without_names_is_nobody_s():
    authority = ca.make_authority(NETWORK, now=int(time.time()), seconds=3600)
    caller = read_caller("ipv4:127.0.0.1:1", {"x509_pem_cert": [authority.certificate.encode()]})

    assert caller.uris == ()
    assert not caller.is_of(NETWORK)
