"""One line for every failure: what, why, what to do; and its exit code."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from theblock_node.cli import failures
from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.core.errors import InvalidBlock, InvalidRecord

REFUSALS = Path(__file__).resolve().parents[3] / "docs" / "spec" / "refusals.md"


@pytest.mark.parametrize(
    ("failed", "code", "parts"),
    [
        (RefusedError("energy.price_limit", "", {"price": "3"}), 1, ["energy.price_limit", "price=3", "--max-price"]),
        (RefusedError("rpc.admin_only", "", {}), 1, ["rpc.admin_only", "--admin-cert"]),
        (RefusedError("market.new_reason", "because", {}), 1, ["market.new_reason", "because", "refusals.md"]),
        (InvalidBlock("light.proof", table="t"), 1, ["light.proof"]),
        (InvalidRecord("codec.value", path="$.to"), 2, ["codec.value", "$.to", "--help"]),
        (Unusable("no key", "give one"), 2, ["no key; give one"]),
        (click.UsageError("no such thing"), 2, ["no such thing", "--help"]),
        (FileNotFoundError(2, "No such file", "/x"), 2, ["/x: No such file"]),
        (UnavailableError("connection refused"), 3, ["nobody answered", "make up"]),
        (UnavailableError("CERTIFICATE_VERIFY_FAILED"), 3, ["--ca", "--tls-name"]),
        (UnavailableError("Socket closed"), 3, ["give --ca"]),
        (TimeoutError("tx"), 3, ["not done in time: tx", "--timeout"]),
    ],
)
def test_a_failure_says_what_why_and_what_to_do(failed, code, parts):
    failure = App().explain(failed)

    assert failure is not None
    assert failure.code == code
    for part in parts:
        assert part in failure.line


def test_our_own_mistakes_are_not_explained_away():
    assert App().explain(AssertionError("we are wrong")) is None


def test_every_refusal_of_the_code_has_something_to_do():
    codes = re.findall(r"^\| `([a-z_]+\.[a-z0-9_]+)` \|", REFUSALS.read_text(), re.MULTILINE)
    assert len(codes) > 100
    assert all(failures.hint(code) for code in codes)


def test_a_hint_is_of_a_refusal_that_there_is():
    text = REFUSALS.read_text()
    client_side = {"rpc.unimplemented", "snark.bundle"}
    assert [code for code in failures._EXACT if f"`{code}`" not in text and code not in client_side] == []


def test_the_line_is_one_line_and_bounded():
    line = failures.refused("a.b", "x\ny" * 1000, {}).line
    assert "\n" not in line
    assert len(line) <= failures.LINE_MAX
