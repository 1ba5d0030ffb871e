"""How values are written on the command line: amounts, hex, JSON, and files in place of either."""

from __future__ import annotations

import json
import re
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

BLOCK = 10**9
U64_MAX = 2**64 - 1
FILE_BYTES_MAX = 16 * 2**20
_AMOUNT = re.compile(r"([0-9][0-9_]*)(?:\.([0-9]+))?\s*(BLOCK|nBLOCK)?")


def parse_amount(text: str) -> int:
    """nBLOCK: a whole number of them, or ``1.5BLOCK``; a ValueError says what is wrong with anything else."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no amount: write nBLOCK as a whole number, or BLOCK as in 1.5BLOCK")
    whole, fraction, unit = found[1].replace("_", ""), found[2] or "", found[3] or "nBLOCK"
    if len(whole) > 30 or len(fraction) > 30:
        raise ValueError(f"{text[:40]!r} has too many digits")
    if unit == "nBLOCK" and fraction:
        raise ValueError(f"{text!r}: an nBLOCK has no parts; for BLOCK write {text}BLOCK")
    if len(fraction.rstrip("0")) > 9:
        raise ValueError(f"{text!r} is finer than an nBLOCK, of which a BLOCK has {BLOCK}")
    amount = int(whole) if unit == "nBLOCK" else int(whole) * BLOCK + int(fraction.ljust(9, "0")[:9] or "0")
    if amount > U64_MAX:
        raise ValueError(f"{text!r} is more than there can be")
    return amount


def show_amount(amount: int | str) -> str:
    """``1.5 BLOCK``, exact."""
    shown = Decimal(int(amount)).scaleb(-9)
    return f"{format(shown.normalize(), 'f')} BLOCK"


def read_file(path: str) -> bytes:
    """The bytes of a file, ``-`` for standard input; a ValueError says why there are none."""
    try:
        if path == "-":
            data = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(FILE_BYTES_MAX + 1)
    except OSError as failed:
        raise ValueError(f"{path}: {failed.strerror}") from failed
    if len(data) > FILE_BYTES_MAX:
        raise ValueError(f"{path}: more than {FILE_BYTES_MAX} bytes")
    return data


class AmountForm(click.ParamType[Any]):
    """An amount, as text of nBLOCK."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return str(parse_amount(str(value)))
        except ValueError as wrong:
            self.fail(str(wrong), param, ctx)


class WholeForm(click.ParamType[Any]):
    """A whole number between bounds; text where JSON has it as text."""

    name = "integer"

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = int(str(value).replace("_", ""))
        except ValueError:
            self.fail(f"{str(value)[:40]!r} is no whole number", param, ctx)
        if not self.low <= number <= self.high:
            self.fail(f"{number} is not between {self.low} and {self.high}", param, ctx)
        return str(number) if self.high >= 2**63 - 1 else number


class HexForm(click.ParamType[Any]):
    """Bytes as hex, or ``@FILE`` for the bytes of a file."""

    name = "hex"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value)
        try:
            return read_file(text[1:]).hex() if text.startswith("@") else bytes.fromhex(text.removeprefix("0x")).hex()
        except ValueError as wrong:
            reason = str(wrong) if text.startswith("@") else f"{text[:40]!r} is neither hex nor @FILE"
            self.fail(reason, param, ctx)


class JsonForm(click.ParamType[Any]):
    """JSON, or ``@FILE`` for the JSON in a file (``@-``: standard input)."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(read_file(value[1:]) if value.startswith("@") else value)
        except (ValueError, RecursionError) as wrong:
            self.fail(f"no JSON: {str(wrong)[:120]}", param, ctx)


AMOUNT, HEX, JSON = AmountForm(), HexForm(), JsonForm()
U32, U64 = WholeForm(0, 2**32 - 1), WholeForm(0, U64_MAX)
