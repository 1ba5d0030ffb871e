"""Charts, the values with which they are tried, and what helm makes of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "charts"
NAMESPACE = "theblock"
HELM_S = 60


@dataclass(frozen=True, slots=True)
class Case:
    """A chart under one set of values."""

    chart: str
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{self.chart} ({self.name})"


CASES = (
    Case("theblock-operator", "defaults"),
    Case(
        "theblock-operator",
        "everything",
        {
            "watchNamespaces": ["north", "south"],
            "replicas": 2,
            "imagePullSecrets": [{"name": "pull"}],
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
            "podLabels": {"team": "chain"},
            "podAnnotations": {"example.com/note": "x"},
            "serviceAccount": {"annotations": {"example.com/note": "x"}},
            "metricsApi": {"enabled": True},
        },
    ),
    Case(
        "theblock-operator",
        "least",
        {
            "rbac": {"nodes": False, "people": False},
            "priorityClasses": {"create": False},
            "priorityClassName": "",
            "podDisruptionBudget": {"enabled": False},
            "networkPolicy": {"enabled": False},
            "admissionWarnings": False,
        },
    ),
    Case("theblock-network", "defaults"),
    Case(
        "theblock-network",
        "without a database",
        {"postgres": {"enabled": False}, "commonLabels": {"team": "chain"}, "bridges": {"bitcoin": None}},
    ),
    Case("theblock-network", "database only", {"resources": {"enabled": False}}),
    Case("theblock-monitoring", "defaults"),
    Case("theblock-monitoring", "everything", {"rules": {"enabled": True}, "monitors": {"enabled": True}}),
)


class HelmError(Exception):
    """Helm refuses a chart or its values, in its words."""


def lint(helm: Path, case: Case, charts: Path = CHARTS) -> None:
    _helm(helm, ["lint", "--strict", "--namespace", NAMESPACE, str(charts / case.chart)], case)


def render(helm: Path, case: Case, charts: Path = CHARTS) -> list[Object]:
    """Every object of the chart, its CRDs included."""
    text = _helm(
        helm,
        ["template", "trial", str(charts / case.chart), "--namespace", NAMESPACE, "--include-crds", "--values", "-"],
        case,
    )
    return [object_ for object_ in yaml.load_all(text, Loader=yaml.CSafeLoader) if object_]


def _helm(helm: Path, arguments: list[str], case: Case) -> str:
    if "--values" not in arguments:
        arguments = [*arguments, "--values", "-"]
    done = subprocess.run(
        [str(helm), *arguments],
        input=json.dumps(dict(case.values)),
        capture_output=True,
        text=True,
        timeout=HELM_S,
        check=False,
    )
    if done.returncode:
        raise HelmError((done.stderr + done.stdout).strip())
    return done.stdout
