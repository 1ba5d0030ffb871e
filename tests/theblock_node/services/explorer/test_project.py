"""What becomes of a block: pure functions from what the chain says to rows."""

from __future__ import annotations

from support.explorer import ALICE, BOB, make_block
from theblock_node.services.explorer import project
from theblock_node.services.explorer.project import CommittedBlock, TxRow, chart_points, find_final, project_block


def rows_of(block, table):
    (statement,) = [each for each in project_block(block) if each.sql.startswith(f"INSERT INTO {table} ")]
    return statement.rows


def test_events_are_numbered_through_the_block_in_order():
    block = make_block(4, calls=["a.b", "a.b"], final=2)

    events = rows_of(block, "event")

    assert [row[1] for row in events] == [0, 1, 2]
    assert [row[3] for row in events] == ["accounts.transferred", "accounts.transferred", "validators.finalized"]
    assert events[2][2] == ""


def test_everybody_in_a_transaction_is_remembered_once():
    assert rows_of(make_block(4, calls=["a.b"]), "mention") == [(ALICE, 4, 0), (BOB, 4, 0)]


def test_addresses_are_found_wherever_they_stand_and_at_most_so_many():
    many = ",".join(f'"0000:{number:064x}"' for number in range(project.MENTIONS_MAX + 5))
    tx = TxRow("t" * 64, 0, "a.b", ALICE, "", (("x.y", f'{{"deep":[{{"er":[{many}]}}],"not":"0000:xyz"}}'),))

    mentions = rows_of(CommittedBlock(1, "b", 0, (tx,), ()), "mention")

    assert len(mentions) == project.MENTIONS_MAX
    assert mentions[0][0] == ALICE


def test_a_block_says_what_is_final():
    assert find_final(make_block(9)) == 0
    assert find_final(make_block(9, final=6)) == 6


def test_the_chart_leaves_out_what_does_not_follow_on_its_parent():
    rows = [(5, 5600, 2), (3, 3000, 0), (2, 2000, 9), (4, 4500, 1)]

    points = chart_points([*rows, (9, 20_000, 3)])

    assert points == [
        {"height": 3, "block_ms": 1000, "tx_count": 0},
        {"height": 4, "block_ms": 1500, "tx_count": 1},
        {"height": 5, "block_ms": 1100, "tx_count": 2},
    ]
