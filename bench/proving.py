"""`python -m bench.proving`: the kernels of BN254 and Groth16 beside the twin, arkworks, gnark-crypto and snarkjs.

Every side has the same number of threads (``--threads``) and is timed by the clock, the least of some rounds: run it on
a quiet machine. Peers stand in the table where `tools/peers.sh` could build them.

arkworks proves the same chain of squares, from a witness that is ready, as we do; snarkjs and groth16py get our key and
witness as files. The start of snarkjs is counted, the reading of the key by groth16py is not. Nothing here runs on a
device.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from theblock_kernels import bn254, library
from theblock_kernels.library import Library
from theblock_kernels.snark import Prover, encode
from theblock_node.core.proofs import curve, groth16, native, polynomial, prover, setup
from theblock_node.core.proofs import witness as witness_module
from theblock_node.core.proofs.curve import G1
from theblock_node.core.proofs.field import P, R
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats import wtns as wtns_file
from theblock_node.core.proofs.formats import zkey as zkey_file
from theblock_node.core.proofs.formats.container import g1_bytes
from theblock_node.core.proofs.groth16 import Claim
from theblock_node.core.proofs.prover import UsableKey
from theblock_node.core.proofs.r1cs import Constraint, R1cs
from theblock_node.core.proofs.setup import ToxicWaste
from theblock_node.core.proofs.witness import Value

from bench import report
from bench.figures import Figure, Peer, not_measured

PEERS = {
    "arkworks": report.ROOT / "build" / "peers" / "arkworks" / "release" / "peer-arkworks",
    "gnark-crypto": report.ROOT / "build" / "peers" / "gnark" / "peer-gnark",
}
PEER_SECONDS_MAX = 600.0
GROTH16PY = report.ROOT / "build" / "peers" / "groth16py" / "bin" / "python"
SNARKJS = report.ROOT / "build" / "interop" / "node_modules" / "snarkjs" / "build" / "cli.cjs"
SNARKJS_POWER_MIN = 12
CIRCOM = report.ROOT / "build" / "interop" / "node_modules" / "circom2" / "cli.js"
SOURCES = report.ROOT / "examples" / "circuits"
CIRCUITS: dict[str, dict[str, Value]] = {
    "poseidon": {"leaf": 7, "siblings": list(range(100, 116)), "sides": [0, 1] * 8, "ctx": 5},
    "sha256": {"message": [*b"abc", 128, *bytes(59), 24], "ctx": 5},
}
"""With their inputs: a Merkle path of 16 hashes, one block."""
POWERS = (10, 12, 14, 16, 18)
TWIN_POWER_MAX = 10
"""The twin takes seconds for the smallest of these already."""
BATCH = 64
ROUNDS = 3
NANO, MILLI = 1e-9, 1e-3
TOXIC = ToxicWaste(tau=0x1234567, alpha=0xA1, beta=0xB2, delta=0xD4)
"""For benches: whoever reads this can forge proofs for the keys."""


GATE_POWER = 16
NATIVE = "the kernels alone"
ONE_BY_ONE = "one by one"
GATES = (
    (f"prove_2^{GATE_POWER}", "arkworks", 3.0),
    (f"prove_2^{GATE_POWER}", "snarkjs", 10.0),
    (f"prove_2^{GATE_POWER}", NATIVE, 1 / 1.05),
    (f"prove_2^{GATE_POWER}.adx", "arkworks", 0.8),
    (f"msm_2^{GATE_POWER}", "gnark-crypto", 2.0),
    (f"ntt_2^{GATE_POWER}", "gnark-crypto", 1.5),
    ("verify", "arkworks", 1.0),
    ("verify_batch", ONE_BY_ONE, 4.0),
)
"""Of a figure, by the fastest back end unless one is named: times the speed of a peer that it is to have."""


def run(threads: int, largest: int) -> Iterator[Figure]:
    powers = [power for power in POWERS if power <= largest]
    opened = [(name, library.open_back_end(name, library.READY)) for name in library.BACK_ENDS]
    for name, found in opened:
        if found is None:
            yield not_measured(f"proving.{name}", "", "this processor cannot run it, or it was not made")
    here = [found for _, found in opened if found is not None]
    for found in here:
        found.lib.tb_set_threads(threads)
    yield from _run_field(here)
    for power in powers:
        yield from _run_sums(here, power)
    for power in powers:
        yield from _run_transforms(here, power)
    if native.LIBRARY is None:
        yield not_measured("proving.prove", "ms", "the kernels were not made: python -m theblock_kernels")
        return
    native.LIBRARY.lib.tb_set_threads(threads)
    for power in powers:
        yield from _run_proofs(power, threads, [found for found in here if found.back_end != native.back_end()])
    yield from _run_circuits(threads)
    yield from _run_verifying()


def _run_field(here: list[Library]) -> Iterator[Figure]:
    chance = random.Random(1)
    left, right = chance.randrange(P), chance.randrange(P)
    twin = _least(lambda: _repeat(lambda: left * right % P, 10_000)) / 10_000
    point = G1.to_xyzz(G1.multiply(G1.generator, 77))
    twin_add = _least(lambda: _repeat(lambda: G1.add_mixed(point, G1.generator), 1_000)) / 1_000
    for found in here:
        value, base = bytearray(encode([left])), bytearray(g1_bytes(G1.generator))
        mul = _least(found.lib.tb_repeat_mul, 0, 1 << 20, found.ffi.from_buffer(value))
        add = _least(found.lib.tb_repeat_add, 1 << 16, found.ffi.from_buffer(base))
        name = found.back_end
        yield _figure(f"field_mul.{name}", mul / (1 << 20), NANO, "ns", twin, "field_mul", "each of the one before")
        if found.lib.tb_repeat_mul_lanes(1, found.ffi.from_buffer(value)):
            lanes = _least(found.lib.tb_repeat_mul_lanes, 1 << 15, found.ffi.from_buffer(value)) / (1 << 20)
            yield _figure(f"field_mul_by_eights.{name}", lanes, NANO, "ns", twin, "field_mul", "four chains of eights")
        yield _figure(f"mixed_add.{name}", add / (1 << 16), NANO, "ns", twin_add, "mixed_add", "XYZZ")


def _run_sums(here: list[Library], power: int) -> Iterator[Figure]:
    chance = random.Random(2)
    scalars = [chance.randrange(R) for _ in range(1 << power)]
    points = bn254.multiples_g1(here[0], g1_bytes(G1.generator), encode(scalars[::-1]))
    twin = None
    if power <= TWIN_POWER_MAX:
        bases = G1.multiply_generator(scalars[::-1])
        twin = _least(lambda: G1.msm(bases, scalars), rounds=1)
    for found in here:
        took = _least(bn254.msm_g1, found, points, encode(scalars))
        yield _figure(
            f"msm_2^{power}.{found.back_end}", took, MILLI, "ms", twin, f"msm_{power}", "from Python, bytes in"
        )


def _run_transforms(here: list[Library], power: int) -> Iterator[Figure]:
    twin = None
    if power <= TWIN_POWER_MAX:
        twin = _least(lambda: polynomial.ntt(range(1 << power)), rounds=1)
    for found in here:
        bn254.check(found.lib.tb_repeat_transform(power, 1))
        took = _least(found.lib.tb_repeat_transform, power, 8) / 8
        yield _figure(f"ntt_2^{power}.{found.back_end}", took, MILLI, "ms", twin, f"ntt_{power}", "tables ready")


def _run_proofs(power: int, threads: int, others: Sequence[Library]) -> Iterator[Figure]:
    usable, witness = chain(power)
    alone = usable.native
    assert alone is not None
    wires, r, s = encode(witness), encode([5]), encode([7])
    took, without_python = _least_of_both(
        lambda: prover.make_proof(usable, witness, r=5, s=7), lambda: alone.prove(wires, r=r, s=s)
    )
    checked = _least(lambda: prover.prove(usable, witness, r=5, s=7))
    twin = None
    if power <= TWIN_POWER_MAX:
        slow = replace(usable, native=None)
        twin = _least(lambda: prover.make_proof(slow, witness, r=5, s=7), rounds=1)
        assert prover.make_proof(usable, witness, r=5, s=7) == prover.make_proof(slow, witness, r=5, s=7)
    name = native.back_end()
    made = _figure(f"prove_2^{power}.{name}", took, MILLI, "ms", twin, f"prove_{power}", "from Python, witness ready")
    others_made = tuple(_time_provers_of_files(usable, witness, threads))
    yield replace(made, peers=(*made.peers, *others_made, Peer(NATIVE, without_python / MILLI)))
    yield _figure(
        f"prove_checked_2^{power}.{name}", checked, MILLI, "ms", None, "", "encoded, decoded and verified too"
    )
    for other in others:
        slower = Prover(other, native.encode_bases(usable.key))
        took = _least(lambda slower=slower: slower.prove(wires, r=r, s=s))
        note = "the kernels alone"
        yield _figure(f"prove_2^{power}.{other.back_end}", took, MILLI, "ms", None, f"prove_{power}", note)


def _least_of_both(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """As `_least` of either, turn by turn, so that what the machine does meanwhile meets both."""
    took = [(_least(first, rounds=1), _least(second, rounds=1)) for _ in range(1 + 3 * ROUNDS)]
    return min(each[0] for each in took[1:]), min(each[1] for each in took[1:])


def _time_provers_of_files(usable: UsableKey, witness: Sequence[int], threads: int) -> Iterator[Peer]:
    if SNARKJS.exists() and usable.key.domain_size >= 1 << SNARKJS_POWER_MIN:
        yield Peer("snarkjs", _time_snarkjs(usable, witness) / MILLI)
    if GROTH16PY.exists():
        yield Peer("groth16py", _time_groth16py(usable, witness, threads) / MILLI)


def _write_files(usable: UsableKey, witness: Sequence[int], folder: Path) -> None:
    (folder / "key.zkey").write_bytes(zkey_file.write(usable.key))
    (folder / "made.wtns").write_bytes(wtns_file.write(witness))


def _time_snarkjs(usable: UsableKey, witness: Sequence[int]) -> float:
    """Seconds of one proof by snarkjs with the same key and witness, its start counted."""
    with tempfile.TemporaryDirectory() as name:
        _write_files(usable, witness, Path(name))
        words = ["node", str(SNARKJS), "groth16", "prove", "key.zkey", "made.wtns", "proof.json", "public.json"]
        started = time.perf_counter()
        subprocess.run(words, cwd=name, check=True, capture_output=True, timeout=PEER_SECONDS_MAX)
        return time.perf_counter() - started


def _time_groth16py(usable: UsableKey, witness: Sequence[int], threads: int) -> float:
    """Seconds of one proof by groth16py with the same key and witness, the key read before."""
    with tempfile.TemporaryDirectory() as name:
        _write_files(usable, witness, Path(name))
        words = [str(GROTH16PY), str(report.ROOT / "bench" / "peers" / "groth16py" / "prove.py"), name]
        env = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        done = subprocess.run(words, check=True, capture_output=True, timeout=PEER_SECONDS_MAX, env=env)
        return float(json.loads(done.stdout))


def _run_circuits(threads: int) -> Iterator[Figure]:
    """Circuits that circom compiles, from inputs to a proof."""
    if not CIRCOM.exists():
        yield not_measured("proving.circom", "ms", "circom2 is not installed: the tests do that")
        return
    for name, inputs in CIRCUITS.items():
        with tempfile.TemporaryDirectory() as folder:
            for source in SOURCES.glob("*.circom"):
                shutil.copy(source, folder)
            words = ["node", str(CIRCOM), f"{name}.circom", "--r1cs", "--wasm", "--O2"]
            subprocess.run(words, cwd=folder, check=True, capture_output=True, timeout=PEER_SECONDS_MAX)
            circuit_file = (Path(folder) / f"{name}.r1cs").read_bytes()
            program = witness_module.load((Path(folder) / f"{name}_js" / f"{name}.wasm").read_bytes())
        key = setup.setup_dev(circuit_file, TOXIC)
        usable = prover.prepare(key, key.verifying)
        wires = program.compute(inputs)
        took = _least(lambda usable=usable, wires=wires: prover.prove(usable, wires, r=5, s=7))
        peers = tuple(_time_provers_of_files(usable, wires, threads))
        note = f"domain of {key.domain_size}, {len(wires)} wires; checked"
        yield Figure(f"proving.{name}.{native.back_end()}", took / MILLI, "ms", peers, note, is_time=True)
        solved = _least(lambda program=program, inputs=inputs: program.compute(inputs))
        yield Figure(f"proving.{name}.witness", solved / MILLI, "ms", (), "by wasmtime", is_time=True)


def _run_verifying() -> Iterator[Figure]:
    usable, witness = chain(POWERS[0])
    prepared, inputs = usable.registered, tuple(witness[1:2])
    proofs = [prover.make_proof(usable, witness, r=at, s=at + 1) for at in range(BATCH)]
    claims = [Claim(inputs, proof) for proof in proofs]
    slow = replace(prepared, native=None)
    one = _least(lambda: groth16.verify(prepared, inputs, proofs[0]), rounds=9)
    twin = _least(lambda: groth16.verify(slow, inputs, proofs[0]))
    yield _figure(
        f"verify.{native.back_end()}",
        one,
        MILLI,
        "ms",
        twin,
        "verify",
        "points as numbers; twin with native check of B",
    )
    many = _least(lambda: groth16.verify_batch(prepared, claims)) / BATCH
    peer = Peer(ONE_BY_ONE, one / MILLI)
    yield Figure(
        f"proving.verify_batch.{native.back_end()}", many / MILLI, "ms", (peer,), f"a proof, {BATCH} at once", True
    )
    group = _least(lambda: curve.is_in_g2(proofs[0].b))
    yield _figure(
        f"is_in_g2.{native.back_end()}", _least(lambda: native.is_in_g2(proofs[0].b)), MILLI, "ms", group, "", ""
    )


@cache
def chain(power: int) -> tuple[UsableKey, list[int]]:
    """A key and a witness for x' = x² + i, from a hidden x to a public result, over a domain of ``2**power``."""
    steps = (1 << power) - 4
    values = [3]
    for step in range(steps):
        values.append((values[-1] ** 2 + step) % R)
    # Wires: one, the result, then the values before it.
    wires = [*range(2, steps + 2), 1]
    constraints = tuple(
        Constraint(
            ((wires[at], 1),),
            ((wires[at], 1),),
            tuple(sorted([(wires[at + 1], 1), (0, -at % R)])) if at else ((wires[1], 1),),
        )
        for at in range(steps)
    )
    system = R1cs(steps + 2, 1, 0, 1, steps + 2, constraints, tuple(range(steps + 2)))
    key = setup.setup_dev(r1cs_file.write(system), TOXIC)
    return prover.prepare(key, key.verifying), [1, values[-1], *values[:-1]]


_PEER_FIGURES: dict[str, dict[str, float]] = {}
"""By peer, the seconds of each of its figures, measured in this run; a peer that was not built is left out."""


def _measure_peers(threads: int, largest: int) -> None:
    for name, path in PEERS.items():
        if path.exists():
            print(f"{name} ...", file=sys.stderr, flush=True)
            _PEER_FIGURES[name] = _read_figures(path, threads, largest)


def _read_figures(path: Path, threads: int, largest: int) -> dict[str, float]:
    command = [str(path), str(threads), str(largest)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PEER_SECONDS_MAX)
    return {line["name"]: line["wall"] * NANO for line in map(json.loads, done.stdout.splitlines())}


def judge_gates(figures: Sequence[Figure]) -> Iterator[str]:
    """Whether each gate is met by the fastest back end that was timed."""
    for what, who, wanted in GATES:
        ratios = [
            figure.ratio(peer)
            for figure in figures
            if f"{figure.name}.".startswith(f"proving.{what}.") and figure.value is not None
            for peer in figure.peers
            if peer.name == who
        ]
        found = f"{max(ratios):.2f}: {'met' if max(ratios) >= wanted else 'short'}" if ratios else "not measured"
        yield f"gate: {what} at least {wanted:.3g} x {who}: {found}"


def _figure(name: str, took: float, scale: float, unit: str, twin: float | None, peer: str, note: str) -> Figure:
    peers = [Peer("twin", twin / scale)] if twin is not None else []
    for who, figures in _PEER_FIGURES.items():
        if peer in figures:
            peers.append(Peer(who, figures[peer] / scale))
    return Figure(f"proving.{name}", took / scale, unit, tuple(peers), note, is_time=True)


def _least(act: Callable[..., object], *arguments: object, rounds: int = ROUNDS) -> float:
    """Seconds by the clock, the least of ``rounds`` after one that does not count."""
    if rounds > 1:
        act(*arguments)
    best = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        act(*arguments)
        best = min(best, time.perf_counter() - started)
    return best


def _repeat(act: Callable[[], object], count: int) -> None:
    for _ in range(count):
        act()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.proving", description="Proving and verifying, timed.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of every side; 2")
    parser.add_argument("--largest", type=int, default=16, metavar="POWER", help="largest size, as a power of two; 16")
    options = parser.parse_args()
    _measure_peers(options.threads, options.largest)
    figures = []
    for figure in run(options.threads, options.largest):
        print(f"{figure.name} ...", file=sys.stderr, flush=True)
        figures.append(figure)
    command = f"python -m bench.proving --threads {options.threads} --largest {options.largest}"
    print("\n".join(f"{key}: {value}" for key, value in report.machine().items()))
    print(f"{options.threads} threads, by the clock; peers: {', '.join(_PEER_FIGURES) or 'none was built'}")
    print(f"device: not run on a device\ncommand: {command}\n\n{report.render(figures)}\n")
    print("\n".join(judge_gates(figures)))
    if options.json is not None:
        options.json.write_text(report.to_json(figures, command))
    return 0


if __name__ == "__main__":
    sys.exit(main())
