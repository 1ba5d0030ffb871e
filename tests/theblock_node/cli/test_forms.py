"""How values are written: every way in, and what is no value."""

from __future__ import annotations

import click
import pytest
from theblock_node.cli import forms


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("0", 0),
        ("17", 17),
        ("17nBLOCK", 17),
        ("1_000", 1000),
        ("1BLOCK", 10**9),
        ("1.5BLOCK", 1_500_000_000),
        ("0.000000001 BLOCK", 1),
        ("2.5000000000BLOCK", 2_500_000_000),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_amounts_are_nblock_or_block(text, amount):
    assert forms.parse_amount(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "", "-1", "1.5", "1.5nBLOCK", "0.0000000001BLOCK", "18446744073709551616", "18446744074BLOCK", "1e9", "BLOCK",
        "1.BLOCK", "1 000", "9" * 31, "１",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        forms.parse_amount(text)


@pytest.mark.parametrize(("amount", "shown"), [(0, "0 BLOCK"), (1, "0.000000001 BLOCK"), ("1500000000", "1.5 BLOCK")])
def test_amounts_are_shown_exactly(amount, shown):
    assert forms.show_amount(amount) == shown


def test_bytes_are_hex_or_a_file(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\x00\xff")

    assert forms.HEX.convert("0xAB", None, None) == "ab"
    assert forms.HEX.convert(f"@{tmp_path / 'bytes'}", None, None) == "00ff"


def test_json_is_text_or_a_file(tmp_path):
    (tmp_path / "rows").write_text('[{"a": 1}]')

    assert forms.JSON.convert('{"b": "2"}', None, None) == {"b": "2"}
    assert forms.JSON.convert(f"@{tmp_path / 'rows'}", None, None) == [{"a": 1}]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (forms.HEX, "abc"),
        (forms.HEX, "@/nowhere/at/all"),
        (forms.JSON, "{"),
        (forms.JSON, "@/nowhere/at/all"),
        (forms.U32, "4294967296"),
        (forms.U32, "-1"),
        (forms.U64, "x"),
        (forms.AMOUNT, "much"),
    ],
)
def test_what_is_no_value_is_a_usage_error(form, text):
    with pytest.raises(click.BadParameter):
        form.convert(text, None, None)


def test_wide_numbers_are_text_as_in_the_json_of_the_chain():
    assert forms.U64.convert("18_446", None, None) == "18446"
    assert forms.U32.convert("7", None, None) == 7


def test_a_file_beyond_the_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(forms, "FILE_BYTES_MAX", 4)
    (tmp_path / "large").write_bytes(bytes(5))
    with pytest.raises(ValueError, match="more than 4 bytes"):
        forms.read_file(str(tmp_path / "large"))
