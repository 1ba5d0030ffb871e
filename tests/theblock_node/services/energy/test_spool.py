"""The spool: what is kept over restarts, what gives way, and the guard on signing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from theblock_node.services.energy.readings import Reading, Signed
from theblock_node.services.energy.spool import open_spool

SIGNED = Signed("solar-roof", "meter-1", 5_100, 1_000, 8, bytes(64), 3, "", True)


def test_readings_and_signatures_survive_a_restart(tmp_path):
    spool = open_spool(tmp_path / "spool", entries_max=10)
    spool.add(Reading("roof", 100, 1))
    place = spool.add(Reading("roof", 200, 2))
    spool.save_signed(SIGNED)
    spool.close()

    again = open_spool(tmp_path / "spool", entries_max=10)

    assert again.newest("roof") == (place, Reading("roof", 200, 2))
    assert again.signed("solar-roof") == SIGNED
    assert (again.depth, again.newest("barn"), again.signed("barn")) == (2, None, None)
    again.forget("roof", place)
    assert again.add(Reading("roof", 300, 3)) > place, "a place is never given twice"
    again.close()


def test_oldest_readings_give_way(tmp_path):
    spool = open_spool(tmp_path / "spool", entries_max=3)
    for total in range(10):
        spool.add(Reading("roof", total, total))

    assert spool.depth == 3
    assert spool.newest("roof")[1].total_wh == 9
    spool.close()


def test_nothing_else_is_ever_signed_under_a_nonce(tmp_path):
    spool = open_spool(tmp_path / "spool", entries_max=3)
    spool.save_signed(SIGNED)

    spool.save_signed(replace(SIGNED, tx_id="aa", is_open=False))
    for wrong in (replace(SIGNED, total_wh=1), replace(SIGNED, timestamp=1), replace(SIGNED, nonce=7)):
        with pytest.raises(AssertionError, match="two words"):
            spool.save_signed(wrong)
    spool.save_signed(replace(SIGNED, nonce=9, total_wh=6_000))
    spool.close()
