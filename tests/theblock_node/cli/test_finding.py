"""Where the network is looked for, in which order, and what is said where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from theblock_node.cli import finding
from theblock_node.cli.finding import Flags, Unusable

NOWHERE = Path("/nowhere/at/all")


def write_context(path: Path, name: str, **changes: object) -> Path:
    member = {
        "name": f"{name}-0",
        "role": "validator",
        "resource": name,
        "host": "127.43.0.9",
        "grpc": 26658,
        "tls_name": f"{name}-0.theblock.svc",
    }
    document = {
        "network": name,
        "namespace": "theblock",
        "members": [member],
        "ca": "/ca.crt",
        "admin": {"certificate": "/admin.crt", "key": "/admin.key"},
        "funder": "/funder.key",
        "explorer": "http://127.43.0.9:8080",
        "metrics": {f"{name}-0": "http://127.43.0.9:9898/metrics"},
        **changes,
    }
    path.write_text(json.dumps(document))
    return path


def write_pod(folder: Path) -> Path:
    peers = [
        {"name": "storage-0", "role": "storage_provider", "resource": "storage", "host": "storage-0", "grpc": 26658},
        {"name": "validators-0", "role": "validator", "resource": "validators", "host": "validators-0", "grpc": 26658},
    ]
    (folder / "peers.json").write_text(json.dumps({"peers": peers}))
    config = {
        "role": "storage_provider",
        "network": "inside",
        "resource": "storage",
        "member": "storage-0",
        "advertise": "storage-0.theblock.svc",
        "listen": {"grpc": 26658},
        "paths": {"peers": str(folder / "peers.json"), "ca": "/ca.crt"},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


def test_flags_come_first_then_context_then_variable_then_local_then_pod(tmp_path):
    places = {name: write_context(tmp_path / f"{name}.json", name) for name in ("given", "named", "local")}
    pod = write_pod(tmp_path)
    environ = {"TB_CONTEXT": str(places["named"])}
    rest = {"local": places["local"], "pod": pod}

    flags = Flags(endpoints=("[::1]:7",), ca="/x.crt", tls_name="other", context=str(places["given"]))
    assert finding.find(flags, environ, **rest).members[0].address == "[::1]:7"
    assert finding.find(Flags(context=str(places["given"])), environ, **rest).name == "given"
    assert finding.find(Flags(), environ, **rest).name == "named"
    assert finding.find(Flags(), {}, **rest).name == "local"
    assert finding.find(Flags(), {}, local=NOWHERE, pod=pod).name == "inside"


def test_a_context_says_everything(tmp_path):
    network = finding.read_context(write_context(tmp_path / "c.json", "net"))

    (member,) = network.members
    assert (member.name, member.role, member.address) == ("net-0", "validator", "127.43.0.9:26658")
    assert member.tls_name == "net-0.theblock.svc"
    assert network.admin == (Path("/admin.crt"), Path("/admin.key"))
    assert (network.ca, network.funder) == (Path("/ca.crt"), Path("/funder.key"))
    assert network.explorer == "http://127.43.0.9:8080"


def test_a_context_of_a_run_that_has_no_network_yet_is_read(tmp_path):
    network = finding.read_context(write_context(tmp_path / "c.json", "net", network=None, members=[]))
    assert (network.name, network.members) == ("", ())
    with pytest.raises(Unusable, match="no member is known"):
        finding.select(network, None)


def test_what_may_be_null_in_a_context_may(tmp_path):
    path = write_context(tmp_path / "c.json", "net", ca=None, admin=None, funder=None, explorer=None)
    network = finding.read_context(path)
    assert (network.ca, network.admin, network.funder, network.explorer) == (None, None, None, None)


def test_inside_a_pod_the_member_itself_and_its_peers_are_known(tmp_path):
    network = finding.read_pod(write_pod(tmp_path))

    assert [member.address for member in network.members] == ["storage-0.theblock.svc:26658", "validators-0:26658"]
    assert [member.name for member in network.of_role("validator")] == ["validators-0"]
    assert network.funder is None


def test_where_there_is_no_network_every_way_is_named(tmp_path):
    with pytest.raises(Unusable) as refused:
        finding.find(Flags(), {}, local=NOWHERE, pod=NOWHERE)
    for way in ("--endpoint", "--ca", "--context", "TB_CONTEXT", "make up", "build/up/context.json", "pod"):
        assert way in refused.value.todo


@pytest.mark.parametrize("endpoint", ["host", "host:", ":7", "host:x", "host:0", "host:65536", ""])
def test_an_endpoint_is_host_and_port(endpoint):
    with pytest.raises(Unusable, match="HOST:PORT"):
        finding.find(Flags(endpoints=(endpoint,)), {})


def test_tls_flags_go_with_an_endpoint():
    with pytest.raises(Unusable, match="--endpoint"):
        finding.find(Flags(ca="/ca.crt"), {})


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"network": "a"}', '{"network": "a", "members": [{}]}', '{"network": "a", "members": 7}',
     '{"network": "a", "members": [], "admin": {"key": "k"}}', '{"network": "a", "members": [], "admin": "x"}'],
)  # fmt: skip
def test_a_malformed_context_is_refused_with_its_path(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(Unusable, match=r"c\.json"):
        finding.read_context(path)


def test_a_context_that_is_not_there_is_refused():
    with pytest.raises(Unusable, match="No such file"):
        finding.find(Flags(context=str(NOWHERE)), {})


def test_members_are_chosen_by_name_or_address(tmp_path):
    network = finding.read_pod(write_pod(tmp_path))

    assert finding.select(network, "storage-0").role == "storage_provider"
    assert finding.select(network, "validators-0:26658").role == "validator"
    assert finding.select(network, None).name == "validators-0"
    with pytest.raises(Unusable) as refused:
        finding.select(network, "nobody")
    assert "validators-0" in refused.value.todo
