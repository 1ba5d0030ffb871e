"""The constants of the native kernels, written from the exact twins in `core/proofs`: one source of numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from theblock_node.core.proofs import curve, field, tower
from theblock_node.core.proofs import pairing as twin
from theblock_node.core.proofs.field import P, R, X
from theblock_node.core.proofs.tower import Fp2

HEADER = "gpu/kernels/constants.h"
WORD_BITS = 64
LANE_BITS = 52
"""Of a limb in the back end that computes eight numbers at a time."""


def render() -> dict[str, str]:
    """The header's path and text."""
    return {HEADER: "\n".join(_lines()) + "\n"}


def _lines() -> Iterator[str]:
    yield "// Made by `make generate` from core/proofs: change it there."
    yield "#pragma once"
    yield "#include <cstdint>"
    for name, modulus in (("Fp", P), ("Fr", R)):
        yield ""
        yield f"struct {name}Modulus {{"
        for what, value in (
            ("modulus", modulus),
            ("modulus_minus_two", modulus - 2),
            ("one", field.to_montgomery(1, modulus)),
            ("radix_square", field.to_montgomery(field.to_montgomery(1, modulus), modulus)),
            ("half", field.to_montgomery(field.inverse(2, modulus), modulus)),
        ):
            yield f"    static constexpr uint64_t {what}[4] = {_words(value)};"
        yield f"    static constexpr uint64_t negative_inverse = {_negative_inverse(modulus, WORD_BITS):#x};"
        yield f"    static constexpr uint64_t lanes[5] = {_words(modulus, LANE_BITS, 5)};"
        yield f"    static constexpr uint64_t lanes_negative_inverse = {_negative_inverse(modulus, LANE_BITS):#x};"
        yield "};"
    yield ""
    yield f"constexpr int TWO_ADICITY = {field.TWO_ADICITY};"
    root = field.to_montgomery(field.root_of_unity(field.TWO_ADICITY), R)
    yield f"constexpr uint64_t ROOT_OF_UNITY[4] = {_words(root)};"
    yield f"constexpr uint64_t G1_B[4] = {_words(field.to_montgomery(curve.G1.b, P))};"
    for name, pair in (("G2_B", curve.G2.b), ("PSI_X", curve.PSI_X), ("PSI_Y", curve.PSI_Y)):
        yield f"constexpr uint64_t {name}[2][4] = {_fp2(pair)};"
    frobenius = ", ".join(_fp2(tower.fp2_power(tower.XI, k * (P - 1) // 6)) for k in range(6))
    yield f"constexpr uint64_t FROBENIUS[6][2][4] = {{{frobenius}}};"
    yield f"constexpr uint64_t CURVE_PARAMETER = {X:#x};"
    yield f"constexpr int LOOP_COUNT = {len(twin.LOOP)};"
    yield f"constexpr int8_t LOOP[LOOP_COUNT] = {{{', '.join(map(str, twin.LOOP))}}};"


def _negative_inverse(modulus: int, bits: int) -> int:
    """What a lowest limb is multiplied by, for the multiple of the modulus that makes it zero."""
    return -pow(modulus, -1, 1 << bits) % (1 << bits)


def _words(value: int, bits: int = WORD_BITS, count: int = 4) -> str:
    words: Sequence[int] = [value >> bits * at & (1 << bits) - 1 for at in range(count)]
    return "{" + ", ".join(f"{word:#x}" for word in words) + "}"


def _fp2(value: Fp2) -> str:
    return "{" + ", ".join(_words(field.to_montgomery(part, P)) for part in value) + "}"
