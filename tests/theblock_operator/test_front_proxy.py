"""The authority that replicas share, and whom it is that they answer."""

import asyncio
import json

import pytest
from support.versioned import Versioned
from theblock_operator import ca, front_proxy
from theblock_operator.front_proxy import AUTHORITY_RENEW_S, AUTHORITY_S, CERTIFICATE_S, Trust, Unproven

NOW = 1_790_000_000
NAME = ("ops", "theblock-metrics")
PEM = ca.make_authority("front", now=NOW, seconds=3600).certificate


def config(**data):
    return {"kind": "ConfigMap", "metadata": {}, "data": {"requestheader-client-ca-file": PEM, **data}}


@pytest.mark.parametrize(
    ("allowed", "names", "is_admitted"),
    [
        pytest.param(["front"], ["front"], True, id="named"),
        pytest.param(["front"], ["other"], False, id="another"),
        pytest.param(["front"], [], False, id="nameless"),
        pytest.param([], ["anybody"], True, id="all-names"),
        pytest.param([], [], False, id="all-names-but-none"),
    ],
)
def test_the_front_proxy_is_known_by_its_name(allowed, names, is_admitted):
    trust = front_proxy.read_trust(config(**{"requestheader-allowed-names": json.dumps(allowed)}))
    peer = {"subject": tuple((("commonName", name),) for name in names)}

    assert trust.admits(peer) is is_admitted
    assert not Trust(PEM, frozenset(allowed)).admits(None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"requestheader-client-ca-file": ""}, id="no-authority"),
        pytest.param({"requestheader-client-ca-file": "nonsense"}, id="no-pem"),
        pytest.param({"requestheader-allowed-names": "[front"}, id="no-json"),
    ],
)
def test_nobody_is_trusted_where_the_cluster_does_not_say_whom(data):
    with pytest.raises(Unproven, match="extension-apiserver-authentication"):
        front_proxy.read_trust(config(**data))


async def test_replicas_that_start_together_share_one_authority():
    api = Versioned()

    made = await asyncio.gather(*(front_proxy.ensure_authority(api, *NAME, NOW) for _ in range(3)))

    assert len({each.bundle for each in made}) == 1
    assert api.writes == [("create", "Secret", "theblock-metrics")]


async def test_an_authority_is_followed_by_another_before_it_ends_and_both_are_announced():
    api = Versioned()
    first = await front_proxy.ensure_authority(api, *NAME, NOW)
    own = front_proxy.issue(first, "theblock-metrics", "ops", NOW)
    late = NOW + AUTHORITY_S - AUTHORITY_RENEW_S

    assert await front_proxy.ensure_authority(api, *NAME, late - 1) == first
    following = await asyncio.gather(*(front_proxy.ensure_authority(api, *NAME, late) for _ in range(2)))

    assert following[0] == following[1]
    assert following[0].pair != first.pair
    assert following[0].bundle == following[0].pair.certificate + first.pair.certificate
    assert front_proxy.is_due(own.certificate, following[0], NOW)


async def test_a_certificate_is_renewed_before_it_ends():
    authority = await front_proxy.ensure_authority(Versioned(), *NAME, NOW)
    own = front_proxy.issue(authority, "theblock-metrics", "ops", NOW)
    last = NOW + CERTIFICATE_S - front_proxy.CERTIFICATE_RENEW_S

    assert not front_proxy.is_due(own.certificate, authority, last)
    assert front_proxy.is_due(own.certificate, authority, last + 1)
