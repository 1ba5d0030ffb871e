"""Whether every metric that a dashboard or a rule asks for is one that a program of ours has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml
from theblock_node.telemetry.registry import Metrics as NodeMetrics
from theblock_operator.metrics import Metrics as OperatorMetrics

from tools.charts.rendering import CHARTS

MONITORING = CHARTS / "theblock-monitoring"
WORDS = frozenset(
    {"and", "or", "unless", "on", "ignoring", "by", "without", "group_left", "group_right", "bool", "offset"}
)
SUFFIXES = ("", "_total", "_bucket", "_count", "_sum")
NOT_NAMES = re.compile(
    r"\{[^}]*\}|\"[^\"]*\"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)|\[[^\]]*\]"
)
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\w)(?!\s*\()")


def find_problems(folder: Path = MONITORING) -> Iterator[tuple[str, str]]:
    """Pairs of where an expression stands and what is wrong with it."""
    known = known_names()
    for where, expression in expressions(folder):
        for name in sorted(names_in(expression)):
            if name not in known:
                yield where, f"asks for {name}, which nobody measures"


def known_names() -> frozenset[str]:
    families: Iterable[Any] = [*NodeMetrics().registry.collect(), *OperatorMetrics().registry.collect()]
    own = {family.name + suffix for family in families for suffix in SUFFIXES}
    # Told only where certificates and accelerators are followed.
    return frozenset(own | {"theblock_operator_cert_expiry_seconds", "theblock_operator_accelerator_degraded"})


def names_in(expression: str) -> set[str]:
    """Metrics in an expression of PromQL: the names that are no function, no label and no word of the language."""
    return set(NAME.findall(NOT_NAMES.sub(" ", expression))) - WORDS - {"CERTIFICATE_SECONDS"}


def expressions(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted((folder / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                yield f"{path.name}, {panel['title']}", target["expr"]
    for path in sorted((folder / "rules").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield f"{path.name}, {rule['alert']}", rule["expr"]
