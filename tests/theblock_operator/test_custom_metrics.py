"""What autoscalers are told of ComputeProviders, from their status alone."""

from pathlib import Path

import pytest
import yaml
from theblock_operator import custom_metrics
from theblock_operator.custom_metrics import METRICS

from tools.charts import schemas

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_790_000_000


def provider(name="compute", **status):
    return {"metadata": {"name": name, "namespace": "n"}, "status": status}


@pytest.mark.parametrize(
    ("jobs", "queued", "running"),
    [
        pytest.param({"running": 7, "queued": 5}, 5, 2, id="some-wait"),
        pytest.param({"running": 0, "queued": 0}, 0, 0, id="at-rest"),
        pytest.param({"running": 3, "queued": 4}, 3, 0, id="the-member-is-ahead-of-the-chain"),
        pytest.param({"running": 6, "queued": 0}, 0, 6, id="members-are-silent"),
    ],
)
def test_the_backlog_is_what_waits_and_what_runs(jobs, queued, running):
    found = provider(jobs=jobs)

    assert {metric: custom_metrics.read(found, metric) for metric in METRICS} == {
        "queued_slices": queued,
        "running_slices": running,
        "backlog": queued + running,
    }


@pytest.mark.parametrize("status", [{}, {"replicas": 1}, {"jobs": {"settled": 3}}])
def test_nothing_is_told_where_the_chain_does_not_answer(status):
    found = provider(**status)

    assert custom_metrics.read(found, "backlog") is None
    assert custom_metrics.value_list("backlog", [found], NOW)["items"] == []


def test_a_value_says_of_what_it_is():
    told = custom_metrics.value_list("backlog", [provider(jobs={"running": 7, "queued": 5})], NOW)

    assert (told["kind"], told["apiVersion"]) == ("MetricValueList", "custom.metrics.k8s.io/v1beta2")
    assert told["items"] == [
        {
            "describedObject": {
                "kind": "ComputeProvider",
                "apiVersion": "theblock.dev/v1alpha1",
                "namespace": "n",
                "name": "compute",
            },
            "metric": {"name": "backlog", "selector": None},
            "timestamp": "2026-09-21T14:13:20Z",
            "value": "7",
        }
    ]


def test_every_metric_is_discovered_as_a_part_of_its_resource():
    told = custom_metrics.discovery()

    assert told["groupVersion"] == "custom.metrics.k8s.io/v1beta2"
    assert [row["name"] for row in told["resources"]] == [
        "computeproviders.theblock.dev/queued_slices",
        "computeproviders.theblock.dev/running_slices",
        "computeproviders.theblock.dev/backlog",
    ]


def test_the_example_asks_for_a_metric_that_is_served():
    body = yaml.safe_load((ROOT / "examples" / "autoscaling" / "hpa.yaml").read_text())
    (metric,) = body["spec"]["metrics"]

    assert list(schemas.find_problems(body)) == []
    assert metric["object"]["metric"]["name"] in METRICS
    assert metric["object"]["describedObject"] == body["spec"]["scaleTargetRef"]
    assert metric["object"]["describedObject"]["kind"] == custom_metrics.KIND
