"""Proofs by the driver of a device, over the stand-in: the bytes of the host's prover, and nothing left behind."""

from __future__ import annotations

import functools
import itertools
import random

import pytest
from support import cuda
from support.cuda import DEVICE, HostCupy
from support.devices import CudaError
from theblock_gpu import cuda_machine, device, golden
from theblock_gpu.cuda import CudaProofs
from theblock_gpu.cuda_proof import DeviceProver, circuit_of
from theblock_gpu.device import Device, DeviceError, find_devices
from theblock_gpu.hash import Stopped
from theblock_kernels.bn254 import NotCanonical
from theblock_kernels.snark import Bases, Prover, encode
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, native, prover, setup
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.prover import UsableKey
from theblock_node.core.proofs.r1cs import Constraint, R1cs
from theblock_node.core.proofs.setup import ToxicWaste

pytestmark = pytest.mark.skipif(native.LIBRARY is None, reason="no library of the kernels")
MEMORY = 2**30


def quiet(stage: str, done_ppm: int) -> None:
    pass


def word(value: int) -> bytes:
    return value.to_bytes(32, "little")


def squares(count: int, row_length: int = 1) -> tuple[UsableKey, list[int]]:
    """A chain x, x², x⁴ and so on, the last of them public; and a constraint of many entries that says nothing."""
    witness = [1, 0, 3]
    for _ in range(count - 1):
        witness.append(witness[-1] ** 2 % R)
    witness[1] = witness[-1] ** 2 % R
    wires = [*range(2, len(witness)), 1]
    links = [Constraint(((a, 1),), ((a, 1),), ((b, 1),)) for a, b in itertools.pairwise(wires)]
    long = tuple((wire % len(witness), 7) for wire in range(min(row_length, len(witness))))
    links.append(Constraint(long, (), ()))
    system = R1cs(len(witness), 1, 0, 1, len(witness), tuple(links), tuple(range(len(witness))))
    key = setup.setup_dev(r1cs_file.write(system), ToxicWaste(*(pow(7, 80 + at, R) for at in range(4))))
    return prover.prepare(key, key.verifying), witness


@functools.cache
def small() -> tuple[UsableKey, list[int]]:
    return squares(40, row_length=40)


def load(cupy: HostCupy, usable: UsableKey, memory_bytes: int = MEMORY) -> DeviceProver:
    return DeviceProver(cupy, DEVICE, native.encode_bases(usable.key), memory_bytes=memory_bytes)


def prove(made: DeviceProver, witness: list[int] | tuple[int, ...], r: int = 5, s: int = 7) -> bytes:
    return made.prove(encode(witness), word(r), word(s), quiet)


def test_golden_proof_is_made_byte_for_byte():
    usable, cupy = golden.usable_key(), HostCupy()
    engine = CudaProofs(cupy, Device(DEVICE, "Fake 0", 1024), DeviceProver)
    assert engine.plan(usable) == load(HostCupy(), usable).device_bytes
    key = engine.load(usable)
    proof = key.prove(golden.WITNESS, r=golden.R, s=golden.S, tell=quiet)
    key.close()
    assert groth16.encode_proof(proof) == golden.PROOF
    groth16.verify(usable.registered, golden.WITNESS[1:2], proof)
    assert cupy.memory.bytes == 0


@pytest.mark.gpu
def test_golden_proof_is_made_on_a_device():
    found = find_devices()
    if not found.devices:
        pytest.skip(f"not run on a device: {found.reason}")
    for usable, witness in ((golden.usable_key(), golden.WITNESS), small(), squares(5000)):
        made = DeviceProver(found.cupy, found.devices[0].index, native.encode_bases(usable.key), memory_bytes=2**32)
        for blinders in ((golden.R, golden.S), (0, R - 1)):
            host = usable.native.prove(encode(witness), r=word(blinders[0]), s=word(blinders[1]))
            assert prove(made, witness, *blinders) == host
        made.close()


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("r", "s"), [(0, 0), (1, R - 1), (2**253, 77)])
def test_proofs_are_the_hosts_bit_for_bit(backwards, r, s):
    usable, witness = small()
    made = load(HostCupy(cuda.host_kernels(backwards=backwards)), usable)
    assert prove(made, witness, r, s) == usable.native.prove(encode(witness), r=word(r), s=word(s))
    assert made.compute_quotient(encode(witness)) == usable.native.compute_quotient(encode(witness))


@pytest.mark.parametrize("count", [1, 2, 6, 7, 70, pytest.param(4000, marks=pytest.mark.soak)])
def test_circuits_of_every_size_are_proven(count):
    usable, witness = squares(count)
    proof = prove(load(HostCupy(), usable), witness)
    assert proof == usable.native.prove(encode(witness), r=word(5), s=word(7))
    groth16.verify(usable.registered, witness[1:2], groth16.Proof(*native.prove(usable.native, witness, r=5, s=7)))


@pytest.mark.parametrize("seed", range(6))
def test_any_wires_give_what_the_host_gives(seed):
    """Also those that satisfy nothing, and those that are all alike."""
    usable, witness = small()
    chance = random.Random(seed)
    edges = (0, 1, 2, R - 1, R - 2, 2**253)
    wires = (
        [edges[seed]] * len(witness) if seed < 3 else [chance.choice((*edges, chance.randrange(R))) for _ in witness]
    )
    r, s = chance.randrange(R), chance.randrange(R)
    assert prove(load(HostCupy(), usable), wires, r, s) == usable.native.prove(encode(wires), r=word(r), s=word(s))


def test_little_memory_makes_the_same_proof():
    usable, witness = small()
    wanted = usable.native.prove(encode(witness), r=word(5), s=word(7))
    with pytest.raises(InvalidRecord) as refused:
        load(HostCupy(), usable, memory_bytes=1)
    least = refused.value.facts["needed"]
    shapes = set()
    for memory in (least, least * 3 // 2, least * 3, least * 10):
        made = load(HostCupy(), usable, memory_bytes=memory)
        assert made.device_bytes <= memory
        assert prove(made, witness) == wanted
        shapes.add((made.plan.wires.bits, made.plan.wires.groups, made.plan.wires.parts))
    assert len(shapes) == 4


def test_plan_counts_every_byte_that_is_taken():
    usable, witness = small()
    for memory in (10**6, 3 * 10**6, MEMORY):
        cupy = HostCupy()
        made = load(cupy, usable, memory_bytes=memory)
        prove(made, witness)
        assert cupy.memory.peak <= made.device_bytes <= memory


def test_refused_key_never_reaches_the_device():
    cupy = HostCupy()
    with pytest.raises(InvalidRecord) as refused:
        load(cupy, small()[0], memory_bytes=10_000)
    assert refused.value.code == "snark.out_of_memory"
    assert cupy.memory.peak == 0


def test_nothing_of_the_wires_is_left_on_the_device():
    usable, witness = small()
    cupy = HostCupy()
    made = load(cupy, usable)
    cupy.memory.freed.clear()
    prove(made, witness)
    assert len(cupy.memory.freed) > 50
    left = [array for array in cupy.memory.freed if array[cuda.GUARD : -cuda.GUARD].any()]
    # Flags that stayed zero and windows' sums are zeroed as well.
    assert left == []


def test_sparse_and_dense_wires_launch_the_same():
    usable, witness = small()
    launched = []
    for wires in ([0] * len(witness), [1] * len(witness), [R - 1 - at for at in range(len(witness))]):
        cupy = HostCupy()
        made = load(cupy, usable)
        cupy.shapes.clear()
        prove(made, wires)
        launched.append(list(cupy.shapes))
    assert launched[0] == launched[1] == launched[2]


def test_stages_are_told_in_order():
    usable, witness = small()
    told = []
    load(HostCupy(), usable).prove(encode(witness), word(1), word(2), lambda *stage: told.append(stage))
    assert told == [("upload", 0), ("quotient", 0), ("msm", 0), ("msm", 500_000), ("msm", 1_000_000)]


@pytest.mark.parametrize("stage", ["upload", "quotient", "msm"])
def test_stopped_proof_leaves_nothing_and_the_next_one_is_right(stage):
    usable, witness = small()
    cupy = HostCupy()
    made = load(cupy, usable)
    cupy.memory.freed.clear()

    def stop(at: str, done_ppm: int) -> None:
        if at == stage:
            raise Stopped

    with pytest.raises(Stopped):
        made.prove(encode(witness), word(1), word(2), stop)
    assert not any(array[cuda.GUARD : -cuda.GUARD].any() for array in cupy.memory.freed)
    assert prove(made, witness) == usable.native.prove(encode(witness), r=word(5), s=word(7))


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        pytest.param(CudaError("cudaErrorLaunchFailure: unspecified"), device.LOST, id="context-lost"),
        pytest.param(CudaError("cudaErrorInvalidValue: invalid argument"), device.LAUNCH, id="launch"),
        pytest.param(MemoryError("out of memory allocating"), device.OUT_OF_MEMORY, id="out-of-memory"),
    ],
)
def test_device_that_fails_at_any_launch_says_why(raised, reason):
    usable, witness = golden.usable_key(), golden.WITNESS
    cupy = HostCupy()
    made = load(cupy, usable)
    before = len(cupy.shapes)
    prove(made, witness)
    for at in range(0, len(cupy.shapes) - before, 7):
        cupy.shapes.clear()
        cupy.fails_at, cupy.raises = at, raised
        with pytest.raises(DeviceError) as failed:
            prove(made, witness)
        assert failed.value.reason == reason
    cupy.fails_at = None
    assert prove(made, witness) == usable.native.prove(encode(witness), r=word(5), s=word(7))


def test_kernel_that_failed_is_told_of_at_the_next_wait():
    cupy = HostCupy()
    made = load(cupy, golden.usable_key())
    cupy.failed = True
    with pytest.raises(DeviceError) as failed:
        prove(made, golden.WITNESS)
    assert failed.value.reason == device.LOST


def test_device_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(cuda_machine, "STAGE_SECONDS_MAX", 0.01)
    cupy = HostCupy()
    made = load(cupy, golden.usable_key())
    cupy.hangs = True
    with pytest.raises(DeviceError) as failed:
        prove(made, golden.WITNESS)
    assert failed.value.reason == device.TIMEOUT


@pytest.mark.parametrize(
    ("witness", "r", "s", "raised"),
    [
        pytest.param(bytes(96), word(1), word(1), ValueError, id="short-witness"),
        pytest.param(bytes(128), word(1)[:31], word(1), ValueError, id="short-blinder"),
        pytest.param(bytes(128), word(R), word(1), NotCanonical, id="blinder-is-no-element"),
        pytest.param(bytes(128), word(1), word(R), NotCanonical, id="other-blinder-is-no-element"),
        pytest.param(bytes(96) + word(R), word(1), word(1), NotCanonical, id="wire-is-no-element"),
        pytest.param(b"\xff" * 128, word(1), word(1), NotCanonical, id="wires-are-no-elements"),
    ],
)
def test_what_is_no_witness_is_refused_as_on_the_host(witness, r, s, raised):
    usable = golden.usable_key()
    for call in (functools.partial(load(HostCupy(), usable).prove, tell=quiet), usable.native.prove):
        with pytest.raises(raised):
            call(witness, r=r, s=s)


def broken(**changes: object) -> Bases:
    bases = native.encode_bases(golden.usable_key().key)
    values = {name: getattr(bases, name) for name in Bases.__slots__}
    return Bases(**{**values, **changes})


@pytest.mark.parametrize(
    "bases",
    [
        pytest.param(lambda: broken(a=bytes(64)), id="fewer-bases"),
        pytest.param(lambda: broken(h=bytes(192)), id="no-domain"),
        pytest.param(lambda: broken(h=bytes(64)), id="domain-of-one"),
        pytest.param(lambda: broken(c=bytes(63)), id="half-a-point"),
        pytest.param(lambda: broken(fixed=bytes(10)), id="short-fixed-points"),
        pytest.param(lambda: broken(public_count=-1), id="negative-count"),
        pytest.param(lambda: broken(coefficients=bytes(43)), id="half-an-entry"),
        pytest.param(lambda: broken(coefficients=b"\2" + bytes(43)), id="third-matrix"),
        pytest.param(lambda: broken(coefficients=bytes(4) + b"\4" + bytes(39)), id="row-beyond"),
        pytest.param(lambda: broken(coefficients=bytes(8) + b"\4" + bytes(35)), id="wire-beyond"),
        pytest.param(lambda: broken(a=b"\xff" * 256), id="no-coordinates"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(bases):
    with pytest.raises(ValueError, match=r"."):
        DeviceProver(HostCupy(), DEVICE, bases(), memory_bytes=MEMORY)


def test_key_without_entries_proves_what_the_host_proves():
    bases = broken(coefficients=b"")
    made = DeviceProver(HostCupy(), DEVICE, bases, memory_bytes=MEMORY)
    host = Prover(native.LIBRARY, bases)
    assert prove(made, golden.WITNESS) == host.prove(encode(golden.WITNESS), r=word(5), s=word(7))
    assert circuit_of(bases).entry_count == 0
