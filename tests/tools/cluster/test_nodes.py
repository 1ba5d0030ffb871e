from pathlib import Path

import pytest

from tools.cluster import layout as layouts
from tools.cluster import nodes
from tools.cluster.console import ClusterError


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "STATE_ROOT", tmp_path / "state")
    monkeypatch.setattr(layouts, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(nodes, "CGROUPS", tmp_path / "cgroups")
    for controller in ("memory", "pids"):
        (tmp_path / "cgroups" / controller).mkdir(parents=True)
    return layouts.layout_of("test").node(0)


def test_cgroups_are_made_in_every_hierarchy_and_removed_with_all_below(node, tmp_path):
    nodes._create_cgroups(node)
    made = nodes.cgroups_of(node)
    for path in made:
        (path / "kubepods" / "pod1" / "container").mkdir(parents=True)

    nodes._remove_cgroups(node)

    assert sorted(path.parent.name for path in made) == ["memory", "pids"]
    assert nodes.cgroups_of(node) == []
    assert (tmp_path / "cgroups" / "memory").is_dir()


def test_the_deepest_cgroup_comes_first_and_one_that_went_is_no_failure(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)

    assert nodes._folders_of(tmp_path / "a") == [tmp_path / "a" / "b", tmp_path / "a"]
    assert nodes._folders_of(tmp_path / "gone") == []
    assert nodes._processes_in(tmp_path / "gone") == []


def test_a_new_cpuset_may_use_what_its_parent_may(node, tmp_path):
    cpuset = tmp_path / "cgroups" / "cpuset"
    (cpuset / node.cgroup).mkdir(parents=True)
    for folder, text in ((cpuset, "0-1"), (cpuset / node.cgroup, "")):
        for name in ("cpuset.cpus", "cpuset.mems"):
            (folder / name).write_text(text)

    nodes._create_cgroups(node)

    assert (cpuset / node.cgroup / "cpuset.cpus").read_text() == "0-1"


def test_state_with_something_mounted_in_it_is_not_deleted(node, monkeypatch):
    layout = layouts.layout_of("test")
    layout.state.mkdir(parents=True)
    monkeypatch.setattr(nodes, "mounts_below", lambda *folders: [str(folders[0] / "volume")])

    with pytest.raises(ClusterError, match="still mounted"):
        nodes.remove_state(layout)
    assert layout.state.is_dir()


def test_mounts_are_found_below_a_folder_and_not_beside_it():
    assert nodes.mounts_below(Path("/proc"))[-1] == "/proc"
    assert nodes.mounts_below(Path("/proc-of-somebody-else")) == []


def test_folders_that_nodes_mount_over_stay_until_the_last_cluster_went(node, tmp_path, monkeypatch):
    monkeypatch.setattr(nodes, "FIXED", {"kubelet": tmp_path / "kubelet", "cni": tmp_path / "cni"})
    for path in nodes.FIXED.values():
        path.mkdir()
    other = layouts.layout_of("other")
    other.state.mkdir(parents=True)

    nodes.remove_fixed()
    assert all(path.is_dir() for path in nodes.FIXED.values())

    other.state.rmdir()
    nodes.remove_fixed()
    assert not any(path.exists() for path in nodes.FIXED.values())
