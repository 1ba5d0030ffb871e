import ipaddress

import pytest

from tools.cluster.console import ClusterError
from tools.cluster.layout import NODES_MAX, layout_of


@pytest.mark.parametrize(
    "name",
    ["", "-a", "a-", "A", "a/b", "../x", "a" * 21, "1a", "a b", "a.b"],
)
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(ClusterError, match="no name for a cluster"):
        layout_of(name)


@pytest.mark.parametrize("name", ["a", "theblock", "a-1", "a" * 20])
def test_a_plain_name_is_taken(name):
    assert layout_of(name).name == name


def test_clusters_share_no_folder_namespace_cgroup_or_address():
    one, two = layout_of("one"), layout_of("two")

    for index in range(NODES_MAX):
        assert one.node(index).namespace != two.node(index).namespace
        assert one.node(index).cgroup != two.node(index).cgroup
    assert one.state != two.state
    assert one.run != two.run
    assert one.outside(1) != two.outside(1)


def test_a_name_with_a_number_is_not_another_clusters_node():
    assert layout_of("a-1").node(0).namespace != layout_of("a").node(10).namespace


def test_addresses_outside_are_loopback_and_above_those_of_tests():
    for index in (1, 10, 255):
        address = ipaddress.ip_address(layout_of("theblock").outside(index))
        assert address.is_loopback
        assert address >= ipaddress.ip_address("127.64.0.0")


def test_sockets_of_the_longest_name_fit_into_an_address():
    assert len(str(layout_of("a" * 20).node(NODES_MAX - 1).containerd) + ".ttrpc") < 108
