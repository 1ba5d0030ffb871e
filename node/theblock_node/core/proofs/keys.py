"""Keys of Groth16, and what is refused about them before they are used.

A key comes from whoever made the circuit. A hostile one can let anybody forge proofs, or make honest proofs tell
the witness; the checks here are the published attacks, one refusal each. What they cannot see (a valid point in
a wrong place) is caught by the prover, who verifies each proof against the *registered* verifying key.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from theblock_node.core import crypto
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import encoding, native, pairing
from theblock_node.core.proofs.curve import G1, G2, G1Point, G2Point
from theblock_node.core.proofs.encoding import G1_BYTES, G2_BYTES
from theblock_node.core.proofs.field import R

PUBLIC_COUNT_MAX = 2**12
"""Public inputs of a registered circuit."""
_FIXED_BYTES = G1_BYTES + 3 * G2_BYTES + 8
_WEIGHT_BYTES = 16


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    alpha: G1Point
    beta: G2Point
    gamma: G2Point
    delta: G2Point
    ic: tuple[G1Point, ...]
    """One point for the constant, then one for each public wire."""

    @property
    def public_count(self) -> int:
        return len(self.ic) - 1


class Coefficient(NamedTuple):
    """An entry of the sparse matrix A (0) or B (1)."""

    matrix: int
    row: int
    wire: int
    value: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """One participant's part in the second phase of a ceremony, as snarkjs records it."""

    delta_after: G1Point
    g1_s: G1Point
    g1_sx: G1Point
    g2_spx: G2Point
    transcript: bytes
    kind: int
    """0 for a participant, 1 for a public beacon."""
    name: bytes | None
    iterations_power: int | None
    beacon: bytes | None


@dataclass(frozen=True, slots=True)
class ProvingKey:
    verifying: VerifyingKey
    beta1: G1Point
    delta1: G1Point
    domain_size: int
    coefficients: tuple[Coefficient, ...]
    a: tuple[G1Point, ...]
    b1: tuple[G1Point, ...]
    b2: tuple[G2Point, ...]
    c: tuple[G1Point, ...]
    """For the wires that are not public."""
    h: tuple[G1Point, ...]
    circuit_hash: bytes
    """64 bytes that name the circuit; see `setup.hash_dev_circuit`."""
    contributions: tuple[Contribution, ...]

    @property
    def wire_count(self) -> int:
        return len(self.a)


def encode_verifying_key(key: VerifyingKey) -> bytes:
    """The canonical form, whose digest names the key on the chain."""
    return b"".join(
        (
            encoding.compress_g1(key.alpha),
            *map(encoding.compress_g2, (key.beta, key.gamma, key.delta)),
            struct.pack("<Q", len(key.ic)),
            *map(encoding.compress_g1, key.ic),
        )
    )


def decode_verifying_key(data: bytes) -> VerifyingKey:
    """The key in canonical form, with its points on their curves; `check_verifying_key` says if it may be used."""
    if len(data) < _FIXED_BYTES + G1_BYTES:
        raise InvalidRecord("snark.key_size", size=len(data))
    (count,) = struct.unpack_from("<Q", data, _FIXED_BYTES - 8)
    if not 1 <= count <= PUBLIC_COUNT_MAX + 1 or len(data) != _FIXED_BYTES + count * G1_BYTES:
        raise InvalidRecord("snark.key_size", size=len(data), points=count)
    beta, gamma, delta = (
        encoding.decompress_g2(data[at : at + G2_BYTES], what=what)
        for what, at in zip(("beta", "gamma", "delta"), range(G1_BYTES, _FIXED_BYTES - 8, G2_BYTES), strict=True)
    )
    ic = tuple(
        encoding.decompress_g1(data[at : at + G1_BYTES], what="ic") for at in range(_FIXED_BYTES, len(data), G1_BYTES)
    )
    return VerifyingKey(encoding.decompress_g1(data[:G1_BYTES], what="alpha"), beta, gamma, delta, ic)


def check_verifying_key(key: VerifyingKey, public_count: int) -> None:
    """Refuse a key for whose circuit proofs can be forged, or that is not for ``public_count`` inputs."""
    if key.public_count != public_count or not 0 <= public_count <= PUBLIC_COUNT_MAX:
        raise InvalidRecord("snark.key_public_count", key=key.public_count, circuit=public_count)
    named = {"alpha": key.alpha, **{f"ic_{at}": point for at, point in enumerate(key.ic)}}
    twisted = {"beta": key.beta, "gamma": key.gamma, "delta": key.delta}
    for what in (*named, *twisted):
        # An input whose IC point is infinity is bound by nothing: one proof would do for all its values.
        if named.get(what) is None and twisted.get(what) is None:
            raise InvalidRecord("snark.key_infinity", what=what)
    for what, point in named.items():
        if not G1.is_on_curve(point):
            raise InvalidRecord("snark.not_on_curve", what=what)
    for what, twisted_point in twisted.items():
        if not G2.is_on_curve(twisted_point):
            raise InvalidRecord("snark.not_on_curve", what=what)
        if not native.is_in_g2(twisted_point):
            raise InvalidRecord("snark.not_in_subgroup", what=what)
    # Nobody contributed to the second phase: A = alpha, B = beta, C = -vx (or vx) passes for any input.
    if key.delta in (key.gamma, G2.neg(key.gamma)):
        raise InvalidRecord("snark.key_delta")


def check_proving_key(key: ProvingKey, registered: VerifyingKey) -> None:
    """Refuse a key that is not ``registered``'s, or whose blinding does not hide the witness.

    Without beta1, delta1 or the points of B1 proofs still verify, but the blinders no longer cover the witness.
    """
    if key.verifying != registered:
        raise InvalidRecord("snark.key_not_registered")
    check_verifying_key(registered, key.verifying.public_count)
    _check_sizes(key)
    for what, point in (("beta1", key.beta1), ("delta1", key.delta1)):
        if point is None:
            raise InvalidRecord("snark.key_infinity", what=what)
        if not G1.is_on_curve(point):
            raise InvalidRecord("snark.not_on_curve", what=what)
    for what, points in (("a", key.a), ("b1", key.b1), ("b2", key.b2), ("c", key.c), ("h", key.h)):
        if not any(points):
            raise InvalidRecord("snark.key_infinity", what=what)
    _check_columns(key)
    _check_twins(key)


def check_subgroups(key: ProvingKey) -> None:
    """Refuse a base of B2 outside the group: at registration, since it takes milliseconds a wire."""
    if native.are_in_g2(key.b2):
        return
    for wire, point in enumerate(key.b2):
        if not native.is_in_g2(point):
            raise InvalidRecord("snark.not_in_subgroup", what="b2", wire=wire)


def check_ceremony(key: ProvingKey) -> None:
    """Refuse a key that one party made alone, who may know how to forge; networks for development take it."""
    if not key.contributions:
        raise InvalidRecord("snark.dev_key")
    if key.contributions[-1].delta_after != key.delta1:
        raise InvalidRecord("snark.key_contribution")


def draw_weights(tag: bytes, drawn_from: Iterable[bytes], count: int) -> list[int]:
    """``count`` factors of 128 bits that nobody can choose, since they follow from all that they weigh."""
    stream = crypto.blake3_xof(tag + b"".join(drawn_from), _WEIGHT_BYTES * count)
    return [int.from_bytes(stream[at : at + _WEIGHT_BYTES], "little") for at in range(0, len(stream), _WEIGHT_BYTES)]


def _check_sizes(key: ProvingKey) -> None:
    """Refuse arrays that do not fit together, so that nothing after this reads past one."""
    wires, hidden = len(key.a), len(key.a) - key.verifying.public_count - 1
    if hidden < 1 or (len(key.b1), len(key.b2), len(key.c), len(key.h)) != (wires, wires, hidden, key.domain_size):
        raise InvalidRecord("snark.key_size", wires=wires, public=key.verifying.public_count)
    if key.domain_size & key.domain_size - 1 or key.domain_size < 2:
        raise InvalidRecord("snark.domain_size", size=key.domain_size)
    for at, entry in enumerate(key.coefficients):
        if not (entry.matrix in (0, 1) and entry.row < key.domain_size and entry.wire < wires and entry.value < R):
            raise InvalidRecord("snark.key_coefficient", index=at)


def _check_columns(key: ProvingKey) -> None:
    """Refuse a base that is infinity although its wire is used, or is not although it is unused."""
    sums: dict[tuple[int, int, int], int] = {}
    for matrix, row, wire, value in key.coefficients:
        sums[matrix, wire, row] = (sums.get((matrix, wire, row), 0) + value) % R
    used = {(matrix, wire) for (matrix, wire, _), value in sums.items() if value}
    for wire in range(key.wire_count):
        for what, matrix, is_there in (
            ("a", 0, key.a[wire] is not None),
            ("b1", 1, key.b1[wire] is not None),
            ("b2", 1, key.b2[wire] is not None),
        ):
            if is_there != ((matrix, wire) in used):
                raise InvalidRecord("snark.key_column", what=what, wire=wire)


def _check_twins(key: ProvingKey) -> None:
    """Refuse points that stand in both groups for different scalars: beta, delta and the bases of B.

    All in one product of pairings, each pair with a weight that follows from the points themselves.
    """
    pairs: list[tuple[G1Point, G2Point]] = [
        (key.beta1, key.verifying.beta),
        (key.delta1, key.verifying.delta),
        *((left, right) for left, right in zip(key.b1, key.b2, strict=True) if left is not None),
    ]
    weights = draw_weights(b"theblock/groth16/twins/v1", _encode_pairs(pairs), len(pairs))
    left = native.msm_g1([pair[0] for pair in pairs], weights)
    right = native.msm_g2([pair[1] for pair in pairs], weights)
    if not pairing.is_product_one([(left, G2.generator), (G1.neg(G1.generator), right)]):
        raise InvalidRecord("snark.key_twins")


def _encode_pairs(pairs: Iterable[tuple[G1Point, G2Point]]) -> Iterable[bytes]:
    for left, right in pairs:
        yield encoding.evm_g1(left)
        yield encoding.evm_g2(right)
