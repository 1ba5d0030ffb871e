import base64
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from tools.cluster import control, nodes
from tools.cluster import layout as layouts


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "STATE_ROOT", tmp_path / "state")
    monkeypatch.setattr(layouts, "RUN_ROOT", tmp_path / "run")
    return layouts.layout_of("test")


@pytest.fixture
def credentials(layout):
    return control.create_credentials(layout, [layout.node(0), layout.node(1)])


def certificate_of(path):
    user = yaml.safe_load(path.read_text())["users"][0]["user"]
    return x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))


def test_the_api_server_answers_to_every_name_by_which_it_is_reached(credentials, layout):
    certificate = x509.load_pem_x509_certificate(credentials.server.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "10.96.0.1", "10.244.0.1", layout.outside(1)}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_a_node_is_who_the_node_authorizer_expects(credentials, layout):
    subject = certificate_of(credentials.config("test-1")).subject

    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "system:node:test-1"
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:nodes"


def test_only_the_admin_is_a_master(credentials):
    masters = {
        identity
        for identity in control.IDENTITIES
        if certificate_of(credentials.config(identity)).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    }

    assert masters == {"admin"}


def test_keys_and_kubeconfigs_are_readable_by_their_owner_alone(credentials):
    private = [*credentials.folder.glob("*.key"), *credentials.folder.glob("*.kubeconfig")]

    assert len(private) > 10
    assert {path.stat().st_mode & 0o077 for path in private} == {0}


def test_the_api_server_shows_its_extensions_a_certificate_that_signs_nobody_else_in(layout, credentials):
    flags = dict(flag[2:].split("=", 1) for flag in control.api_server(layout, credentials, layout.node(0))[1:])
    trusted, front = (
        x509.load_pem_x509_certificate(Path(flags[name]).read_bytes())
        for name in ("client-ca-file", "requestheader-client-ca-file")
    )
    shown = x509.load_pem_x509_certificate(Path(flags["proxy-client-cert-file"]).read_bytes())

    shown.verify_directly_issued_by(front)
    assert front.public_key() != trusted.public_key()
    (name,) = shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == flags["requestheader-allowed-names"]


def test_the_audit_log_leaves_out_kubernetes_own_programs_and_no_workload():
    rules = control.audit_policy()["rules"]
    silent = [rule for rule in rules if rule["level"] == "None"]

    assert {name for rule in silent for name in rule.get("users", [])} == {
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-scheduler",
        "system:kube-proxy",
        control.DNS_VIEWER,
        control.PROVISIONER,
    }
    assert [rule.get("userGroups") for rule in silent if "userGroups" in rule] == [
        ["system:nodes", "system:serviceaccounts:kube-system"]
    ]


def test_a_nodes_pods_have_addresses_of_its_own_range(layout):
    for index in (0, 1):
        config = nodes.cni_config(layout.node(index))
        (bridge, _) = config["plugins"]
        assert bridge["ipam"]["ranges"] == [[{"subnet": f"10.244.{index}.0/24", "gateway": f"10.244.{index}.1"}]]


def test_a_node_keeps_everything_below_its_own_folders(layout, credentials):
    node = layout.node(1)
    written = nodes.containerd_config(node, node.state / "cni-config")
    kubelet = nodes.kubelet_config(node, credentials, ["theblock.dev/accelerator=true:NoSchedule"])

    for line in written.splitlines():
        if line.strip().startswith(("root =", "state =", "address =", "conf_dir =", "path =", "Root =")):
            assert str(node.state) in line or str(node.run) in line
    assert kubelet["cgroupRoot"] == "/tb-test-1"
    assert kubelet["registerWithTaints"] == [
        {"key": "theblock.dev/accelerator", "value": "true", "effect": "NoSchedule"}
    ]
