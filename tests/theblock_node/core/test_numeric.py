"""Arithmetic refuses instead of wrapping, and rounds down."""

import decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core import numeric
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import DFP, U64_MAX, Pattern

U64S = st.integers(0, U64_MAX)


@given(U64S, U64S)
def test_arithmetic_is_exact_or_refused(left, right):
    for act, exact in [(numeric.add, left + right), (numeric.sub, left - right), (numeric.mul, left * right)]:
        if 0 <= exact <= U64_MAX:
            assert act(left, right) == exact
        else:
            with pytest.raises(InvalidRecord) as refused:
                act(left, right)
            assert refused.value.code == "numeric.overflow"


@given(U64S, U64S, st.integers(1, U64_MAX))
def test_a_product_may_exceed_64_bits_before_it_is_divided(value, factor, divisor):
    exact = value * factor // divisor
    if exact <= U64_MAX:
        found = numeric.mul_div(value, factor, divisor)
        assert found * divisor <= value * factor < (found + 1) * divisor
    else:
        with pytest.raises(InvalidRecord):
            numeric.mul_div(value, factor, divisor)


@pytest.mark.parametrize(
    ("act", "arguments"),
    [
        pytest.param(numeric.add, (U64_MAX, 1), id="one-above"),
        pytest.param(numeric.sub, (0, 1), id="one-below"),
        pytest.param(numeric.mul, (2**32, 2**32), id="product"),
        pytest.param(numeric.mul_div, (U64_MAX, 2, 1), id="quotient"),
        pytest.param(numeric.bps, (U64_MAX, 10_001), id="more-than-all"),
    ],
)
def test_overflow_is_refused(act, arguments):
    with pytest.raises(InvalidRecord) as refused:
        act(*arguments)
    assert refused.value.code == "numeric.overflow"


@pytest.mark.parametrize(
    ("amount", "points", "part"),
    [(10_000, 1, 1), (9_999, 1, 0), (0, 10_000, 0), (U64_MAX, 10_000, U64_MAX), (199, 5_000, 99)],
)
def test_basis_points_are_rounded_down(amount, points, part):
    assert numeric.bps(amount, points) == part


@pytest.mark.parametrize(
    ("amount", "parts", "part"), [(10**6, 1, 1), (10**6 - 1, 1, 0), (U64_MAX, 10**6, U64_MAX), (3, 500_000, 1)]
)
def test_parts_per_million_are_rounded_down(amount, parts, part):
    assert numeric.ppm(amount, parts) == part


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        (numeric.U8, 0, 255),
        (numeric.U64, 0, 2**64 - 1),
        (numeric.U128, 0, 2**128 - 1),
        (numeric.I8, -128, 127),
        (numeric.I64, -(2**63), 2**63 - 1),
    ],
)
def test_an_integer_type_knows_its_range(kind, low, high):
    found = kind.__metadata__[0]

    assert (found.low, found.high) == (low, high)


def test_the_decimal_context_is_the_specifications():
    third = DFP.divide(decimal.Decimal(1), decimal.Decimal(3))

    assert str(third) == "0." + "3" * 34
    assert str(DFP.exp(decimal.Decimal(1))) == "2.718281828459045235360287471352662"
    assert DFP.quantize(decimal.Decimal("2.5"), decimal.Decimal(1)) == 2
    with pytest.raises(decimal.DivisionByZero):
        DFP.divide(decimal.Decimal(1), decimal.Decimal(0))
    with pytest.raises(decimal.InvalidOperation):
        DFP.ln(decimal.Decimal(-1))


@pytest.mark.parametrize(("value", "fits"), [("abc", True), ("abc\n", False), ("xabc", False), ("", False)])
def test_a_pattern_is_matched_whole(value, fits):
    assert Pattern("[a-c]+").matches(value) is fits
