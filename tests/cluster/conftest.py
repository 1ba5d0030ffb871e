"""One real cluster for all tests here: brought up when the first one asks, taken down after the last."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.starter import Starter, deploy_starter
from tools.cluster import choose
from tools.cluster import cluster as clusters
from tools.cluster.access import Cluster
from tools.cluster.build import find_go
from tools.cluster.choose import Choice, Source
from tools.cluster.layers import Image
from tools.cluster.system import why_not_self_built

NAME = "tests"


@pytest.fixture(scope="session")
def choice() -> Choice:
    """Which cluster the tests get. Where one can be had, having none is a failure and no reason to skip."""
    made = choose.choose(choose.look_around(None, os.environ))
    must = bool(os.environ.get("CI")) or (why_not_self_built() is None and find_go() is not None)
    if made.source is Source.NONE:
        (pytest.fail if must else pytest.skip)(made.why)
    return made


@pytest.fixture(scope="session")
def cluster(choice: Choice) -> Iterator[Cluster]:
    """A running cluster; one that ran before the tests runs after them too."""
    ran_before = choice.source is Source.NAMED or bool(clusters.look(NAME).leftovers)
    made = choose.bring_up(NAME, choice, context=None)
    yield made
    if not ran_before:
        clusters.keep_logs(made.layout)
        choose.take_down(NAME)


@pytest.fixture(scope="session")
def loaded(cluster: Cluster, choice: Choice) -> dict[str, Image]:
    """The project's images, built from this tree and present in the cluster."""
    return choose.provide_images(cluster, choice)


@pytest.fixture(scope="session")
def starter(cluster: Cluster, loaded: dict[str, Image]) -> Starter:
    """The starter network, deployed once for all tests that look at it; each leaves it as it was."""
    return deploy_starter(cluster, loaded)
