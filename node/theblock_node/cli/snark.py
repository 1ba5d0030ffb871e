"""`tb-cli snark`: circuits, their keys, proofs, and the market that pays for proofs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import AMOUNT, HEX
from theblock_node.cli.frame import Group, Leaf, acts
from theblock_node.cli.submitting import record_of, submit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from theblock_node.cli.bundles import Bundle
    from theblock_node.client.chain import ChainClient
    from theblock_node.core.proofs.groth16 import Proof
    from theblock_node.core.proofs.keys import ProvingKey
    from theblock_node.core.proofs.prover import UsableKey
    from theblock_node.core.proofs.witness import Value

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
EITHER = click.Path(exists=True, path_type=Path)
NEW = click.Path(path_type=Path)
FORGERY = "a single party made this key and could forge proofs: only networks for development take it"
INPUT_BYTES_MAX = 2**14
"""Of one slice's inputs on the chain."""
BENCH_X = 3
CHECKS = {
    4: 45239079,
    10: 6799949047152875411671140703632217585669466242358874753173810405818734168378,
    1000: 0x1A00AC0F7CA72C249C3BC575554C16C672BE9A7631936DD7D5E09F118675EFED,
}
"""Results of the chain that is benchmarked, by its steps, from x = 3."""


@click.group(cls=Group, no_args_is_help=True)
def snark() -> None:
    """Groth16 proofs of circom's circuits: keys, proving and verifying here, and jobs for provers."""


@snark.command(cls=Leaf, asks=False)
@click.argument("wasm", type=FILE)
@click.argument("out", type=NEW)
@click.option("--r1cs", "circuit", type=FILE, required=True, help="The circuit's constraints, from the same compiler.")
@click.option("--zkey", type=FILE, help="Key from a ceremony; without it one is made here, for development.")
@click.option("--ptau", type=FILE, help="The powers of tau from which --zkey was made; their hash is kept.")
@click.option("--ctx-index", type=click.IntRange(0), help="Place of ctx among outputs and public inputs, from 0.")
@click.pass_obj
def compile(  # noqa: A001
    app: App, wasm: Path, out: Path, circuit: Path, zkey: Path | None, ptau: Path | None, ctx_index: int | None
) -> None:
    """Make a bundle: the folder OUT with a circuit's WASM, constraints, key and description."""
    if ptau is not None and zkey is None:
        raise Unusable(
            "snark.ceremony_unbuilt: the second phase of a ceremony is not made here",
            "make the key with snarkjs (`groth16 setup`, `zkey contribute`, `zkey beacon`) and give it as --zkey",
        )
    from theblock_node.cli import bundles
    from theblock_node.core import crypto
    from theblock_node.core.proofs import witness
    from theblock_node.core.proofs.formats import r1cs as r1cs_file

    code, constraints = bundles.take(wasm), bundles.take(circuit)
    if ctx_index is None:
        ctx_index = bundles.find_context(witness.load(code), r1cs_file.read(constraints))
    key = bundles.take(zkey) if zkey else _set_up(constraints)
    powers = crypto.blake3(bundles.take(ptau)).hex() if ptau else None
    bundle = bundles.make(code, constraints, key, context_index=ctx_index, powers=powers)
    bundles.write(out, bundle)
    if zkey is None:
        app.note(FORGERY)
    app.show({"bundle": str(out), **bundle.description})


@snark.command("setup-dev", cls=Leaf, asks=False)
@click.argument("r1cs", type=FILE)
@click.argument("zkey", type=NEW)
@click.pass_obj
def setup_dev(app: App, r1cs: Path, zkey: Path) -> None:
    """Make a key for the circuit R1CS in a new file ZKEY, for development only."""
    from theblock_node.cli import bundles
    from theblock_node.core import crypto

    data = _set_up(bundles.take(r1cs))
    _write_new(zkey, data)
    app.note(FORGERY)
    app.show({"zkey": str(zkey), "size": str(len(data)), "zkey_hash": crypto.blake3(data).hex()})


@snark.command(cls=Leaf, asks=False)
@click.argument("key", metavar="BUNDLE|ZKEY", type=EITHER)
@click.argument("inputs", metavar="INPUTS.json|WTNS", type=FILE)
@click.option("--wasm", type=FILE, help="The circuit's module, where a ZKEY and inputs are given.")
@click.option("--ctx", type=click.IntRange(0), default=0, show_default=True, help="The context, if not in the inputs.")
@click.option("-o", "--out", type=NEW, default=Path(), help="Folder for proof.json and public.json; this one.")
@click.pass_obj
def prove(app: App, key: Path, inputs: Path, wasm: Path | None, ctx: int, out: Path) -> None:
    """Prove: from inputs, or from the witness in a .wtns file. A proof is written only if it verifies."""
    import time

    from theblock_node.cli import bundles
    from theblock_node.core.proofs import groth16, native, statements
    from theblock_node.core.proofs.formats import documents

    usable, bundle = _read_key(key)
    started = time.perf_counter()
    wires = _read_wires(bundles.take(inputs), bundle, wasm, ctx)
    computed = time.perf_counter()
    proof = _prove(usable, wires)
    proved = time.perf_counter()
    public = wires[1 : usable.key.verifying.public_count + 1]
    out.mkdir(parents=True, exist_ok=True)
    (out / "proof.json").write_text(documents.render_proof(proof))
    (out / "public.json").write_text(documents.render_public(public))
    key_hash = statements.compute_key_hash(usable.key.verifying)
    app.show(
        {
            "proof": str(out / "proof.json"),
            "public": str(out / "public.json"),
            "inputs": [str(value) for value in public],
            "vk_hash": key_hash.hex(),
            "statement_id": statements.compute_statement_id(key_hash, public).hex(),
            "fingerprint": statements.compute_fingerprint(key_hash, public, groth16.encode_proof(proof)).hex(),
            "backend": native.back_end(),
            "witness_ms": _ms(computed - started),
            "prove_ms": _ms(proved - computed),
        }
    )


@snark.command(cls=Leaf, asks=False)
@click.argument("key", metavar="BUNDLE|VK.json", type=EITHER)
@click.argument("public", type=FILE, default=Path("public.json"))
@click.argument("proof", type=FILE, default=Path("proof.json"))
@click.pass_obj
def verify(app: App, key: Path, public: Path, proof: Path) -> None:
    """Verify PROOF of the inputs in PUBLIC, as this program or snarkjs wrote them; exit code 1 if it shows nothing."""
    from theblock_node.cli import bundles
    from theblock_node.client.errors import RefusedError
    from theblock_node.core.errors import InvalidRecord
    from theblock_node.core.proofs import groth16, statements
    from theblock_node.core.proofs.formats import documents

    source = key / bundles.VERIFYING_KEY if key.is_dir() else key
    verifying = documents.parse_verifying_key(bundles.take(source))
    inputs = documents.parse_public(bundles.take(public))
    shown = documents.parse_proof(bundles.take(proof))
    prepared = groth16.prepare(verifying, verifying.public_count)
    try:
        groth16.verify(prepared, inputs, shown)
    except InvalidRecord as refusal:
        raise RefusedError(refusal.code, "", {name: str(fact) for name, fact in refusal.facts.items()}) from refusal
    key_hash = statements.compute_key_hash(verifying)
    fingerprint = statements.compute_fingerprint(key_hash, inputs, groth16.encode_proof(shown))
    app.show({"verified": True, "vk_hash": key_hash.hex(), "fingerprint": fingerprint.hex()})


@snark.command(cls=Leaf, asks=False)
@click.argument("file", type=EITHER)
@click.pass_obj
def inspect(app: App, file: Path) -> None:
    """Say what is in a bundle, .wasm, .r1cs, .wtns, .zkey or .ptau; of a witness never a value."""
    from theblock_node.cli import bundles

    if file.is_dir():
        app.show({"file": str(file), "type": "bundle", **bundles.read(file).description})
        return
    data = bundles.take(file)
    read = _READERS.get(data[:4])
    if read is None:
        raise Unusable(
            f"{file} is of no known type", "give a .wasm, .r1cs, .wtns, .zkey or .ptau, or a bundle's folder"
        )
    from theblock_node.core import crypto

    told = {"file": str(file), "size": str(len(data)), "hash": crypto.blake3(data).hex()}
    app.show({**told, **read(data)})


@snark.command("export-vk", cls=Leaf, asks=False)
@click.argument("key", metavar="BUNDLE|ZKEY", type=EITHER)
@click.argument("out", type=NEW)
@click.pass_obj
def export_vk(app: App, key: Path, out: Path) -> None:
    """Write the verifying key of a ZKEY to a new file OUT, as snarkjs does."""
    from theblock_node.core.proofs import statements
    from theblock_node.core.proofs.formats import documents

    verifying = _read_key(key)[0].key.verifying
    _write_new(out, documents.render_verifying_key(verifying).encode())
    app.show({"vk": str(out), "vk_hash": statements.compute_key_hash(verifying).hex()})


@snark.command(cls=Leaf, asks=False)
@click.option("--sizes", default="10..12", show_default=True, metavar="A..B|A,B", help="Domains, as powers of two.")
@click.option("--reps", type=click.IntRange(1, 1000), default=5, show_default=True, help="Proofs of each size.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@click.pass_obj
def bench(app: App, sizes: str, reps: int, as_json: bool) -> None:
    """Time proving here: chains of squares that fill their domains, each proof verified, each result checked."""
    from theblock_node.core.proofs import bench_chain, native

    for steps, result in CHECKS.items():
        assert bench_chain.compute_wires(steps, BENCH_X, 0)[1] == result, "the chain does not give its published result"
    rows = [_time_size(power, reps) for power in _parse_sizes(sizes)]
    if as_json:
        app.choices.output = "json"
    app.show({"backend": native.back_end(), "reps": reps, "sizes": rows})


@snark.command(cls=Leaf, signs=True)
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@acts
async def register(app: App, bundle: Path) -> None:
    """Offer a circuit for proving: store the key and the WASM of BUNDLE, and register it on the chain, for good.

    Whoever proves fetches both, so anybody can read them. In a dry run nothing is stored.
    """
    from theblock_node.cli import bundles

    read = bundles.read(bundle)
    arguments = _registration(read)
    async with app.chain() as chain:
        await _refuse_registered(chain, read.description["circuit_hash"])
        if not app.choices.dry_run:
            arguments |= {
                "zkey_object": await _store(app, read.key_file),
                "wasm_object": await _store(app, read.wasm),
            }
        told = await submit(app, chain, "compute.register_circuit", arguments)
    app.show({"circuit_hash": read.description["circuit_hash"], **told})


@snark.command("submit", cls=Leaf, signs=True)
@click.option("--circuit", type=HEX, required=True, metavar="HASH", help="A registered circuit.")
@click.option("--input", "inputs", type=FILE, multiple=True, required=True, help="Inputs of a slice; may be repeated.")
@click.option("--max-price", type=AMOUNT, required=True, help="Most nBLOCK for a unit, or as 1.5BLOCK.")
@click.option("--deadline-blocks", type=click.IntRange(1, 2**32 - 1), default=600, show_default=True)
@click.option(
    "--lane", type=click.Choice(["CONSUMER", "INDUSTRIAL"], case_sensitive=False), default="CONSUMER", show_default=True
)
@acts
async def submit_job(
    app: App, circuit: str, inputs: tuple[Path, ...], max_price: str, deadline_blocks: int, lane: str
) -> None:
    """Post a job of proofs, one for each --input; `tb-cli compute result JOB` shows what comes of it.

    Inputs are JSON objects without ctx, which whoever proves adds. They stand on the chain: anybody can read them.
    """
    arguments = {
        "lane": lane.upper(),
        "work": {"type": "SnarkWork", "circuit_hash": circuit, "inputs": [_pack_inputs(path) for path in inputs]},
        "max_price_per_unit": max_price,
        "deadline_blocks": deadline_blocks,
    }
    async with app.chain() as chain:
        told = await submit(app, chain, "compute.post_job", arguments)
    posted = record_of(told, "compute.job_posted")
    app.show({"job_id": posted["job_id"] if posted else None, **told})


@snark.command(cls=Leaf)
@click.option("--after", type=HEX, default="", metavar="HASH", help="Only circuits after this one.")
@click.option("--limit", type=click.IntRange(1, 100), default=100, show_default=True)
@acts
async def circuits(app: App, after: str, limit: int) -> None:
    """Circuits that are registered, in the order of their hashes."""
    async with app.chain() as chain:
        page = await chain.query("compute.circuits", {"after": after, "limit": limit})
    shown = ("circuit_hash", "state", "domain_size", "public_count", "ctx_index", "registered_height")
    text = [{**{name: row[name] for name in shown}, "dev_key": row["ceremony"] is None} for row in page["circuits"]]
    app.show(page, text=text)


def _registration(bundle: Bundle) -> dict[str, Any]:
    """What `compute.register_circuit` is told of a bundle, but where its files are."""
    from theblock_node.core.proofs import keys

    description = bundle.description
    ceremony = description["ceremony"]
    if ceremony is not None and ceremony["ptau_hash"] is None:
        raise Unusable("the bundle does not say from which powers of tau its key is", "compile it with --ptau too")
    hashes = {name: description[name] for name in ("circuit_hash", "r1cs_hash", "zkey_hash")}
    return {
        **hashes,
        "wasm_hash": description["circuit_hash"],
        "zkey_object": None,
        "wasm_object": None,
        "verifying_key": keys.encode_verifying_key(bundle.key.verifying).hex(),
        "output_count": description["n_outputs"],
        "domain_size": description["domain"],
        "ctx_index": description["ctx_index"],
        "ceremony": ceremony,
    }


async def _refuse_registered(chain: ChainClient, circuit_hash: str) -> None:
    """Before anything is stored for nothing."""
    from theblock_node.client.errors import RefusedError

    found = await chain.query("compute.circuit", {"circuit_hash": circuit_hash})
    if found["circuit"] is not None:
        raise RefusedError("compute.circuit_exists", "", {"circuit_hash": circuit_hash})


async def _store(app: App, data: bytes) -> dict[str, str]:
    """Put a file into the storage market, and say where it is and what opens it."""
    from theblock_node.client.storage import OBJECT_DEADLINE_S, cut

    async with app.storage() as client:
        stored = await client.put(len(data), lambda: cut(data), deadline_s=max(app.choices.timeout, OBJECT_DEADLINE_S))
    return {"manifest_id": stored.manifest_id, "content_key": stored.content_key.hex(), "size": str(len(data))}


def _pack_inputs(path: Path) -> str:
    """The hex of one slice's inputs, in their shortest form."""
    from theblock_node.cli import bundles
    from theblock_node.core.proofs import witness

    inputs = witness.parse_inputs(bundles.take(path))
    if bundles.CONTEXT_SIGNAL in inputs:
        raise Unusable(f"{path}: ctx follows from the job, and whoever proves adds it", "leave ctx out")
    packed = json.dumps({name: _as_text(value) for name, value in inputs.items()}, separators=(",", ":")).encode()
    if len(packed) > INPUT_BYTES_MAX:
        raise Unusable(f"{path}: {len(packed)} bytes of inputs, more than {INPUT_BYTES_MAX}", "prove less in a slice")
    return packed.hex()


def _as_text(value: Value) -> Any:
    """Numbers as decimal strings, which no reader rounds."""
    return str(value) if isinstance(value, int) else [_as_text(part) for part in value]


def _set_up(constraints: bytes) -> bytes:
    """A key from numbers that are forgotten here."""
    import secrets

    from theblock_node.core.proofs import setup
    from theblock_node.core.proofs.field import R
    from theblock_node.core.proofs.formats import zkey
    from theblock_node.core.proofs.setup import ToxicWaste

    drawn = (2 + secrets.randbelow(R - 3) for _ in range(4))
    return zkey.write(setup.setup_dev(constraints, ToxicWaste(*drawn)))


def _read_key(path: Path) -> tuple[UsableKey, Bundle | None]:
    from theblock_node.cli import bundles
    from theblock_node.core.proofs import prover
    from theblock_node.core.proofs.formats import zkey

    if path.is_dir():
        bundle = bundles.read(path)
        return bundle.usable, bundle
    key = zkey.read(bundles.take(path))
    return prover.prepare(key, key.verifying), None


def _read_wires(data: bytes, bundle: Bundle | None, wasm: Path | None, context: int) -> Sequence[int]:
    from theblock_node.cli import bundles
    from theblock_node.core.proofs import witness
    from theblock_node.core.proofs.formats import wtns

    if data[:4] == b"wtns":
        return wtns.read(data)
    if bundle is None and wasm is None:
        raise Unusable("a ZKEY does not say how wires follow from inputs", "give --wasm FILE, a WTNS, or a BUNDLE")
    program = witness.load(bundles.take(wasm)) if wasm else bundle.program  # type: ignore[union-attr]
    inputs = witness.parse_inputs(data)
    if bundles.CONTEXT_SIGNAL not in inputs and program.takes(bundles.CONTEXT_SIGNAL):
        inputs[bundles.CONTEXT_SIGNAL] = context
    return program.compute(inputs)


def _prove(usable: UsableKey, wires: Sequence[int]) -> Proof:
    import secrets

    from theblock_node.core.proofs import prover
    from theblock_node.core.proofs.field import R

    return prover.prove(usable, wires, r=secrets.randbelow(R), s=secrets.randbelow(R))


def _write_new(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as there:
        raise Unusable(f"{path} is there already", "choose another name, or remove it") from there


def _parse_sizes(text: str) -> list[int]:
    first, dots, last = text.partition("..")
    try:
        powers = list(range(int(first), int(last) + 1)) if dots else [int(part) for part in text.split(",")]
    except ValueError:
        powers = []
    if not powers or not all(3 <= power <= 18 for power in powers):
        raise Unusable(f"--sizes {text[:40]} is no list of powers between 3 and 18", "write it as in 10..14 or 10,12")
    return powers


def _time_size(power: int, reps: int) -> dict[str, Any]:
    """One row: the setup, the first proof with the key's loading, and the others; milliseconds."""
    from theblock_node.core.proofs import bench_chain, groth16, prover
    from theblock_node.core.proofs.formats import r1cs as r1cs_file
    from theblock_node.core.proofs.formats import zkey

    steps = 2**power - bench_chain.RESERVED
    constraints = r1cs_file.write(bench_chain.make_circuit(steps))
    set_up, data = _timed(lambda: _set_up(constraints))
    witness, wires = _timed(lambda: bench_chain.compute_wires(steps, BENCH_X, 5))
    load, usable = _timed(lambda: prover.prepare(key := zkey.read(data), key.verifying))
    cold, proof = _timed(lambda: _prove(usable, wires))
    warm = sorted(_timed(lambda: _prove(usable, wires))[0] for _ in range(reps))
    verify, _ = _timed(lambda: groth16.verify(usable.registered, wires[1:3], proof))
    return {
        "domain": f"2^{power}",
        "constraints": steps + 1,
        "setup_ms": _ms(set_up),
        "witness_ms": _ms(witness),
        "load_ms": _ms(load),
        "cold_ms": _ms(cold),
        "median_ms": _ms(warm[len(warm) // 2]),
        "min_ms": _ms(warm[0]),
        "max_ms": _ms(warm[-1]),
        "verify_ms": _ms(verify),
        "verified": True,
    }


def _timed(act: Callable[[], Any]) -> tuple[float, Any]:
    import time

    started = time.perf_counter()
    result = act()
    return time.perf_counter() - started, result


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 2)


def _describe_wasm(data: bytes) -> dict[str, Any]:
    from theblock_node.cli import bundles
    from theblock_node.core.proofs import witness

    program = witness.load(data)
    takes = program.takes(bundles.CONTEXT_SIGNAL)
    return {"type": "wasm", "wires": program.wire_count, "inputs": program.input_count, "takes_ctx": takes}


def _describe_r1cs(data: bytes) -> dict[str, Any]:
    from theblock_node.core.proofs import r1cs
    from theblock_node.core.proofs.formats import r1cs as r1cs_file

    system = r1cs_file.read(data)
    return {
        "type": "r1cs",
        "wires": system.wire_count,
        "constraints": len(system.constraints),
        "public_outputs": system.public_output_count,
        "public_inputs": system.public_input_count,
        "private_inputs": system.private_input_count,
        "domain": 1 << r1cs.domain_power(system),
    }


def _describe_wtns(data: bytes) -> dict[str, Any]:
    from theblock_node.core.proofs.formats import wtns

    return {"type": "wtns", "wires": len(wtns.read(data))}


def _describe_zkey(data: bytes) -> dict[str, Any]:
    from theblock_node.cli import bundles
    from theblock_node.core.proofs import statements
    from theblock_node.core.proofs.formats import zkey

    key = zkey.read(data)
    names = [_name(contribution.name) for contribution in key.contributions]
    return {
        "type": "zkey",
        "wires": key.wire_count,
        "public": key.verifying.public_count,
        "domain": key.domain_size,
        "vk_hash": statements.compute_key_hash(key.verifying).hex(),
        "contributions": len(names),
        "contributors": names,
        "ceremony": bundles.describe_ceremony(key, None),
        "usable": _why_unusable(key) or "yes",
    }


def _describe_ptau(data: bytes) -> dict[str, Any]:
    from theblock_node.core.proofs.formats import ptau

    powers = ptau.read(data)
    return {
        "type": "ptau",
        "power": powers.power,
        "ceremony_power": powers.ceremony_power,
        "prepared": powers.lagrange is not None,
    }


_READERS = {
    b"\0asm": _describe_wasm,
    b"r1cs": _describe_r1cs,
    b"wtns": _describe_wtns,
    b"zkey": _describe_zkey,
    b"ptau": _describe_ptau,
}


def _why_unusable(key: ProvingKey) -> str | None:
    """Why nobody may prove with a key; None if somebody may."""
    from theblock_node.core.errors import InvalidRecord
    from theblock_node.core.proofs import keys

    try:
        keys.check_proving_key(key, key.verifying)
    except InvalidRecord as refusal:
        return str(refusal)
    return None


def _name(text: bytes | None) -> str:
    """What a stranger called themselves, without what a terminal would obey."""
    return "".join(char for char in (text or b"").decode("utf-8", "replace") if char.isprintable())
