"""What people see of an answer."""

from __future__ import annotations

from theblock_node.cli import output


def test_rows_that_are_alike_are_a_table():
    rows = [{"name": "a", "amount": "5", "ready": True}, {"name": "longer", "amount": None, "ready": False}]
    assert output.to_text(rows).splitlines() == ["name    amount  ready", "a       5       yes", "longer  -       no"]


def test_names_are_aligned_and_parts_indented():
    document = {"id": "1", "longer": [], "inner": {"a": "b"}, "rows": [{"x": 1}]}
    assert output.to_text(document).splitlines() == [
        "id      1", "longer  (none)", "inner", "  a  b", "rows", "  x", "  1",
    ]  # fmt: skip


def test_rows_with_parts_stand_one_below_the_other():
    rows = [{"name": "a", "keys": [{"k": 1}]}, {"name": "b", "keys": []}]
    assert output.to_text(rows).splitlines() == [
        "name  a", "keys", "  k", "  1", "", "name  b", "keys  (none)",
    ]  # fmt: skip


def test_nothing_is_said_to_be_nothing():
    assert output.to_text([]) == "(none)"
    assert output.to_text({}) == "(none)"


def test_json_is_one_line():
    assert output.to_json({"a": ["é", None]}) == '{"a":["é",null]}'
