"""`.zkey` files: proving keys of Groth16 as snarkjs keeps them, with the record of their ceremony."""

from __future__ import annotations

import struct

from theblock_node.core.proofs import field
from theblock_node.core.proofs.field import ELEMENT_BYTES, P, R
from theblock_node.core.proofs.formats import container
from theblock_node.core.proofs.formats.container import (
    G1_BYTES,
    G2_BYTES,
    FileType,
    Reader,
    Sections,
    g1_bytes,
    g2_bytes,
)
from theblock_node.core.proofs.keys import Coefficient, Contribution, ProvingKey, VerifyingKey

FILE = FileType("zkey", 1)
GROTH16 = 1
DOMAIN_POWER_MAX = 28
PROTOCOL, HEADER, IC, COEFFICIENTS, A, B1, B2, C, H, CONTRIBUTIONS = range(1, 11)
HASH_BYTES = 64
_COEFFICIENT_BYTES = 12 + ELEMENT_BYTES
_CONTRIBUTION_BYTES_MIN = 3 * G1_BYTES + G2_BYTES + HASH_BYTES + 8
_NAME, _ITERATIONS, _BEACON = 1, 2, 3


def read(data: bytes) -> ProvingKey:
    """The key in the file ``data``, its points on their curves; `keys` says whether it may be used."""
    sections = container.read(data, FILE)
    protocol = sections.get(PROTOCOL)
    kind = protocol.u32()
    if kind != GROTH16:
        raise protocol.refuse("file_protocol", protocol=kind)
    protocol.end()

    header = sections.get(HEADER)
    header.prime(P)
    header.prime(R)
    wires, public, domain = header.u32(), header.u32(), header.u32()
    if domain & domain - 1 or not 2 <= domain <= 1 << DOMAIN_POWER_MAX:
        raise header.refuse("domain_size", domain=domain)
    if public + 1 >= wires:
        # Everything public: the proof would say the whole witness.
        raise header.refuse("file_header", wires=wires, public=public)
    alpha1, beta1, beta2, gamma2 = header.g1(), header.g1(), header.g2(), header.g2()
    delta1, delta2 = header.g1(), header.g2()
    header.end()

    circuit_hash, contributions = _read_ceremony(sections.get(CONTRIBUTIONS))
    return ProvingKey(
        verifying=VerifyingKey(alpha1, beta2, gamma2, delta2, sections.get(IC).g1_list(public + 1)),
        beta1=beta1,
        delta1=delta1,
        domain_size=domain,
        coefficients=_read_coefficients(sections, wires, domain),
        a=sections.get(A).g1_list(wires),
        b1=sections.get(B1).g1_list(wires),
        b2=sections.get(B2).g2_list(wires),
        c=sections.get(C).g1_list(wires - public - 1),
        h=sections.get(H).g1_list(domain),
        circuit_hash=circuit_hash,
        contributions=contributions,
    )


def write(key: ProvingKey) -> bytes:
    """The file of ``key``, its sections in the order of their numbers."""
    public = key.verifying
    sizes = struct.pack("<III", key.wire_count, public.public_count, key.domain_size)
    header = (
        *(container.prime_bytes(P), container.prime_bytes(R), sizes),
        *(g1_bytes(public.alpha), g1_bytes(key.beta1), g2_bytes(public.beta), g2_bytes(public.gamma)),
        *(g1_bytes(key.delta1), g2_bytes(public.delta)),
    )
    coefficients = (struct.pack("<I", len(key.coefficients)), *map(_write_coefficient, key.coefficients))
    ceremony = (
        *(key.circuit_hash, struct.pack("<I", len(key.contributions))),
        *map(_write_contribution, key.contributions),
    )
    bodies = (
        (PROTOCOL, (struct.pack("<I", GROTH16),)),
        (HEADER, header),
        (IC, map(g1_bytes, public.ic)),
        (COEFFICIENTS, coefficients),
        (A, map(g1_bytes, key.a)),
        (B1, map(g1_bytes, key.b1)),
        (B2, map(g2_bytes, key.b2)),
        (C, map(g1_bytes, key.c)),
        (H, map(g1_bytes, key.h)),
        (CONTRIBUTIONS, ceremony),
    )
    return container.write(FILE, [(number, b"".join(parts)) for number, parts in bodies])


def _read_coefficients(sections: Sections, wires: int, domain: int) -> tuple[Coefficient, ...]:
    reader = sections.get(COEFFICIENTS)
    count = reader.u32()
    reader.expect(count * _COEFFICIENT_BYTES)
    return tuple(_read_coefficient(reader, wires, domain) for _ in range(count))


def _read_coefficient(reader: Reader, wires: int, domain: int) -> Coefficient:
    matrix, row, wire = reader.u32(), reader.u32(), reader.u32()
    if matrix > 1 or row >= domain or wire >= wires:
        raise reader.refuse("file_coefficient", matrix=matrix, row=row, wire=wire)
    # Stored times the radix squared, so that one product with a plain wire gives Montgomery form.
    return Coefficient(matrix, row, wire, field.from_montgomery(reader.montgomery(R), R))


def _write_coefficient(entry: Coefficient) -> bytes:
    value = container.montgomery_bytes(field.to_montgomery(entry.value, R), R)
    return struct.pack("<III", entry.matrix, entry.row, entry.wire) + value


def _read_ceremony(reader: Reader) -> tuple[bytes, tuple[Contribution, ...]]:
    circuit_hash = bytes(reader.take(HASH_BYTES))
    count = reader.u32()
    if count * _CONTRIBUTION_BYTES_MIN > reader.left:
        raise reader.refuse("file_truncated", contributions=count)
    contributions = tuple(_read_contribution(reader) for _ in range(count))
    reader.end()
    return circuit_hash, contributions


def _read_contribution(reader: Reader) -> Contribution:
    delta_after, g1_s, g1_sx, g2_spx = reader.g1(), reader.g1(), reader.g1(), reader.g2()
    transcript = bytes(reader.take(HASH_BYTES))
    kind, size = reader.u32(), reader.u32()
    if kind > 1:
        raise reader.refuse("file_contribution", kind=kind)
    params = _read_params(reader, size)
    iterations = params.get(_ITERATIONS)
    return Contribution(
        delta_after,
        g1_s,
        g1_sx,
        g2_spx,
        transcript,
        kind,
        name=params.get(_NAME),
        iterations_power=None if iterations is None else iterations[0],
        beacon=params.get(_BEACON),
    )


def _read_params(reader: Reader, size: int) -> dict[int, bytes]:
    """The parameters of a contribution by number; they stand in ascending order, each at most once."""
    if size > reader.left:
        raise reader.refuse("file_truncated", wanted=size)
    end = reader.left - size
    params: dict[int, bytes] = {}
    while reader.left > end:
        number = reader.u8()
        if not max(params, default=0) < number <= _BEACON:
            raise reader.refuse("file_contribution", parameter=number)
        params[number] = bytes(reader.take(1 if number == _ITERATIONS else reader.u8()))
    if reader.left != end:
        raise reader.refuse("file_contribution", size=size)
    return params


def _write_contribution(contribution: Contribution) -> bytes:
    params = b""
    if contribution.name is not None:
        params += bytes([_NAME, len(contribution.name)]) + contribution.name
    if contribution.iterations_power is not None:
        params += bytes([_ITERATIONS, contribution.iterations_power])
    if contribution.beacon is not None:
        params += bytes([_BEACON, len(contribution.beacon)]) + contribution.beacon
    points = (
        *(g1_bytes(contribution.delta_after), g1_bytes(contribution.g1_s), g1_bytes(contribution.g1_sx)),
        g2_bytes(contribution.g2_spx),
    )
    return b"".join((*points, contribution.transcript, struct.pack("<II", contribution.kind, len(params)), params))
