"""What people get wrong, on the cluster that they use: refused at once with the field, or told in a condition."""

from __future__ import annotations

import copy
import subprocess
from typing import Any

import pytest
import yaml
from support.bad_resources import BAD, CHANGES

from tests.support import things
from tests.support.starter import EXAMPLE, NAMESPACE, OPERATOR_USER, Starter

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
STARTER = {body["kind"]: body for body in yaml.safe_load_all((EXAMPLE / "starter.yaml").read_text())}
LONELY = "lonely"


def kubectl(starter: Starter, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*starter.cluster.kubectl_argv, "-n", NAMESPACE, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=starter.cluster.env(),
    )


def named(kind: str, name: str = "other") -> dict[str, Any]:
    made = copy.deepcopy(STARTER[kind])
    made["metadata"]["name"] = name
    return made


@pytest.mark.parametrize(("kind", "spoil", "said"), BAD)
def test_a_bad_resource_is_refused_with_its_field(starter, kind, spoil, said):
    bad = named(kind)
    spoil(bad)

    done = kubectl(starter, "create", "--dry-run=server", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(bad))

    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(("kind", "patch", "said"), CHANGES)
def test_a_change_of_what_is_fixed_is_refused(starter, kind, patch, said):
    name = STARTER[kind]["metadata"]["name"]

    done = kubectl(
        starter, "patch", kind.lower(), name, "--type=merge", "--dry-run=server", "-p", yaml.safe_dump({"spec": patch})
    )

    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        pytest.param({"network": "nowhere"}, "UnknownNetwork", id="no-such-network"),
        pytest.param({"owner": {"keySecretRef": {"name": "nothing"}}}, "MissingSecret", id="no-such-secret"),
    ],
)
def test_what_only_the_operator_can_see_is_told_in_a_condition(starter, spec, reason):
    body = named("Bridge", LONELY)
    body["spec"].update(spec)
    starter.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(body))
    try:
        things.wait(
            f"Accepted is False for {reason}",
            lambda: any(
                row["type"] == "Accepted" and (row["status"], row["reason"]) == ("False", reason)
                for row in starter.get(f"bridge/{LONELY}").get("status", {}).get("conditions", ())
            ),
            limit_s=60,
            hint=lambda: starter.explain(f"bridge/{LONELY}"),
        )
        pods = starter.kubectl("get", "pods", "-l", f"theblock.dev/resource={LONELY}", "-o", "name")
        assert pods.strip() == ""
    finally:
        starter.kubectl("delete", f"bridge/{LONELY}", "--timeout=120s", timeout_seconds=150)


@pytest.mark.parametrize(
    ("kind", "spec", "warning"),
    [
        pytest.param("Validator", {"replicas": 3, "tolerateFaults": 0}, "fewer than 4 validators", id="few"),
        pytest.param("Bridge", {"deletionPolicy": "Retain"}, "deletionPolicy Retain", id="retain"),
    ],
)
def test_what_is_seldom_meant_is_admitted_with_a_warning(starter, kind, spec, warning):
    body = named(kind)
    body["spec"].update(spec)

    done = kubectl(starter, "create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(body))

    assert done.returncode == 0, done.stderr
    assert warning in done.stderr


def test_the_operator_is_never_denied_anything(starter):
    """An API server that has just started denies everybody everything for a moment: what it allows later is allowed."""
    calls = starter.cluster.audit_calls(OPERATOR_USER, starter.deployed_at)

    allowed = {(call.verb, call.resource) for call in calls if call.code < 400}
    denied = {(call.verb, call.resource) for call in calls if call.code == 403}

    assert ("patch", "statefulsets") in allowed
    assert denied - allowed == set()
