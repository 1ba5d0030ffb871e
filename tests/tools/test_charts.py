"""The charts make what the examples say, and every check of them finds a fault that is planted."""

import copy
import shutil
from pathlib import Path

import pytest
import yaml
from theblock_operator.front_proxy import TRUST_NAMESPACE
from theblock_operator.metrics_api import API_SERVICE
from theblock_operator.settings import METRICS_API_PORT

from tools.charts import __main__ as charts
from tools.charts import policy, queries, rendering, schemas
from tools.charts.binaries import find_helm
from tools.charts.rendering import CASES, CHARTS, Case, HelmError

STARTER = list(yaml.safe_load_all(charts.STARTER.read_text()))
DEFAULTS = {case.chart: case for case in CASES if case.name == "defaults"}


@pytest.fixture(scope="module")
def helm() -> Path:
    return find_helm()


@pytest.fixture(scope="module")
def rendered(helm):
    return {chart: rendering.render(helm, case) for chart, case in DEFAULTS.items()}


@pytest.fixture
def operator(rendered):
    return copy.deepcopy(rendered["theblock-operator"])


@pytest.fixture
def network(rendered):
    return copy.deepcopy(rendered["theblock-network"])


def only(objects, kind, name=None):
    (found,) = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    return found


def test_the_network_chart_makes_the_resources_of_the_starter(network):
    ours = [o for o in network if o["apiVersion"].startswith("theblock.dev/")]

    assert {o["kind"]: o["spec"] for o in ours} == {o["kind"]: o["spec"] for o in STARTER}
    assert list(charts.differences(network, STARTER)) == []


def test_the_secret_that_the_starter_names_comes_with_the_database(network):
    secret = only(network, "Secret")["stringData"]
    wanted = STARTER[0]["spec"]["explorer"]["database"]["dsnSecretRef"]
    service = only(network, "Service")

    assert only(network, "Secret")["metadata"]["name"] == wanted["name"]
    assert secret[wanted["key"]] == (
        f"postgresql://explorer:{secret['password']}@{service['metadata']['name']}.theblock.svc:5432/explorer"
    )


def test_a_resource_is_taken_away_with_null_and_another_is_added(helm):
    values = {"bridges": {"bitcoin": None}, "storageProviders": {"cold": {"capacity": "2Gi", "stake": "5"}}}

    objects = rendering.render(helm, Case("theblock-network", "changed", values))

    assert not [o for o in objects if o["kind"] == "Bridge"]
    assert only(objects, "StorageProvider", "cold")["spec"]["network"] == "starter"


def test_the_operator_gets_its_rights_in_each_watched_namespace_and_nowhere_else(helm):
    objects = rendering.render(helm, Case("theblock-operator", "two", {"watchNamespaces": ["south", "north"]}))

    assert [o["metadata"]["namespace"] for o in objects if o["kind"] == "Role"] == ["north", "south"]
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert "--namespaces=north,south" in container["args"]


def test_without_the_right_to_read_nodes_the_operator_is_told_so(helm):
    objects = rendering.render(helm, Case("theblock-operator", "blind", {"rbac": {"nodes": False}}))

    (role,) = [o for o in objects if o["kind"] == "ClusterRole" and o["metadata"]["name"].startswith("theblock-trial")]
    assert not any("nodes" in rule["resources"] for rule in role["rules"])
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert "--watch-nodes=false" in container["args"]


def test_the_metrics_api_is_served_only_where_it_is_wanted(helm, operator):
    objects = rendering.render(helm, Case("theblock-operator", "metrics", {"metricsApi": {"enabled": True}}))
    service = only(objects, "APIService")["spec"]["service"]
    target = only(objects, "Service", service["name"])["spec"]["ports"][0]["targetPort"]
    container = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    reader = only(objects, "RoleBinding", "theblock-trial-theblock-operator")

    assert not [o for o in operator if o["kind"] == "APIService"]
    assert only(objects, "APIService")["metadata"]["name"] == API_SERVICE
    assert f"--metrics-api={service['name']}" in container["args"]
    assert (target, METRICS_API_PORT) in [(port["name"], port["containerPort"]) for port in container["ports"]]
    assert (reader["metadata"]["namespace"], reader["roleRef"]["name"]) == (
        TRUST_NAMESPACE,
        "extension-apiserver-authentication-reader",
    )


def test_priority_classes_stand_in_the_order_of_importance(operator):
    values = {o["metadata"]["name"]: o["value"] for o in operator if o["kind"] == "PriorityClass"}

    assert sorted(values, key=values.__getitem__, reverse=True) == [
        "theblock-validator",
        "theblock-storage",
        "theblock-service",
        "theblock-compute",
    ]


@pytest.mark.parametrize(
    ("chart", "values", "path"),
    [
        pytest.param("theblock-network", {"validators": {"v": {"replicas": 0}}}, "/validators/v", id="bound"),
        pytest.param("theblock-network", {"validators": {"validators": {"replica": 3}}}, "replica", id="unknown-field"),
        pytest.param("theblock-network", {"network": {"name": "Starter"}}, "/network/name", id="name"),
        pytest.param("theblock-network", {"storageProviders": {"s": {"capacity": "1G"}}}, "capacity", id="bytes"),
        pytest.param("theblock-network", {"postgres": {"password": "p@ss"}}, "/postgres/password", id="dsn"),
        pytest.param("theblock-operator", {"image": {"tag": "a b"}}, "/image/tag", id="tag"),
        pytest.param("theblock-operator", {"replica": 2}, "replica", id="operator-unknown"),
        pytest.param("theblock-monitoring", {"monitors": {"interval": "soon"}}, "/monitors/interval", id="interval"),
    ],
)
def test_bad_values_are_refused_with_their_path(helm, chart, values, path):
    with pytest.raises(HelmError) as refused:
        rendering.render(helm, Case(chart, "bad", values))
    assert path in str(refused.value)


def test_every_case_is_free_of_faults(helm):
    found = [problem for case in CASES for problem in charts.check(case, rendering.render(helm, case))]

    assert found == []
    assert list(charts.stale_copies(CHARTS)) == []
    assert list(queries.find_problems()) == []


def pod_of(objects):
    return only(objects, "Deployment")["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        pytest.param(lambda o: pod_of(o)["securityContext"].pop("runAsUser"), "root", id="root"),
        pytest.param(lambda o: pod_of(o)["securityContext"].pop("seccompProfile"), "seccomp", id="seccomp"),
        pytest.param(lambda o: pod_of(o).update(hostNetwork=True), "machine's namespaces", id="host-network"),
        pytest.param(lambda o: pod_of(o).pop("serviceAccountName"), "default service account", id="account"),
        pytest.param(lambda o: pod_of(o).update(serviceAccountName="x"), "ServiceAccount x", id="no-account"),
        pytest.param(
            lambda o: pod_of(o)["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
            "file system",
            id="rw",
        ),
        pytest.param(
            lambda o: pod_of(o)["containers"][0]["securityContext"]["capabilities"].update(add=["NET_RAW"]),
            "capabilities",
            id="capabilities",
        ),
        pytest.param(lambda o: pod_of(o)["containers"][0].update(image="a/b"), "no fixed tag", id="tag"),
        pytest.param(lambda o: pod_of(o)["containers"][0]["resources"].pop("limits"), "limits of cpu", id="limits"),
        pytest.param(lambda o: pod_of(o)["containers"][0].pop("livenessProbe"), "livenessProbe", id="probe"),
        pytest.param(lambda o: pod_of(o)["volumes"].pop(), "is no volume", id="volume"),
        pytest.param(
            lambda o: only(o, "Deployment")["spec"]["selector"]["matchLabels"].update(a="b"), "selector", id="selector"
        ),
        pytest.param(lambda o: only(o, "Service")["spec"]["selector"].update(a="b"), "selects no pods", id="service"),
        pytest.param(lambda o: only(o, "Role")["rules"][0].update(verbs=["*"]), "allows ['*']", id="wildcard"),
        pytest.param(
            lambda o: only(o, "Role")["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}),
            "Secrets",
            id="secrets",
        ),
        pytest.param(lambda o: only(o, "Role")["metadata"].update(name="x"), "which is not here", id="binding"),
        pytest.param(
            lambda o: only(o, "ClusterRole", "theblock-trial-theblock-operator")["rules"].append(
                {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["patch"]}
            ),
            "in the whole cluster",
            id="cluster-write",
        ),
        pytest.param(lambda o: only(o, "Role")["metadata"].pop("namespace"), "names no namespace", id="namespace"),
        pytest.param(lambda o: o.append(copy.deepcopy(only(o, "Service"))), "stands 2 times", id="double"),
        pytest.param(
            lambda o: only(o, "Service")["metadata"]["labels"].update(a="b c"), "is no label value", id="label"
        ),
    ],
)
def test_a_planted_fault_is_found_by_our_rules(operator, plant, said):
    assert list(policy.find_problems(operator)) == []

    plant(operator)

    assert any(said in problem for _, problem in policy.find_problems(operator))


@pytest.mark.parametrize(
    ("kind", "change", "path"),
    [
        pytest.param("Deployment", {"replicas": "two"}, "spec.replicas", id="type"),
        pytest.param("Deployment", {"replica": 2}, "replica", id="unknown-field"),
        pytest.param("NetworkPolicy", {"policyTypes": "Ingress"}, "spec.policyTypes", id="list"),
    ],
)
def test_a_planted_fault_is_found_by_the_schemas(operator, kind, change, path):
    planted = only(operator, kind)
    planted["spec"].update(change)

    assert any(path in problem for problem in schemas.find_problems(planted))


def test_a_planted_fault_in_a_resource_of_ours_is_found_by_the_schemas(network):
    planted = only(network, "Validator")
    planted["spec"]["replicas"] = 51

    assert any(problem.startswith("spec.replicas") for problem in schemas.find_problems(planted))


def test_kubeconform_reads_the_same_schemas_and_finds_the_same_fault(operator):
    assert list(charts.second_opinion(operator)) == []

    only(operator, "Deployment")["spec"]["replicas"] = "two"

    (problem,) = charts.second_opinion(operator)
    assert "Deployment" in problem
    assert "replicas" in problem


def test_a_resource_that_differs_from_the_starter_is_named(network):
    only(network, "Bridge")["spec"]["stake"] = "1"

    assert list(charts.differences(network, STARTER)) == [
        "Bridge bitcoin of the network chart differs from starter.yaml"
    ]


def test_a_stale_copy_of_a_crd_is_named(tmp_path):
    shutil.copytree(CHARTS, tmp_path / "charts")
    (tmp_path / "charts" / "theblock-operator" / "crds" / "bridges.yaml").write_text("kind: Nothing\n")

    assert list(charts.stale_copies(tmp_path / "charts")) == [
        "bridges.yaml is not what its source says: run make generate"
    ]


def test_an_expression_for_what_nobody_measures_is_named(tmp_path):
    shutil.copytree(CHARTS / "theblock-monitoring", tmp_path / "chart")
    rules = tmp_path / "chart" / "rules" / "theblock.yaml"
    rules.write_text(rules.read_text().replace("storage_shard_lost_total", "storage_shards_lost_total"))

    (problem,) = queries.find_problems(tmp_path / "chart")

    assert problem == ("theblock.yaml, TheblockShardsLost", "asks for storage_shards_lost_total, which nobody measures")


def test_names_are_told_from_functions_and_labels():
    expression = 'topk(3, sum by (le, kind) (rate(a_bucket{b="c"}[5m]))) / on (x) group_left (y) d_total > 2'

    assert queries.names_in(expression) == {"a_bucket", "d_total"}
