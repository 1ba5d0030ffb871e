"""Flags and environment of the operator's process."""

from pathlib import Path

import pytest
from theblock_operator.settings import prover_beside, read


def test_what_is_not_said_is_its_own_namespace_and_the_usual_port():
    config = read([], {}, default_namespace="own")

    assert config.namespaces == ("own",)
    assert (config.port, config.watches_nodes, config.log_level) == (9898, True, "info")
    assert config.identity != read([], {}, default_namespace="own").identity


def test_the_metrics_api_is_served_where_its_service_is_named():
    silent, served = (read(flags, {}, default_namespace="own") for flags in ([], ["--metrics-api=tb-metrics"]))

    assert silent.metrics_api == ""
    assert (served.metrics_api, served.metrics_api_port) == ("tb-metrics", 8443)


def test_flags_go_before_the_environment():
    environment = {"THEBLOCK_NAMESPACES": "b,a,b", "THEBLOCK_PORT": "1", "THEBLOCK_WATCH_NODES": "false"}

    config = read(["--port=2", "--run-dir=/x"], environment, default_namespace="own")

    assert config.namespaces == ("a", "b")
    assert (config.port, config.watches_nodes, config.run_dir) == (2, False, Path("/x"))


@pytest.mark.parametrize(
    ("image", "prover"),
    [
        ("theblock-node:0.1.0", "theblock-gpu:0.1.0"),
        ("host:5000/team/theblock-node:1", "host:5000/team/theblock-gpu:1"),
        ("theblock-node", "theblock-gpu:latest"),
        ("a/theblock-node:1@sha256:00", "a/theblock-gpu:1"),
    ],
)
def test_the_prover_comes_from_beside_the_node(image, prover):
    assert prover_beside(image) == prover


@pytest.mark.parametrize(
    "flag",
    [
        "--namespaces=A",
        "--watch-nodes=maybe",
        "--log-level=loud",
        "--port=many",
        "--port=70000",
        "--metrics-api=A b",
        "--metrics-api-port=70000",
        "--unknown",
    ],
)
def test_a_bad_flag_ends_with_two(flag, capsys):
    with pytest.raises(SystemExit) as ended:
        read([flag], {}, default_namespace="own")
    assert ended.value.code == 2
    assert "error" in capsys.readouterr().err
