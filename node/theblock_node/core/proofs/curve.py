"""The two groups of BN254: G1 is y² = x³ + 3 over Fp, G2 is y² = x³ + 3/(9 + u) over Fp2. Both have order R.

A point outside is affine: a pair (x, y), or None for infinity. Sums run in XYZZ form (x = X/ZZ, y = Y/ZZZ,
ZZ³ = ZZZ²), again with None for infinity. The zero tests in the sums rely on canonical elements: equal elements
are equal values. Every point of G1's curve is in the group; on G2's it takes `is_in_g2`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from theblock_node.core.proofs import field, tower
from theblock_node.core.proofs.field import P, R, X
from theblock_node.core.proofs.tower import Fp2

F = TypeVar("F")
Affine = tuple[F, F] | None
Xyzz = tuple[F, F, F, F] | None
G1Point = tuple[int, int] | None
G2Point = tuple[Fp2, Fp2] | None

SCALAR_BITS = 255
"""One more than R has: the last borrow of signed digits needs room."""
FIXED_WINDOW_BITS = 6
MSM_WINDOW_BITS_MAX = 16


@dataclass(frozen=True, slots=True)
class Arithmetic(Generic[F]):
    """The field under a curve."""

    zero: F
    one: F
    is_canonical: Callable[[F], bool]
    add: Callable[[F, F], F]
    sub: Callable[[F, F], F]
    neg: Callable[[F], F]
    mul: Callable[[F, F], F]
    square: Callable[[F], F]
    inverse: Callable[[F], F]


@dataclass(frozen=True, slots=True)
class Group(Generic[F]):
    """A curve y² = x³ + b and the generator of its group of order R."""

    field: Arithmetic[F]
    b: F
    generator: tuple[F, F]

    def is_on_curve(self, point: Affine[F]) -> bool:
        """Whether ``point`` satisfies the equation, in canonical coordinates; infinity does."""
        if point is None:
            return True
        f, (x, y) = self.field, point
        return f.is_canonical(x) and f.is_canonical(y) and f.square(y) == f.add(f.mul(f.square(x), x), self.b)

    def neg(self, point: Affine[F]) -> Affine[F]:
        return None if point is None else (point[0], self.field.neg(point[1]))

    def add(self, left: Affine[F], right: Affine[F]) -> Affine[F]:
        return self.to_affine(self.add_mixed(self.to_xyzz(left), right))

    def total(self, points: Sequence[Affine[F]]) -> Affine[F]:
        """The sum of ``points``."""
        running: Xyzz[F] = None
        for point in points:
            running = self.add_mixed(running, point)
        return self.to_affine(running)

    def multiply(self, point: Affine[F], scalar: int) -> Affine[F]:
        """``scalar`` times ``point``; the scalar is not negative, and is not reduced first."""
        return self.to_affine(self._multiply(point, scalar))

    def multiply_generator(self, scalars: Sequence[int]) -> list[Affine[F]]:
        """The generator times each of ``scalars``, below R: with tables, worth it from some ten scalars on."""
        tables = self._fixed_tables()
        mask = (1 << FIXED_WINDOW_BITS) - 1
        sums: list[Xyzz[F]] = []
        for scalar in scalars:
            running: Xyzz[F] = None
            for at, table in enumerate(tables):
                running = self.add_mixed(running, table[scalar >> at * FIXED_WINDOW_BITS & mask])
            sums.append(running)
        return self.to_affine_batch(sums)

    def msm_naive(self, points: Sequence[Affine[F]], scalars: Sequence[int]) -> Affine[F]:
        """The sum of ``scalars[i] * points[i]``, as it is defined."""
        running: Xyzz[F] = None
        for point, scalar in zip(points, scalars, strict=True):
            running = self.add_xyzz(running, self._multiply(point, scalar))
        return self.to_affine(running)

    def msm(self, points: Sequence[Affine[F]], scalars: Sequence[int]) -> Affine[F]:
        """The sum of ``scalars[i] * points[i]`` by buckets (Pippenger); scalars are below R."""
        window_bits = min(max(len(points).bit_length() - 2, 2), MSM_WINDOW_BITS_MAX)
        digits = [
            signed_digits(scalar, window_bits)
            for point, scalar in zip(points, scalars, strict=True)
            if point is not None and scalar
        ]
        bases = [point for point, scalar in zip(points, scalars, strict=True) if point is not None and scalar]
        total: Xyzz[F] = None
        for window in range(-(-SCALAR_BITS // window_bits) - 1, -1, -1):
            for _ in range(window_bits):
                total = self.double_xyzz(total)
            total = self.add_xyzz(total, self._sum_window(bases, [row[window] for row in digits], window_bits))
        return self.to_affine(total)

    def to_xyzz(self, point: Affine[F]) -> Xyzz[F]:
        return None if point is None else (*point, self.field.one, self.field.one)

    def to_affine(self, point: Xyzz[F]) -> Affine[F]:
        return self.to_affine_batch([point])[0]

    def to_affine_batch(self, points: Sequence[Xyzz[F]]) -> list[Affine[F]]:
        """Each of ``points`` in affine form, for the price of one inversion."""
        f = self.field
        products = [f.one]
        for point in points:
            if point is not None:
                products.append(f.mul(products[-1], point[3]))
        running = f.inverse(products.pop())
        affine: list[Affine[F]] = [None] * len(points)
        for at in range(len(points) - 1, -1, -1):
            point = points[at]
            if point is None:
                continue
            x, y, zz, zzz = point
            inverse = f.mul(running, products.pop())
            running = f.mul(running, zzz)
            # 1/ZZ = (ZZ/ZZZ)², since ZZ³ = ZZZ².
            affine[at] = (f.mul(x, f.square(f.mul(zz, inverse))), f.mul(y, inverse))
        return affine

    def double_xyzz(self, point: Xyzz[F]) -> Xyzz[F]:
        """Twice ``point``; no point of either curve has order two."""
        if point is None:
            return None
        f, (x, y, zz, zzz) = self.field, point
        u = f.add(y, y)
        v = f.square(u)
        w = f.mul(u, v)
        s = f.mul(x, v)
        xx = f.square(x)
        m = f.add(f.add(xx, xx), xx)
        x3 = f.sub(f.square(m), f.add(s, s))
        y3 = f.sub(f.mul(m, f.sub(s, x3)), f.mul(w, y))
        return x3, y3, f.mul(v, zz), f.mul(w, zzz)

    def add_mixed(self, left: Xyzz[F], right: Affine[F]) -> Xyzz[F]:
        """``left + right``, whether they are equal, opposite or infinity."""
        if right is None:
            return left
        if left is None:
            return self.to_xyzz(right)
        f, (x1, y1, zz, zzz), (x2, y2) = self.field, left, right
        p = f.sub(f.mul(x2, zz), x1)
        r = f.sub(f.mul(y2, zzz), y1)
        if p == f.zero:
            return self.double_xyzz(left) if r == f.zero else None
        pp = f.square(p)
        ppp = f.mul(p, pp)
        q = f.mul(x1, pp)
        x3 = f.sub(f.sub(f.square(r), ppp), f.add(q, q))
        y3 = f.sub(f.mul(r, f.sub(q, x3)), f.mul(y1, ppp))
        return x3, y3, f.mul(zz, pp), f.mul(zzz, ppp)

    def add_xyzz(self, left: Xyzz[F], right: Xyzz[F]) -> Xyzz[F]:
        """As `add_mixed`, with both operands in XYZZ form."""
        if left is None or right is None:
            return right if left is None else left
        f, (x1, y1, zz1, zzz1), (x2, y2, zz2, zzz2) = self.field, left, right
        u1, s1 = f.mul(x1, zz2), f.mul(y1, zzz2)
        p = f.sub(f.mul(x2, zz1), u1)
        r = f.sub(f.mul(y2, zzz1), s1)
        if p == f.zero:
            return self.double_xyzz(left) if r == f.zero else None
        pp = f.square(p)
        ppp = f.mul(p, pp)
        q = f.mul(u1, pp)
        x3 = f.sub(f.sub(f.square(r), ppp), f.add(q, q))
        y3 = f.sub(f.mul(r, f.sub(q, x3)), f.mul(s1, ppp))
        return x3, y3, f.mul(f.mul(zz1, zz2), pp), f.mul(f.mul(zzz1, zzz2), ppp)

    def _multiply(self, point: Affine[F], scalar: int) -> Xyzz[F]:
        running: Xyzz[F] = None
        for bit in bin(scalar)[2:]:
            running = self.double_xyzz(running)
            if bit == "1":
                running = self.add_mixed(running, point)
        return running

    def _fixed_tables(self) -> list[list[Affine[F]]]:
        """For each window of a scalar, the generator's multiples by each value of that window."""
        tables: list[list[Affine[F]]] = []
        base: Affine[F] = self.generator
        for _ in range(0, SCALAR_BITS, FIXED_WINDOW_BITS):
            multiples: list[Xyzz[F]] = [None]
            for _ in range(1 << FIXED_WINDOW_BITS):
                multiples.append(self.add_mixed(multiples[-1], base))
            *table, base = self.to_affine_batch(multiples)
            tables.append(table)
        return tables

    def _sum_window(self, bases: Sequence[tuple[F, F]], digits: Sequence[int], window_bits: int) -> Xyzz[F]:
        """The sum of ``digits[i] * bases[i]``: a bucket for each size of digit, then running sums from the top."""
        buckets: list[Xyzz[F]] = [None] * (1 << window_bits - 1)
        for base, digit in zip(bases, digits, strict=True):
            if digit:
                at = abs(digit) - 1
                buckets[at] = self.add_mixed(buckets[at], base if digit > 0 else self.neg(base))
        running: Xyzz[F] = None
        total: Xyzz[F] = None
        for bucket in reversed(buckets):
            running = self.add_xyzz(running, bucket)
            total = self.add_xyzz(total, running)
        return total


def signed_digits(scalar: int, window_bits: int) -> list[int]:
    """``scalar`` to the base ``2**window_bits``, lowest first, with digits from minus half the base to below half."""
    half, base = 1 << window_bits - 1, 1 << window_bits
    digits = []
    for _ in range(0, SCALAR_BITS, window_bits):
        digit = scalar & base - 1
        scalar >>= window_bits
        if digit >= half:
            digit -= base
            scalar += 1
        digits.append(digit)
    assert scalar == 0, "the scalar is below R"
    return digits


def endomorphism(point: tuple[Fp2, Fp2]) -> tuple[Fp2, Fp2]:
    """The Frobenius map of the full curve, seen on the twist: multiplication by P in G2."""
    x, y = point
    return tower.fp2_mul(tower.fp2_conjugate(x), PSI_X), tower.fp2_mul(tower.fp2_conjugate(y), PSI_Y)


def is_in_g2(point: G2Point) -> bool:
    """Whether a point of G2's curve is in the group of order R: there, and only there, P acts as 6X²."""
    return point is None or G2.multiply(point, 6 * X * X) == endomorphism(point)


PSI_X = tower.fp2_power(tower.XI, (P - 1) // 3)
PSI_Y = tower.fp2_power(tower.XI, (P - 1) // 2)
FP: Arithmetic[int] = Arithmetic(
    zero=0,
    one=1,
    is_canonical=lambda a: 0 <= a < P,
    add=lambda a, b: (a + b) % P,
    sub=lambda a, b: (a - b) % P,
    neg=lambda a: -a % P,
    mul=lambda a, b: a * b % P,
    square=lambda a: a * a % P,
    inverse=lambda a: field.inverse(a, P),
)
FP2: Arithmetic[Fp2] = Arithmetic(
    zero=tower.FP2_ZERO,
    one=tower.FP2_ONE,
    is_canonical=lambda a: 0 <= a[0] < P and 0 <= a[1] < P,
    add=tower.fp2_add,
    sub=tower.fp2_sub,
    neg=tower.fp2_neg,
    mul=tower.fp2_mul,
    square=tower.fp2_square,
    inverse=tower.fp2_inverse,
)
G1: Group[int] = Group(FP, 3, (1, 2))
G2: Group[Fp2] = Group(
    FP2,
    tower.fp2_mul((3, 0), tower.fp2_inverse(tower.XI)),
    (
        (
            10857046999023057135944570762232829481370756359578518086990519993285655852781,
            11559732032986387107991004021392285783925812861821192530917403151452391805634,
        ),
        (
            8495653923123431417604973247489272438418190587263600148770280649306958101930,
            4082367875863433681332203403145435568316851327593401208105741076214120093531,
        ),
    ),
)
assert P % R == 6 * X * X
