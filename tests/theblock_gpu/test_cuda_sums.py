"""The kernels of a proof, one by one against the twin: as the host's compiler makes them, in both orders of lanes.

With ``ptx``, what NVRTC makes of them for a device is emulated instead; that takes long, so it is for `make soak`.
"""

from __future__ import annotations

import functools
import random

import pytest
from support import ptx
from support.cuda import DEVICE, Call, HostCupy, host_kernels
from support.nvrtc import compile_source
from theblock_gpu import cuda_plan, cuda_sums
from theblock_gpu.cuda_machine import Machine, NoElement
from theblock_gpu.cuda_plan import Sum
from theblock_gpu.cuda_proof import _powers_of_root
from theblock_gpu.cuda_sums import WORDS
from theblock_kernels import device
from theblock_kernels.snark import encode
from theblock_node.core.proofs import native, polynomial
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats.container import g1_bytes, g2_bytes, montgomery_bytes

ELEMENT = 32


@functools.cache
def device_kernels() -> Call:
    compiled = compile_source(device.source(), "sm_80", device.OPTIONS, wants_image=False)
    assert compiled.ptx, compiled.log
    return ptx.load(compiled.ptx, device.kernels())


FORMS = {
    "host": host_kernels,
    "backwards": functools.partial(host_kernels, backwards=True),
    "ptx": device_kernels,
}


@pytest.fixture(params=["host", "backwards", pytest.param("ptx", marks=[pytest.mark.soak, pytest.mark.timeout(600)])])
def cupy(request):
    return HostCupy(FORMS[request.param]())


@pytest.fixture
def machine(cupy):
    return Machine(cupy, DEVICE)


def numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + ELEMENT], "little") for at in range(0, len(data), ELEMENT)]


def edges(modulus: int) -> list[int]:
    return [0, 1, 2, modulus - 1, modulus - 2, modulus // 2, 2**32 - 1, 2**64 - 1, 2**128, 2**253 % modulus]


# Elements.


@pytest.mark.parametrize(("which", "modulus"), [("fp", P), ("fr", R)])
def test_field_operations_are_the_twins(machine, which, modulus):
    chance = random.Random(1)
    left = [a for a in edges(modulus) for _ in edges(modulus)] + [chance.randrange(modulus) for _ in range(400)]
    right = [b for _ in edges(modulus) for b in edges(modulus)] + [chance.randrange(modulus) for _ in range(400)]
    radix, inverse = pow(2, 256, modulus), pow(2, -256, modulus)
    wanted = [
        [(a + b) % modulus for a, b in zip(left, right, strict=True)],
        [(a - b) % modulus for a, b in zip(left, right, strict=True)],
        [a * b * inverse % modulus for a, b in zip(left, right, strict=True)],
        [a * radix % modulus for a in left],
        [a * inverse % modulus for a in left],
    ]
    x, y, out = (machine.upload(encode(values)) for values in (left, right, left))
    for operation, answers in enumerate(wanted):
        machine.launch(f"compute_{which}", len(left), operation, x, y, out)
        assert numbers(machine.download(out)) == answers


@pytest.mark.parametrize(("which", "modulus"), [("fp", P), ("fr", R)])
def test_what_is_no_element_is_found(machine, which, modulus):
    cuda_sums.require_elements(machine, which, machine.upload(encode([0, 1, modulus - 1])), 3)
    for value in (modulus, modulus + 1, 2**256 - 1):
        with pytest.raises(NoElement):
            cuda_sums.require_elements(machine, which, machine.upload(encode([0, value, 1])), 3)


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 4096, 4097, 10_000])
def test_running_sums_are_those_of_the_counts(machine, count):
    chance = random.Random(count)
    counts = [chance.randrange(1000) for _ in range(count)]
    array = machine.upload(b"".join(each.to_bytes(4, "little") for each in counts))
    machine.scan(array, count)
    made = machine.download(array)
    total = 0
    for at, each in enumerate(counts):
        total += each
        assert int.from_bytes(made[4 * at : 4 * at + 4], "little") == total


# Transforms.


def transform(machine: Machine, vectors: list[list[int]], tile_bits: int) -> list[list[int]]:
    size = len(vectors[0])
    power = size.bit_length() - 1
    roots, values = machine.zeros(size * WORDS), machine.upload(encode(value for vector in vectors for value in vector))
    machine.launch("make_roots", size, power, machine.upload(b"".join(_powers_of_root(power))), roots)
    one_over_size = machine.upload(montgomery_bytes(pow(size, -1, R), R))
    turn, passes = cuda_plan.plan_passes(power, tile_bits)
    shapes = [(len(vectors) * size >> (step.stages + step.columns), step) for step in passes]
    for tiles, step in reversed(shapes):
        shape = (tiles, power, step.low, step.stages, step.columns)
        machine.launch_blocks("transform_down", *shape, roots, values)
    tiles = len(vectors) * size >> turn
    machine.launch_blocks("transform_turn", tiles, power, turn, one_over_size, roots, values)
    for tiles, step in shapes:
        shape = (tiles, power, step.low, step.stages, step.columns)
        machine.launch_blocks("transform_up", *shape, roots, values)
    made = numbers(machine.download(values))
    return [made[at : at + size] for at in range(0, len(made), size)]


@pytest.mark.parametrize("power", range(1, 13))
@pytest.mark.parametrize("tile_bits", [10, 4, 3])
def test_transforms_are_the_twins_in_any_number_of_passes(machine, power, tile_bits):
    chance = random.Random(power)
    vectors = [[chance.choice((0, 1, R - 1, chance.randrange(R))) for _ in range(1 << power)] for _ in range(3)]
    assert transform(machine, vectors, tile_bits) == [polynomial.to_odd_points(values) for values in vectors]


# Sums.


def sum_both(machine: Machine, way: Sum, scalars: list[int], points1, points2):
    """In G1 with the points and with the same from the last on, which is a set of its own, and in G2."""
    array = machine.upload(encode(scalars))
    sets = [b"".join(map(g1_bytes, points)) for points in (points1, points1[::-1])]
    bases = [
        cuda_sums.load_points(machine, "g1", sets, way),
        cuda_sums.load_points(machine, "g2", [b"".join(map(g2_bytes, points2))], way),
    ]
    forth, back, in_g2 = cuda_sums.sum_all(machine, way, array, bases)
    return cuda_sums.total_g1(forth), cuda_sums.total_g1(back), cuda_sums.total_g2(in_g2)


WAYS = [(2, 128, 1), (2, 1, 3), (3, 9, 1), (5, 51, 2), (8, 32, 1), (8, 5, 4), (13, 1, 1), (16, 2, 1)]


@pytest.mark.parametrize(("bits", "groups", "parts"), WAYS)
def test_sums_are_the_twins_in_every_special_case(machine, bits, groups, parts):
    chance = random.Random(2)
    half = 1 << (bits - 1)
    scalars = [0, 1, 2, R - 1, R - 2, 2**253, half - 1, half, half + 1, *(chance.randrange(R) for _ in range(15))]
    points1, points2 = (group.multiply_generator([chance.randrange(R) for _ in scalars]) for group in (G1, G2))
    scalars[10:13] = [scalars[9]] * 3
    scalars[14], scalars[16] = scalars[13], R - scalars[15]
    for points, group in ((points1, G1), (points2, G2)):
        points[10:13] = [points[9]] * 3  # Equal points in one bucket,
        points[14] = group.neg(points[13])  # opposite ones,
        points[16] = group.neg(points[15])  # one twice by way of its opposite,
        points[17] = None  # and none.

    made = sum_both(machine, Sum(len(scalars), bits, groups, parts), scalars, points1, points2)

    assert made == (G1.msm(points1, scalars), G1.msm(points1[::-1], scalars), G2.msm(points2, scalars))


@pytest.mark.parametrize("scalars", [[0], [1], [R - 1], [0, 0, 0], [1] * 700, [R - 1, 0] * 400], ids=len)
def test_sums_of_few_values_are_the_twins(machine, scalars):
    """Where nearly all points fall into one bucket, it is cut into pieces that are merged in several rounds."""
    points1 = native.multiply_generator_g1(range(1, len(scalars) + 1))
    points2 = native.multiply_generator_g2(range(1, len(scalars) + 1))
    total = sum(scalar * at for at, scalar in enumerate(scalars, 1)) % R
    back = sum(scalar * at for at, scalar in enumerate(reversed(scalars), 1)) % R

    made = sum_both(machine, Sum(len(scalars), 8, 4, 1), scalars, points1, points2)

    assert made == (*(G1.multiply(G1.generator, each) for each in (total, back)), G2.multiply(G2.generator, total))


@pytest.mark.parametrize("count", [2**power + extra for power in range(1, 13) for extra in (0, -1)])
def test_sums_of_every_size_are_what_their_numbers_say(machine, count):
    chance = random.Random(count)
    logarithms = [chance.randrange(R) for _ in range(count)]
    scalars = [chance.choice((0, 1, 1, chance.randrange(R))) for _ in range(count)]
    plan = cuda_plan.plan_proof(cuda_plan.Circuit(count, 2, 0), 2**40 if count % 2 else 2**26)
    bases = cuda_sums.load_points(
        machine, "g1", [b"".join(map(g1_bytes, native.multiply_generator_g1(logarithms)))], plan.wires
    )

    (terms,) = cuda_sums.sum_all(machine, plan.wires, machine.upload(encode(scalars)), [bases])

    wanted = sum(a * b for a, b in zip(logarithms, scalars, strict=True)) % R
    assert cuda_sums.total_g1(terms) == native.multiply_generator_g1([wanted])[0]


def test_digits_are_the_specifications(machine):
    """The vector of the specification: c = 8, and the digits of 0x1234567890abcdef."""
    way = Sum(1, 8, 32, 1)
    counts = machine.zeros(way.runs + 1)
    scalar = machine.upload(encode([0x1234567890ABCDEF]))
    machine.launch("count_digits", 1, scalar, way.bits, way.windows, way.groups, counts)
    order, ends = machine.zeros(way.digits), machine.zeros(way.runs + 1)
    machine.scan(counts, way.runs + 1)
    ends.set(counts.get())
    machine.launch("place_digits", 1, scalar, way.bits, way.windows, way.groups, 0, 1, ends, order)
    starts = [int(each) for each in counts.get()]
    runs = [at for at in range(way.runs) if starts[at + 1] > starts[at]]
    found = [(-1 if order.get()[starts[run]] >> 31 else 1) * (run % way.buckets + 1) for run in runs]
    assert found == [-17, -50, -84, -111, 121, 86, 52, 18]
    assert [run // way.buckets for run in runs] == list(range(8))


def test_kernel_that_is_given_what_it_does_not_take_is_not_launched(machine):
    with pytest.raises(AssertionError, match="make_rows"):
        machine.launch("make_rows", 4, 4, machine.zeros(1), machine.zeros(1))


def test_multiples_by_powers_of_two_are_the_twins(machine):
    points = [None, G1.generator, G1.neg(G1.generator)]
    way = Sum(3, 20, 4, 1)
    made = machine.download(cuda_sums.load_points(machine, "g1", [b"".join(map(g1_bytes, points))], way).array)
    for copy in range(way.copies):
        factor = pow(2, way.bits * way.groups * copy, R)
        wanted = [point and G1.multiply(point, factor) for point in points]
        assert made[copy * 192 : (copy + 1) * 192] == b"".join(map(g1_bytes, wanted))
