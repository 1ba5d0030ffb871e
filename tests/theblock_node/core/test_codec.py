"""The codec: one value, one encoding; whatever else a stranger sends is a refusal of the codec's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.chain import address, key_of
from support.records import Strategies
from theblock_node.core import block, codec, merkle, state, tx
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import I64, U8, U16, U32, U64, U128, Bytes32, FixedBytes, MaxLen, Pattern


class Colour(IntEnum):
    RED = 3
    GREEN = 9


@dataclass(frozen=True, slots=True)
class Point:
    x: I64
    y: U16


@dataclass(frozen=True, slots=True)
class Circle:
    centre: Point
    radius: U32


@dataclass(frozen=True, slots=True)
class Everything:
    """One field of every kind that has a layout."""

    version: U8
    wide: U128
    flag: bool
    colour: Colour
    name: Annotated[str, MaxLen(8, min=1), Pattern(r"[a-zé]+")]
    blob: Annotated[bytes, MaxLen(4)]
    digest: Annotated[bytes, FixedBytes(3)]
    pair: tuple[U8, str]
    points: Annotated[tuple[Point, ...], MaxLen(3)]
    maybe: U64 | None
    shape: Point | Circle
    shapes: tuple[Point | Circle | None, ...]
    names: frozenset[str]
    prices: Mapping[U16, U64]

    VERSION: ClassVar[int] = 2


VALUE = Everything(
    version=2, wide=2**100, flag=True, colour=Colour.GREEN, name="né", blob=b"\xff", digest=b"abc", pair=(7, "x"),
    points=(Point(-1, 1),), maybe=5, shape=Circle(Point(1, 2), 3), shapes=(None, Point(0, 0)),
    names=frozenset({"b", "a"}), prices={256: 1, 2: 3},
)  # fmt: skip
DATA = bytes.fromhex(
    "02" "00000000000000000000000010000000" "01" "01" "03000000" "6ec3a9" "01000000" "ff" "616263"
    "07" "01000000" "78" "01000000" "ffffffffffffffff0100" "01" "0500000000000000"
    "01" "01000000000000000200" "03000000" "02000000" "00" "01" "00" "00000000000000000000"
    "02000000" "01000000" "61" "01000000" "62" "02000000" "0200" "0300000000000000" "0001" "0100000000000000"
)  # fmt: skip
STRATEGIES = Strategies(
    addresses=[address(name) for name in ("alice", "bob")],
    names=("a", "bitcoin", "accounts.transfer"),
    keys=[key_of("v-0").public_key],
)


def known_types() -> dict[str, Any]:
    """Every type that is stored, sent or hashed, by a name for the tests' ids."""
    found: dict[str, Any] = {name: spec.type for name, spec in REGISTRY.commands.items()}
    for name, query in REGISTRY.queries.items():
        found |= {f"{name}:request": query.request, f"{name}:reply": query.reply}
    found |= REGISTRY.event_types
    for name, table in REGISTRY.tables.items():
        found |= {f"{name}:row": table.value_type, f"{name}:key": table.key_type}
    others = (tx.TxEnvelope, block.Header, block.Body, block.Attestation, block.TxReceipt, state.Changes, merkle.Proof)
    return found | {cls.__name__: cls for cls in others} | {"Everything": Everything}


TYPES = known_types()


def any_value() -> st.SearchStrategy[tuple[Any, Any]]:
    """(type, value) of any type that the chain knows."""
    return st.sampled_from(sorted(TYPES)).flatmap(_typed)


@cache
def _typed(name: str) -> st.SearchStrategy[tuple[Any, Any]]:
    return st.tuples(st.just(TYPES[name]), STRATEGIES.record(TYPES[name]))


def refusal(annotation: Any, data: bytes, **options: Any) -> str:
    with pytest.raises(InvalidRecord) as refused:
        codec.decode_as(annotation, data, **options)
    return refused.value.code


def assert_is_refused_or_canonical(annotation: Any, data: bytes) -> None:
    try:
        found = codec.decode_as(annotation, data)
    except InvalidRecord as wrong:
        code = wrong.code
    else:
        assert codec.encode_as(annotation, found) == data
        return
    assert code.startswith("codec.")


def test_every_kind_of_field_lies_where_borsh_puts_it():
    assert codec.encode(VALUE) == DATA
    assert codec.decode(Everything, DATA) == VALUE


WIDE = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@WIDE
@given(any_value())
def test_what_is_encoded_is_decoded_again(typed):
    annotation, value = typed
    data = codec.encode_as(annotation, value)

    assert codec.decode_as(annotation, data, profile=codec.BLOCK) == value


@WIDE
@given(any_value().filter(lambda typed: isinstance(typed[0], type)))
def test_json_says_the_same_as_bytes(typed):
    cls, value = typed
    if not hasattr(cls, "__dataclass_fields__"):
        return
    through_text = json.loads(json.dumps(codec.to_json(value)))

    assert codec.from_json(cls, through_text) == value


@WIDE
@given(any_value(), st.data())
def test_one_value_has_one_encoding(typed, data):
    """A byte changed, cut off or added: a refusal, or another value whose encoding these bytes are."""
    annotation, value = typed
    encoded = bytearray(codec.encode_as(annotation, value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded)))
        match data.draw(st.sampled_from(("change", "cut", "insert"))):
            case "change" if at < len(encoded):
                encoded[at] = data.draw(st.integers(0, 255))
            case "cut":
                del encoded[at:]
            case _:
                encoded.insert(at, data.draw(st.integers(0, 255)))
    assert_is_refused_or_canonical(annotation, bytes(encoded))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=200))
def test_any_bytes_are_a_refusal_or_a_value(name, data):
    assert_is_refused_or_canonical(TYPES[name], data)


def test_every_shorter_text_is_refused():
    for size in range(len(DATA)):
        assert refusal(Everything, DATA[:size]) in ("codec.eof", "codec.length")


@pytest.mark.parametrize(
    ("annotation", "data", "code"),
    [
        pytest.param(U16, b"\1\0\0", "codec.trailing", id="a-byte-too-many"),
        pytest.param(U16, b"\1", "codec.eof", id="a-byte-too-few"),
        pytest.param(U128, bytes(15), "codec.eof", id="a-wide-byte-too-few"),
        pytest.param(bool, b"\2", "codec.bool", id="neither-true-nor-false"),
        pytest.param(U8 | None, b"\2\0", "codec.bool", id="neither-there-nor-not"),
        pytest.param(U8 | None, b"\0\0", "codec.trailing", id="absent-with-a-value"),
        pytest.param(Colour, b"\2", "codec.enum", id="no-such-colour"),
        pytest.param(Point | Circle, b"\2" + bytes(20), "codec.enum", id="no-such-shape"),
        pytest.param(str, b"\1\0\0\0\xff", "codec.utf8", id="not-utf-8"),
        pytest.param(str, b"\2\0\0\0\xc0\x80", "codec.utf8", id="overlong-utf-8"),
        pytest.param(str, b"\3\0\0\0\xed\xa0\x80", "codec.utf8", id="a-surrogate"),
        pytest.param(bytes, b"\xff\xff\xff\xff", "codec.length", id="longer-than-what-is-left"),
        pytest.param(tuple[U64, ...], b"\2\0\0\0" + bytes(15), "codec.length", id="more-items-than-fit"),
        pytest.param(tuple[U64, ...], b"\xff\xff\xff\xff" + bytes(64), "codec.length", id="four-billion-items"),
        pytest.param(Annotated[bytes, MaxLen(2)], b"\3\0\0\0abc", "codec.value", id="above-its-length"),
        pytest.param(Annotated[bytes, MaxLen(2, min=1)], bytes(4), "codec.value", id="below-its-length"),
        pytest.param(Annotated[tuple[U8, ...], MaxLen(1)], b"\2\0\0\0\0\0", "codec.value", id="too-many-items"),
        pytest.param(Annotated[str, Pattern("[a-z]+")], b"\1\0\0\0A", "codec.value", id="not-its-pattern"),
        pytest.param(Annotated[str, Pattern("[a-z]+")], b"\2\0\0\0a\n", "codec.value", id="a-line-more"),
        pytest.param(frozenset[U8], b"\2\0\0\0\2\1", "codec.order", id="a-set-out-of-order"),
        pytest.param(frozenset[U8], b"\2\0\0\0\1\1", "codec.order", id="a-member-twice"),
        pytest.param(Mapping[U16, U8], b"\2\0\0\0\x00\x01\0\x02\0\0", "codec.order", id="a-map-out-of-order"),
        pytest.param(Mapping[str, U8], b"\2\0\0\0\1\0\0\0a\0\1\0\0\0a\0", "codec.order", id="a-key-twice"),
        pytest.param(Everything, b"\1" + DATA[1:], "codec.version", id="another-version"),
    ],
)
def test_bytes_are_refused(annotation, data, code):
    assert refusal(annotation, data) == code


def test_numbers_as_keys_are_in_order_of_value():
    assert codec.encode_as(Mapping[U16, U8], {256: 1, 1: 2}) == b"\2\0\0\0\1\0\2\0\1\1"


@pytest.mark.parametrize(("size", "is_taken"), [(16, True), (17, False)])
def test_a_profile_bounds_the_size(size, is_taken):
    profile = codec.Profile("small", 16)
    data = (size - 4).to_bytes(4, "little") + bytes(size - 4)
    if is_taken:
        assert codec.decode_as(bytes, data, profile=profile) == bytes(12)
    else:
        assert refusal(bytes, data, profile=profile) == "codec.too_large"


@pytest.mark.parametrize(
    ("annotation", "value", "code"),
    [
        pytest.param(U8, 256, "codec.value", id="one-above"),
        pytest.param(U64, -1, "codec.value", id="below-zero"),
        pytest.param(U128, 2**128, "codec.value", id="one-above-u128"),
        pytest.param(U128, -1, "codec.value", id="below-zero-u128"),
        pytest.param(I64, 2**63, "codec.value", id="one-above-i64"),
        pytest.param(U64, 1.0, "codec.value", id="a-float"),
        pytest.param(U128, 1.0, "codec.value", id="a-float-as-u128"),
        pytest.param(U64, "1", "codec.value", id="text-as-number"),
        pytest.param(bool, 1, "codec.value", id="a-number-as-bool"),
        pytest.param(Bytes32, bytes(31), "codec.value", id="31-bytes"),
        pytest.param(bytes, "text", "codec.value", id="text-as-bytes"),
        pytest.param(str, b"bytes", "codec.value", id="bytes-as-text"),
        pytest.param(str, "\ud800", "codec.utf8", id="half-a-surrogate-pair"),
        pytest.param(frozenset[str], frozenset({"\ud800"}), "codec.utf8", id="half-a-pair-in-a-set"),
        pytest.param(Colour, 1, "codec.value", id="no-such-colour"),
        pytest.param(Point | Circle, Colour.RED, "codec.value", id="not-in-the-union"),
        pytest.param(tuple[U8, U8], (1, 2, 3), "codec.value", id="three-of-two"),
        pytest.param(Annotated[tuple[U8, ...], MaxLen(1)], (1, 2), "codec.value", id="too-many-items"),
        pytest.param(Annotated[str, MaxLen(2)], "éé", "codec.value", id="four-bytes-of-two"),
        pytest.param(Point, Colour.RED, "codec.value", id="another-record"),
    ],
)
def test_a_value_is_not_encoded(annotation, value, code):
    with pytest.raises(InvalidRecord) as refused:
        codec.encode_as(annotation, value)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "annotation",
    [
        pytest.param(float, id="a-float"),
        pytest.param(int, id="no-width"),
        pytest.param(Point | int, id="a-union-with-a-number"),
        pytest.param(tuple[None, ...], id="items-without-a-size"),
        pytest.param(list[U8], id="a-mutable-list"),
    ],
)
def test_a_type_without_a_layout_is_refused(annotation):
    with pytest.raises(TypeError):
        codec.encode_as(annotation, None)


GOOD = {"to": address("bob"), "amount_consumer": "18446744073709551615", "amount_industrial": 0}


def test_json_takes_wide_integers_as_text_or_number():
    assert codec.from_json(Transfer, GOOD) == Transfer(address("bob"), 2**64 - 1, 0)


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        pytest.param({"amount_consumer": "--5"}, "codec.value", "$.amount_consumer", id="two-signs"),
        pytest.param({"amount_consumer": "-"}, "codec.value", "$.amount_consumer", id="a-sign-alone"),
        pytest.param({"amount_consumer": "²"}, "codec.value", "$.amount_consumer", id="a-superscript"),
        pytest.param({"amount_consumer": "٣"}, "codec.value", "$.amount_consumer", id="another-script"),
        pytest.param({"amount_consumer": ""}, "codec.value", "$.amount_consumer", id="empty"),
        pytest.param({"amount_consumer": "-1"}, "codec.value", "$.amount_consumer", id="below-zero"),
        pytest.param({"amount_consumer": str(2**64)}, "codec.value", "$.amount_consumer", id="one-above"),
        pytest.param({"amount_consumer": "9" * 5000}, "codec.value", "$.amount_consumer", id="thousands-of-digits"),
        pytest.param({"amount_consumer": 1.5}, "codec.value", "$.amount_consumer", id="a-fraction"),
        pytest.param({"amount_consumer": True}, "codec.value", "$.amount_consumer", id="a-bool"),
        pytest.param({"amount_consumer": None}, "codec.value", "$.amount_consumer", id="null"),
        pytest.param({"to": 7}, "codec.value", "$.to", id="number-as-text"),
        pytest.param({"to": "nobody"}, "codec.value", "$.to", id="not-its-pattern"),
        pytest.param({"to": "\ud800"}, "codec.utf8", "$.to", id="half-a-surrogate-pair"),
        pytest.param({"colour": 1}, "codec.unknown_field", "$.colour", id="unknown-field"),
    ],
)
def test_json_is_refused_with_its_path(changes, code, path):
    with pytest.raises(InvalidRecord) as refused:
        codec.from_json(Transfer, {**GOOD, **changes})
    assert (refused.value.code, refused.value.facts["path"]) == (code, path)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        pytest.param({"points": [{"x": "0", "y": 65_536}]}, "$.points[0].y", id="inside-a-list"),
        pytest.param({"shape": {"type": "Square"}}, "$.shape.type", id="no-such-shape"),
        pytest.param({"digest": "6162"}, "$.digest", id="two-of-three-bytes"),
        pytest.param({"digest": "xx"}, "$.digest", id="not-hex"),
        pytest.param({"colour": "BLUE"}, "$.colour", id="no-such-colour"),
        pytest.param({"pair": [1]}, "$.pair", id="one-of-two"),
    ],
)
def test_json_of_nested_parts_is_refused_with_its_path(changes, path):
    with pytest.raises(InvalidRecord) as refused:
        codec.from_json(Everything, {**codec.to_json(VALUE), **changes})
    assert refused.value.facts["path"] == path


def test_a_missing_field_is_named_and_a_version_may_miss():
    with pytest.raises(InvalidRecord) as refused:
        codec.from_json(Transfer, {"to": address("bob")})
    shown = codec.to_json(VALUE)
    del shown["version"]

    assert (refused.value.code, refused.value.facts["path"]) == ("codec.missing_field", "$.amount_consumer")
    assert codec.from_json(Everything, shown) == VALUE


def test_canonical_json_sorts_by_utf_16_units():
    """RFC 8785, 3.2.3: a character beyond the BMP comes before U+FB33, as its first half is smaller."""
    value = {"\ufb33": 1, "\U0001f600": [{"b": None, "a": "\n"}], "1": True}

    assert codec.canonical_json(value) == '{"1":true,"\U0001f600":[{"a":"\\n","b":null}],"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        pytest.param({"a": [1.0]}, "codec.value", id="a-float"),
        pytest.param({"a": 2**53}, "codec.value", id="not-exact-in-a-double"),
        pytest.param({"a": "\ud800"}, "codec.utf8", id="half-a-surrogate-pair"),
        pytest.param({"\ud800": 1}, "codec.utf8", id="half-a-pair-as-name"),
    ],
)
def test_canonical_json_is_refused(value, code):
    with pytest.raises(InvalidRecord) as refused:
        codec.canonical_json(value)
    assert refused.value.code == code
