from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from theblock_operator.embedded import starting
from theblock_operator.embedded.places import Home

ROLES = ("validator", "storage_provider", "compute_provider", "energy_oracle", "bridge", "explorer")


def member(role: str) -> dict[str, Any]:
    return {"name": f"{role}-0", "role": role, "resource": role, "host": "127.45.0.1", "grpc": 26658}


@pytest.mark.parametrize("roles", [ROLES, ROLES[:1], ROLES[3:4], ()], ids=str)
def test_there_are_always_five_different_things_to_try(roles: tuple[str, ...]) -> None:
    found = starting.ideas([member(role) for role in roles])

    assert len(set(found)) == min(5, len(found))
    assert len(found) == (5 if roles else 4)


def test_ideas_name_only_what_runs() -> None:
    assert not any("storage" in idea or "compute" in idea for idea in starting.ideas([member("validator")]))


def test_the_summary_says_where_everything_is() -> None:
    context = {
        "network": "starter",
        "namespace": "theblock",
        "members": [member("validator"), member("explorer")],
        "explorer": "http://127.45.0.2:8080/",
        "metrics": {"validator-0": "http://127.45.0.1:9898/metrics"},
    }
    status = {"members": [{"name": "validator-0", "ready": True}, {"name": "explorer-0", "ready": False}]}

    told = starting.render_summary(status, context, programs=".venv/bin/", authority="ca.crt")

    for text in (
        "http://127.45.0.2:8080/",
        "127.45.0.1:26658",
        "http://127.45.0.1:9898/metrics",
        "make down",
        "ca.crt",
    ):
        assert text in told
    assert ".venv/bin/tb-cli status" in told
    rows = {line.split()[0]: line for line in told.splitlines() if line.startswith("  ")}
    assert rows["validator-0"].endswith(" ready")
    assert rows["explorer-0"].endswith("not ready")


def test_stopping_what_does_not_run_says_so(tmp_path: Path) -> None:
    assert starting.stop_controller(Home(tmp_path)) == "nothing is running here"
