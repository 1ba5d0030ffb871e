"""Interchange with circom and snarkjs, run as tools: they take what we write, and we take what they write."""

from __future__ import annotations

import json
import shutil

import pytest
from support import snark
from support.circom import Tools
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import groth16, keys, prover, r1cs, setup
from theblock_node.core.proofs.field import R
from theblock_node.core.proofs.formats import documents, ptau, wtns, zkey
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.setup import ToxicWaste

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOXIC = ToxicWaste(*(pow(11, 90 + at, R) for at in range(4)))
INPUTS = {"a": "3", "b": "11", "ctx": "123456789"}


@pytest.fixture(scope="module")
def tools(tmp_path_factory) -> Tools:
    """The tools, with the circuit compiled and its witness computed by them."""
    made = Tools(tmp_path_factory.mktemp("snarkjs"))
    shutil.copy(snark.CIRCUITS / "cube_chain.circom", made.folder)
    made.write("input.json", json.dumps(INPUTS))
    assert made.circom("cube_chain.circom", "--r1cs", "--wasm") == 0
    assert made.snarkjs("wtns", "calculate", "cube_chain_js/cube_chain.wasm", "input.json", "cube_chain.wtns") == 0
    return made


@pytest.fixture(scope="module")
def witness(tools) -> tuple[int, ...]:
    return wtns.read(tools.read("cube_chain.wtns"))


@pytest.fixture(scope="module")
def dev_key(tools):
    """Our own key of the circuit, also as files."""
    key = setup.setup_dev(tools.read("cube_chain.r1cs"), TOXIC)
    tools.write("dev.zkey", zkey.write(key))
    tools.write("dev.key.json", documents.render_verifying_key(key.verifying))
    return key


def test_committed_files_are_what_the_tools_make(tools):
    for name in ("cube_chain.r1cs", "cube_chain.wtns"):
        assert tools.read(name) == snark.read_vector(name)


def test_tools_take_the_circuit_and_the_witness_that_we_write(tools, witness):
    system = r1cs_file.read(tools.read("cube_chain.r1cs"))
    r1cs.check_witness(system, witness)
    ours = tools.write("ours.r1cs", r1cs_file.write(system))
    assert tools.snarkjs("wtns", "check", ours, tools.write("ours.wtns", wtns.write(witness))) == 0

    bent = (*witness[:-1], (witness[-1] + 1) % R)
    assert tools.snarkjs("wtns", "check", ours, tools.write("bent.wtns", wtns.write(bent))) != 0


def test_snarkjs_verifies_our_proof_under_our_key(tools, witness, dev_key):
    proof = prover.prove(prover.prepare(dev_key, dev_key.verifying), witness, r=pow(3, 150, R), s=pow(5, 150, R))
    tools.write("ours.proof.json", documents.render_proof(proof))
    tools.write("ours.public.json", documents.render_public(witness[1:4]))
    tools.write("bent.public.json", documents.render_public((witness[1], witness[2], witness[3] + 1)))

    assert tools.snarkjs("groth16", "verify", "dev.key.json", "ours.public.json", "ours.proof.json") == 0
    assert tools.snarkjs("groth16", "verify", "dev.key.json", "bent.public.json", "ours.proof.json") != 0


def test_snarkjs_proves_with_our_files_and_we_verify(tools, witness, dev_key):
    ours = tools.write("ours.wtns", wtns.write(witness))
    assert tools.snarkjs("groth16", "prove", "dev.zkey", ours, "theirs.proof.json", "theirs.public.json") == 0
    inputs = documents.parse_public(tools.read("theirs.public.json"))

    assert inputs == witness[1:4]
    prepared = groth16.prepare(dev_key.verifying, 3)
    groth16.verify(prepared, inputs, documents.parse_proof(tools.read("theirs.proof.json")))


def test_snarkjs_reads_our_key_as_we_wrote_it(tools, dev_key):
    assert tools.snarkjs("zkey", "export", "verificationkey", "dev.zkey", "exported.json") == 0
    assert documents.parse_verifying_key(tools.read("exported.json")) == dev_key.verifying


def test_key_of_a_ceremony_from_its_start_to_its_proof(tools, witness):
    powers_file = tools.write("powers.ptau", snark.read_vector("cube_chain.ptau"))
    assert tools.snarkjs("groth16", "setup", "cube_chain.r1cs", powers_file, "start.zkey") == 0
    assert tools.snarkjs("zkey", "contribute", "start.zkey", "end.zkey", "--name=someone", "-e=chance") == 0
    start, end = zkey.read(tools.read("start.zkey")), zkey.read(tools.read("end.zkey"))

    # Nobody has contributed yet: anyone could forge under it.
    with pytest.raises(InvalidRecord) as refusal:
        prover.prepare(start, start.verifying)
    assert refusal.value.code == "snark.key_delta"
    lagrange = ptau.read(tools.read(powers_file)).lagrange
    assert lagrange is not None
    assert start.h == tuple(ptau.of_domain(lagrange.tau_g1, 2 * start.domain_size)[1::2])

    keys.check_ceremony(end)
    assert [contribution.name for contribution in end.contributions] == [b"someone"]
    proof = prover.prove(prover.prepare(end, end.verifying), witness, r=pow(3, 151, R), s=pow(5, 151, R))
    tools.write("end.key.json", documents.render_verifying_key(end.verifying))
    tools.write("end.proof.json", documents.render_proof(proof))
    tools.write("end.public.json", documents.render_public(witness[1:4]))
    assert tools.snarkjs("groth16", "verify", "end.key.json", "end.public.json", "end.proof.json") == 0
    # What we write of a ceremony's key, snarkjs still verifies against the circuit and the powers.
    rewritten = tools.write("rewritten.zkey", zkey.write(end))
    assert tools.snarkjs("zkey", "verify", "cube_chain.r1cs", powers_file, rewritten) == 0
