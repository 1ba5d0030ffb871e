"""The two fields: the published numbers, and the laws that everything above relies on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theblock_node.core.proofs import field
from theblock_node.core.proofs.field import P, R

MODULI = st.sampled_from([P, R])


def test_moduli_are_those_of_bn254():
    assert P == 21888242871839275222246405745257275088696311157297823662689037894645226208583
    assert R == 21888242871839275222246405745257275088548364400416034343698204186575808495617


@pytest.mark.parametrize(
    ("modulus", "radix", "radix_squared"),
    [
        pytest.param(
            P,
            0x0E0A77C19A07DF2F666EA36F7879462C0A78EB28F5C70B3DD35D438DC58F0D9D,
            0x06D89F71CAB8351F47AB1EFF0A417FF6B5E71911D44501FBF32CFC5B538AFA89,
            id="p",
        ),
        pytest.param(
            R,
            0x0E0A77C19A07DF2F666EA36F7879462E36FC76959F60CD29AC96341C4FFFFFFB,
            0x0216D0B17F4E44A58C49833D53BB808553FE3AB1E35C59E31BB8E645AE216DA7,
            id="r",
        ),
    ],
)
def test_montgomery_form_is_the_files_form(modulus, radix, radix_squared):
    assert field.to_montgomery(1, modulus) == radix
    assert field.to_montgomery(radix, modulus) == radix_squared
    assert field.from_montgomery(0x1234 * 0x5678, R) == (
        0x07E1DA963523BAB5EDBB2C57BD49D07CB91B5A6A97F13363CA6F8FA885347523
    )


@given(MODULI, st.integers(0, 2**256))
def test_montgomery_form_comes_back(modulus, value):
    assert field.from_montgomery(field.to_montgomery(value, modulus), modulus) == value % modulus


@given(MODULI, st.lists(st.integers(1, P - 1).filter(lambda value: value % R), max_size=8))
def test_inverses_alone_and_together(modulus, values):
    inverses = field.batch_inverse(values, modulus)

    assert inverses == [field.inverse(value, modulus) for value in values]
    assert all(value * inverse % modulus == 1 for value, inverse in zip(values, inverses, strict=True))


@pytest.mark.parametrize("modulus", [P, R])
def test_zero_has_no_inverse(modulus):
    with pytest.raises(AssertionError):
        field.inverse(modulus, modulus)
    with pytest.raises(AssertionError):
        field.batch_inverse([1, 0, 2], modulus)


@given(st.integers(0, P - 1))
def test_a_number_or_its_opposite_has_a_root(value):
    root = field.square_root(value * value % P)

    assert root in (value, P - value)
    if value:
        # P is 3 modulo 4, so -1 is no square.
        assert field.square_root(-value * value % P) is None


def test_roots_of_unity_are_those_of_snarkjs():
    assert field.root_of_unity(28) == 19103219067921713944291392827692070036145651957329286315305642004821462161904
    assert field.root_of_unity(2) == 0x30644E72E131A029048B6E193FD841045CEA24F6FD736BEC231204708F703636
    assert field.root_of_unity(3) == 0x2B337DE1C8C14F22EC9B9E2F96AFEF3652627366F8170A0A948DAD4AC1BD5E80
    assert field.root_of_unity(0) == 1
    for power in range(1, 29):
        assert pow(field.root_of_unity(power), 1 << power - 1, R) == R - 1
