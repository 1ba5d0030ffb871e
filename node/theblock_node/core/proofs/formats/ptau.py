"""`.ptau` files: the powers of tau that the first phase of a ceremony leaves, read for small circuits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from theblock_node.core.proofs.curve import G1Point, G2Point
from theblock_node.core.proofs.field import P
from theblock_node.core.proofs.formats import container
from theblock_node.core.proofs.formats.container import FileType, Sections

FILE = FileType("ptau", 1)
POWER_MAX = 14
"""Larger ceremonies are read by tools that are not written in Python; their format allows 28."""
HEADER, TAU_G1, TAU_G2, ALPHA_TAU_G1, BETA_TAU_G1, BETA_G2 = range(1, 7)
LAGRANGE_TAU_G1, LAGRANGE_TAU_G2, LAGRANGE_ALPHA_G1, LAGRANGE_BETA_G1 = range(12, 16)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Lagrange:
    """The polynomials of all domains up to the file's at tau, in the exponent; the domain of N begins at N - 1."""

    tau_g1: tuple[G1Point, ...]
    """Up to twice the file's domain."""
    tau_g2: tuple[G2Point, ...]
    alpha_g1: tuple[G1Point, ...]
    beta_g1: tuple[G1Point, ...]


@dataclass(frozen=True, slots=True)
class PowersOfTau:
    power: int
    """The base-2 logarithm of the largest domain."""
    ceremony_power: int
    """That of the ceremony from which the file was cut."""
    tau_g1: tuple[G1Point, ...]
    tau_g2: tuple[G2Point, ...]
    alpha_tau_g1: tuple[G1Point, ...]
    beta_tau_g1: tuple[G1Point, ...]
    beta_g2: G2Point
    lagrange: Lagrange | None
    """None in a file that was not prepared for the second phase."""


def read(data: bytes) -> PowersOfTau:
    """The powers in the file ``data``, each on its curve; that they are powers of one number, this does not check."""
    sections = container.read(data, FILE)
    header = sections.get(HEADER)
    header.prime(P)
    power, ceremony_power = header.u32(), header.u32()
    header.end()
    if not 1 <= power <= POWER_MAX or ceremony_power < power:
        raise header.refuse("domain_size", power=power, ceremony=ceremony_power)
    size = 1 << power
    return PowersOfTau(
        power,
        ceremony_power,
        tau_g1=sections.get(TAU_G1).g1_list(2 * size - 1),
        tau_g2=sections.get(TAU_G2).g2_list(size),
        alpha_tau_g1=sections.get(ALPHA_TAU_G1).g1_list(size),
        beta_tau_g1=sections.get(BETA_TAU_G1).g1_list(size),
        beta_g2=sections.get(BETA_G2).g2_list(1)[0],
        lagrange=_read_lagrange(sections, size),
    )


def of_domain(points: Sequence[_T], size: int) -> Sequence[_T]:
    """The part of a list of `Lagrange` that is for the domain of ``size`` points."""
    return points[size - 1 : 2 * size - 1]


def _read_lagrange(sections: Sections, size: int) -> Lagrange | None:
    if sections.find(LAGRANGE_TAU_G1) is None:
        return None
    return Lagrange(
        tau_g1=sections.get(LAGRANGE_TAU_G1).g1_list(4 * size - 1),
        tau_g2=sections.get(LAGRANGE_TAU_G2).g2_list(2 * size - 1),
        alpha_g1=sections.get(LAGRANGE_ALPHA_G1).g1_list(2 * size - 1),
        beta_g1=sections.get(LAGRANGE_BETA_G1).g1_list(2 * size - 1),
    )
