"""`python -m bench.device`: proofs on a CUDA device; where there is none, every figure says so.

First the bare rate of field multiplications, then sums of points beside what that rate allows, then whole proofs,
witness in and points out. Every result is compared with the host's, bit for bit, before its time counts. Cold is the
first proof of a key, with the key's way to the device; the others are medians of ten. All are by the clock, since a
device's time is no processor's.

The bases are some thousands of points over and over: a proof with them says nothing, and takes as long as any.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from theblock_gpu import cuda_sums
from theblock_gpu.cuda_machine import Machine
from theblock_gpu.cuda_plan import G1_BYTES, Circuit, plan_proof
from theblock_gpu.cuda_proof import DeviceProver
from theblock_gpu.device import Cupy, find_devices
from theblock_kernels import bn254, library
from theblock_kernels.library import KernelsMissing, Library
from theblock_kernels.snark import Bases, Prover, encode, encode_coefficient
from theblock_node.core.proofs.curve import G1, G2
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats.container import g1_bytes, g2_bytes

from bench import report
from bench.figures import Figure, not_measured

NAMES = {"field_mul": "M/s", "msm_2^22": "M/s", "msm_2^22.share_of_field_mul": "%"} | {
    f"prove_2^{power}.{how}": "ms" for power in (16, 20) for how in ("cold", "warm")
}
MSM_POWER, PROOF_POWERS = 22, (16, 20)
DISTINCT = 2**14
THREADS, PRODUCTS = 2**18, 2000
PRODUCTS_OF_ADDITION = 10
"""What a point that is added to its bucket takes."""
ROUNDS = 10
MEMORY_SHARE = 60
MILLI, MEGA = 1e-3, 1e6


@dataclass(frozen=True, slots=True)
class Setting:
    cupy: Cupy
    index: int
    memory_bytes: int
    host: Library


def run() -> Iterator[Figure]:
    found = find_devices()
    try:
        host = library.load()
    except KernelsMissing as missing:
        yield from _no_figures(str(missing))
        return
    if not found.devices:
        yield from _no_figures(f"not run on a device: {found.reason}")
        return
    device = found.devices[0]
    setting = Setting(found.cupy, device.index, device.memory_mib * 2**20 * MEMORY_SHARE // 100, host)
    started = time.perf_counter()
    machine = Machine(setting.cupy, setting.index)
    compiled_s = time.perf_counter() - started
    rate = _rate_products(machine)
    yield Figure("device.field_mul", rate / MEGA, "M/s", note=f"Fp; kernels were ready after {compiled_s:.1f} s")
    yield from _run_sum(setting, machine, rate)
    for power in PROOF_POWERS:
        yield from _run_proofs(setting, power)


def describe() -> str:
    """Name, driver and clock of the device."""
    found = find_devices()
    if found.cupy is None:
        return f"not run on a device: {found.reason}"
    runtime, device = found.cupy.cuda.runtime, found.devices[0]
    properties = runtime.getDeviceProperties(device.index)
    clock, driver = int(properties.get("clockRate", 0)) // 1000, runtime.driverGetVersion()
    return f"{device.model}, {device.memory_mib} MiB, {clock} MHz, CUDA {driver // 1000}.{driver % 1000 // 10}"


def _no_figures(why: str) -> Iterator[Figure]:
    return (not_measured(f"device.{name}", unit, why) for name, unit in NAMES.items())


def _rate_products(machine: Machine) -> float:
    """Multiplications a second, each of the one before, on as many threads as a device holds."""
    with machine.entered():
        values = machine.upload(encode(range(1, THREADS + 1)))

        def multiply() -> None:
            machine.launch("repeat_products", THREADS, PRODUCTS, values)
            machine.wait()

        took = _median(multiply)
    return THREADS * PRODUCTS / took


def _run_sum(setting: Setting, machine: Machine, rate: float) -> Iterator[Figure]:
    count = 1 << MSM_POWER
    way = plan_proof(Circuit(2, count, 0), setting.memory_bytes).quotient
    points, scalars = _points(setting.host, count), _scalars(count)
    with machine.entered():
        bases = cuda_sums.load_points(machine, "g1", [points], way)
        array = machine.upload(scalars)
        (terms,) = cuda_sums.sum_all(machine, way, array, [bases])
        assert g1_bytes(cuda_sums.total_g1(terms)) == bn254.msm_g1(setting.host, points, scalars)
        took = _median(lambda: cuda_sums.total_g1(cuda_sums.sum_all(machine, way, array, [bases])[0]))
    note = f"{took / MILLI:.1f} ms; {way.bits} bits, {way.copies} copies"
    yield Figure("device.msm_2^22", count / took / MEGA, "M/s", note=note)
    allowed = rate / (way.windows * PRODUCTS_OF_ADDITION)
    yield Figure("device.msm_2^22.share_of_field_mul", 100 * count / took / allowed, "%", note="of what it allows")


def _run_proofs(setting: Setting, power: int) -> Iterator[Figure]:
    bases, witness = _key(setting.host, power), _scalars(1 << power)
    r, s = encode([5]), encode([7])
    started = time.perf_counter()
    prover = DeviceProver(setting.cupy, setting.index, bases, memory_bytes=setting.memory_bytes)
    made = prover.prove(witness, r, s, _tell_nobody)
    cold = time.perf_counter() - started
    assert made == Prover(setting.host, bases).prove(witness, r=r, s=s)
    warm = _median(lambda: prover.prove(witness, r, s, _tell_nobody))
    prover.close()
    yield Figure(f"device.prove_2^{power}.cold", cold / MILLI, "ms", is_time=True, note="with the key's way there")
    note = f"{prover.device_bytes / 2**30:.1f} GiB, all wires dense"
    yield Figure(f"device.prove_2^{power}.warm", warm / MILLI, "ms", is_time=True, note=note)


def _key(host: Library, power: int) -> Bases:
    """As many wires as the domain is long, two entries a row in each matrix."""
    size = 1 << power
    g2 = bn254.multiples_g2(host, g2_bytes(G2.generator), encode(range(1, DISTINCT + 1)))
    entries = b"".join(
        encode_coefficient(matrix, row, (row * 7 + matrix + at) % size, encode([row + at + 1]))
        for matrix in (0, 1)
        for row in range(size)
        for at in (0, 1)
    )
    g1 = _points(host, size)
    fixed = g1[: 3 * G1_BYTES] + g2[:256]
    return Bases(1, fixed, entries, a=g1, b1=g1, b2=g2 * (size // DISTINCT), c=g1[2 * G1_BYTES :], h=g1)


def _points(host: Library, count: int) -> bytes:
    return bn254.multiples_g1(host, g1_bytes(G1.generator), encode(range(1, DISTINCT + 1))) * (count // DISTINCT)


def _scalars(count: int) -> bytes:
    chance = random.Random(count)
    return encode(chance.randrange(R) for _ in range(count))


def _median(act: Callable[[], object]) -> float:
    act()
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        act()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _tell_nobody(stage: str, done_ppm: int) -> None:
    """A bench runs to its end."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.device", description="Proofs on a device, timed.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    figures = list(run())
    command = "python -m bench.device"
    print("\n".join(f"{key}: {value}" for key, value in report.machine().items()))
    print(f"device: {describe()}\ncommand: {command}\n\n{report.render(figures)}")
    if options.json is not None:
        options.json.write_text(report.to_json(figures, command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
