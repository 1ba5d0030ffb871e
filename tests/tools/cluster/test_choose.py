from dataclasses import replace
from pathlib import Path

import pytest

from tools.cluster import choose
from tools.cluster.choose import Facts, Source
from tools.cluster.layout import REPOSITORY

NOTHING = Facts(
    context=None,
    kubeconfig=None,
    engine=None,
    has_kind=False,
    why_not_self_built=None,
    has_go=True,
    has_binary=False,
)


@pytest.mark.parametrize(
    ("changes", "source", "why"),
    [
        pytest.param({"context": "mine"}, Source.NAMED, "mine", id="context-named"),
        pytest.param({"kubeconfig": "/k"}, Source.NAMED, "/k", id="kubeconfig-named"),
        pytest.param({"context": "mine", "engine": "docker", "has_kind": True}, Source.NAMED, "mine", id="named-first"),
        pytest.param({"engine": "docker", "has_kind": True}, Source.KIND, "docker and kind", id="kind"),
        pytest.param({"engine": "docker"}, Source.SELF_BUILT, "docker but no kind", id="engine-without-kind"),
        pytest.param({"has_kind": True}, Source.SELF_BUILT, "no container engine", id="kind-without-engine"),
        pytest.param({}, Source.SELF_BUILT, "no container engine", id="root-and-go"),
        pytest.param({"has_go": False, "has_binary": True}, Source.SELF_BUILT, "", id="built-before"),
        pytest.param({"has_go": False}, Source.NONE, "Go is missing", id="no-go"),
        pytest.param({"why_not_self_built": "it needs root"}, Source.NONE, "it needs root", id="no-root"),
    ],
)
def test_the_nearest_cluster_is_chosen_and_the_reason_said(changes, source, why):
    choice = choose.choose(replace(NOTHING, **changes))

    assert choice.source is source
    assert why in choice.why


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        pytest.param("/home/me/.kube/config", "/home/me/.kube/config", id="foreign"),
        pytest.param(str(REPOSITORY / "build" / "cluster" / "theblock" / "kubeconfig"), None, id="made-here"),
        pytest.param("", None, id="empty"),
    ],
)
def test_a_kubeconfig_that_was_made_here_names_no_foreign_cluster(value, seen):
    assert choose.look_around(None, {"KUBECONFIG": value}).kubeconfig == seen


def test_without_a_cluster_the_run_says_what_to_do_instead():
    choice = choose.choose(replace(NOTHING, why_not_self_built="it needs root"))

    with pytest.raises(choose.ClusterError, match="make up"):
        choose.bring_up("any", choice, context=None)


def test_kinds_configuration_has_the_accelerator_node():
    text = Path(choose.KIND_CONFIG).read_text()

    assert 'theblock.dev/accelerator: "true"' in text
    assert "effect: NoSchedule" in text
