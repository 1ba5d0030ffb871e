"""CRDs are structural, complete, and what an API server accepts; rights are narrow."""

import copy
import re
import subprocess
import sys

import pytest
import yaml
from support.bad_resources import BAD, CHANGES
from theblock_operator import schema
from theblock_operator.kinds import KINDS
from theblock_operator.schema import ROOT, render_crd

CRDS = {kind.name: render_crd(kind) for kind in KINDS}
SHORT = {
    "Network": "tbnet",
    "Validator": "val",
    "StorageProvider": "sp",
    "ComputeProvider": "cp",
    "EnergyOracle": "eo",
    "Bridge": "br",
}
STARTER = {o["kind"]: o for o in yaml.safe_load_all((ROOT / "examples" / "starter" / "starter.yaml").read_text())}
FORBIDDEN = ("$ref", "anyOf", "oneOf", "nullable", "title", "x-kubernetes-preserve-unknown-fields")


def version_of(kind):
    (version,) = CRDS[kind]["spec"]["versions"]
    return version


def parts(node, path=""):
    yield path, node
    for name, part in node.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from parts(node[key], f"{path}[{key}]")


@pytest.mark.parametrize("kind", CRDS)
def test_schemas_are_structural_and_bounded(kind):
    for path, part in parts(version_of(kind)["schema"]["openAPIV3Schema"]):
        assert "type" in part, path
        assert not set(part) & set(FORBIDDEN), path
        assert not ("properties" in part and "additionalProperties" in part), path
        if path.startswith(".spec"):
            if part["type"] == "string":
                assert "maxLength" in part or "enum" in part, path
            if part["type"] == "array":
                assert "maxItems" in part, path
            if part["type"] == "integer":
                assert "minimum" in part, path
                assert part["maximum"] <= 2**53, path


@pytest.mark.parametrize("kind", CRDS)
def test_a_default_is_whole(kind):
    for path, part in parts(version_of(kind)["schema"]["openAPIV3Schema"]["properties"]["spec"]):
        if part["type"] == "object" and "default" in part:
            inside = {name for name, field in part.get("properties", {}).items() if "default" in field}
            assert set(part["default"]) >= inside, path


@pytest.mark.parametrize("kind", CRDS)
def test_names_columns_and_subresources_are_those_of_the_reference(kind):
    names = CRDS[kind]["spec"]["names"]
    version = version_of(kind)

    assert names["shortNames"] == [SHORT[kind]]
    assert names["categories"] == ["theblock"]
    assert [column["name"] for column in version["additionalPrinterColumns"]][:2] == ["Ready", "Reason"]
    narrow = [column["jsonPath"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert narrow[-1] == ".metadata.creationTimestamp"
    assert ("scale" in version["subresources"]) == (kind != "Network")
    assert "status" in version["subresources"]


@pytest.mark.parametrize("kind", CRDS)
def test_columns_show_fields_that_the_schema_has(kind):
    root = version_of(kind)["schema"]["openAPIV3Schema"]
    known = {path for path, _ in parts(root)}
    for column in version_of(kind)["additionalPrinterColumns"]:
        path = re.sub(r"\[\?[^]]*\]", "[items]", column["jsonPath"])
        if not path.startswith((".metadata", ".status.conditions")):
            assert path in known, path


def test_every_rule_has_a_message_and_a_place():
    for kind in KINDS:
        rules = [rule for rule in kind.rules if rule.cel]
        placed = [
            rule
            for _, part in parts(version_of(kind.name)["schema"]["openAPIV3Schema"])
            for rule in part.get("x-kubernetes-validations", ())
        ]
        assert len(placed) == len(rules)
        assert all(rule["message"] for rule in placed)


def test_rights_are_narrow():
    rules = [*schema.namespace_rules(), *schema.cluster_rules(), *schema.node_rules()]

    for rule in rules:
        assert not {"*", "escalate", "bind", "impersonate"} & set(rule["verbs"])
        assert "pods/exec" not in rule["resources"]
    (secrets,) = [rule for rule in rules if rule["resources"] == ["secrets"]]
    assert secrets["verbs"] == ["get", "create", "patch"]


def test_a_file_that_was_changed_by_hand_is_found(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(schema, "ROOT", tmp_path)
    assert schema.main([]) == 0
    assert schema.main(["--check"]) == 0

    path = tmp_path / "crds" / "bridges.yaml"
    path.write_text(path.read_text().replace("Bridge", "Brigde", 1))

    assert schema.main(["--check"]) == 1
    assert "crds/bridges.yaml" in capsys.readouterr().out


def test_generated_files_are_up_to_date():
    done = subprocess.run(
        [sys.executable, "-m", "theblock_operator.schema", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


# On a real API server.


@pytest.fixture(scope="module")
def starter(api_server):
    api_server.kubectl("create", "namespace", "admission")
    text = yaml.safe_dump_all([placed(o) for o in STARTER.values()])
    api_server.kubectl("apply", "--validate=strict", "-f", "-", stdin=text)
    return api_server


def placed(object_):
    made = copy.deepcopy(object_)
    made["metadata"]["namespace"] = "admission"
    return made


@pytest.mark.cluster
def test_the_starter_is_admitted_and_defaults_are_filled_in(starter):
    validators = yaml.safe_load(starter.kubectl("get", "validator", "validators", "-n", "admission", "-o", "yaml"))

    assert validators["spec"]["owner"] == {"funding": "Network", "memberFloat": "1000000000"}
    assert validators["spec"]["deletionPolicy"] == "Exit"


@pytest.mark.cluster
@pytest.mark.parametrize(("kind", "spoil", "said"), BAD)
def test_a_bad_resource_is_refused_with_its_field(starter, kind, spoil, said):
    bad = placed(STARTER[kind])
    bad["metadata"]["name"] = "other"
    spoil(bad)

    done = starter.try_kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(bad))

    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.cluster
@pytest.mark.parametrize(("kind", "patch", "said"), CHANGES)
def test_a_change_of_what_is_fixed_is_refused(starter, kind, patch, said):
    name = STARTER[kind]["metadata"]["name"]
    text = yaml.safe_dump({"spec": patch})

    done = starter.try_kubectl(
        "patch", kind.lower(), name, "-n", "admission", "--type=merge", "--dry-run=server", "-p", text
    )

    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.cluster
def test_scaling_is_admitted_up_and_refused_below_the_faults_to_tolerate(starter):
    starter.kubectl("scale", "validator/validators", "--replicas=5", "-n", "admission")
    starter.kubectl("scale", "validator/validators", "--replicas=4", "-n", "admission")

    refused = starter.try_kubectl("scale", "validator/validators", "--replicas=3", "-n", "admission")

    assert refused.returncode != 0
    assert "tolerateFaults" in refused.stderr
