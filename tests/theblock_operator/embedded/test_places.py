from __future__ import annotations

from pathlib import Path

import pytest
from theblock_operator.embedded.places import SOCKET_PATH_MAX, Addresses, Home


def test_each_member_keeps_its_address_and_new_ones_take_the_lowest_that_is_free() -> None:
    book = Addresses({}, {}).with_members(45, "starter", ["v-0", "v-1"])

    later = book.with_members(45, "starter", ["v-1", "s-0"])

    assert book.members == {"v-0": "127.45.1.1", "v-1": "127.45.1.2"}
    assert later.members == {**book.members, "s-0": "127.45.1.3"}


def test_networks_have_numbers_of_their_own() -> None:
    book = Addresses({}, {}).with_members(45, "a", ["x-0"]).with_members(45, "b", ["y-0"])

    assert book.members == {"x-0": "127.45.1.1", "y-0": "127.45.2.1"}


def test_a_number_that_another_run_has_is_passed_over() -> None:
    book = Addresses({}, {}).with_members(45, "a", ["x-0"], is_free=lambda number: number > 2)

    assert book.members == {"x-0": "127.45.3.1"}


def test_members_beyond_the_last_address_have_none() -> None:
    book = Addresses({}, {}).with_members(45, "a", [f"x-{number}" for number in range(300)])

    assert len(book.members) == 253
    assert "x-252" in book.members
    assert "x-253" not in book.members


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("/etc/theblock/config/config.json", "/h/members/v-0/etc/config/config.json"),
        ("/var/lib/theblock", "/h/volumes/data-v-0-0"),
        ("/run/theblock/prover.sock", "/h/run/v-0/prover.sock"),
        ("/tmp", "/h/members/v-0/tmp"),
        ("/usr/bin/env", "/usr/bin/env"),
    ],
)
def test_paths_of_a_pod_lie_in_the_folder_of_the_run(inside: str, outside: str) -> None:
    assert str(Home(Path("/h")).translate("v-0", inside)) == outside


def test_the_layout_says_what_the_files_are_put_at() -> None:
    home = Home(Path("/h"))
    layout = home.layout({"v-0": "127.45.1.1"})

    assert layout.key.format(member="v-0") == str(home.translate("v-0", "/etc/theblock/key/node.key"))
    assert layout.addresses == {"v-0": "127.45.1.1"}
    assert not layout.has_database


def test_sockets_fit_however_long_the_folder_is() -> None:
    home = Home(Path("/" + "long/" * 40))

    assert len(str(home.sockets / ("m" * 45) / "control.sock")) < SOCKET_PATH_MAX
    assert home.sockets == Home(home.root).sockets
