import pytest
import yaml

from tools.cluster import deploy
from tools.cluster.console import ClusterError
from tools.cluster.layers import Image
from tools.cluster.layout import REPOSITORY


def manifest(kind, name, namespace="theblock", api="theblock.dev/v1alpha1", **spec):
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def test_the_starter_asks_for_its_six_resources_and_a_database():
    plan = deploy.plan_of(deploy.read_manifests(REPOSITORY / "examples" / "starter"))

    assert plan.namespace == "theblock"
    assert plan.networks == plan.with_database == ("starter",)
    assert sorted(plan.resources) == [
        "bridge/bitcoin",
        "computeprovider/compute",
        "energyoracle/solar",
        "network/starter",
        "storageprovider/storage",
        "validator/validators",
    ]


def test_a_network_with_a_database_of_its_own_gets_none_from_the_chart():
    explorer = {"database": {"dsnSecretRef": {"name": "elsewhere", "key": "dsn"}}}

    assert deploy.plan_of([manifest("Network", "n", explorer=explorer)]).with_database == ()
    assert deploy.plan_of([manifest("Network", "n")]).with_database == ()


def test_objects_of_other_groups_are_not_waited_for():
    plan = deploy.plan_of([manifest("Network", "n"), manifest("ConfigMap", "c", api="v1")])

    assert plan.resources == ("network/n",)


@pytest.mark.parametrize(
    ("manifests", "complaint"),
    [
        pytest.param([manifest("Validator", "v")], "no Network", id="no-network"),
        pytest.param([manifest("Network", "n"), manifest("Validator", "v", "other")], "one namespace", id="two-places"),
    ],
)
def test_manifests_that_make_no_network_are_refused(manifests, complaint):
    with pytest.raises(ClusterError, match=complaint):
        deploy.plan_of(manifests)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ClusterError, match="no manifests"):
        deploy.read_manifests(tmp_path)


@pytest.mark.parametrize(
    ("generation", "seen", "status", "is_ready"),
    [
        pytest.param(1, 1, "True", True, id="ready"),
        pytest.param(2, 1, "True", False, id="ready-for-what-was-asked-before"),
        pytest.param(1, 1, "False", False, id="not-ready"),
        pytest.param(1, 1, "Unknown", False, id="unknown"),
    ],
)
def test_a_resource_is_ready_when_the_operator_says_so_of_its_present_spec(generation, seen, status, is_ready):
    conditions = [{"type": "Ready", "status": status}]
    resource = {
        "metadata": {"generation": generation},
        "status": {"observedGeneration": seen, "conditions": conditions},
    }

    assert deploy.is_ready(resource) is is_ready


def test_a_resource_without_status_is_not_ready():
    assert not deploy.is_ready({"metadata": {"generation": 1}})


def test_the_metrics_api_is_left_out_of_a_cluster_that_may_have_an_adapter(tmp_path):
    image = Image("x:1", "sha256:1", tmp_path)
    built = dict.fromkeys(("theblock-node", "theblock-operator", "theblock-gpu"), image)

    assert deploy.operator_settings(built, "")["metricsApi.enabled"] == "true"
    assert "metricsApi.enabled" not in deploy.operator_settings({}, "example.org/")


def test_settings_name_values_that_the_charts_have(tmp_path):
    built = {
        name: Image(f"{name}:dev-1", "sha256:1", tmp_path / name)
        for name in ("theblock-node", "theblock-operator", "theblock-gpu", "theblock-postgres")
    }
    for chart, settings in (
        ("theblock-operator", deploy.operator_settings(built, "")),
        ("theblock-operator", deploy.operator_settings({}, "example.org/")),
        ("theblock-network", deploy.database_settings("starter", built)),
    ):
        values = yaml.safe_load((deploy.CHARTS / chart / "values.yaml").read_text())
        assert settings
        for path in settings:
            level = values
            for part in path.split("."):
                assert part in level, path
                level = level[part]
