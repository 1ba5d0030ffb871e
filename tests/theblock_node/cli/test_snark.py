"""`tb-cli snark` without a network: bundles, keys, proofs, and what snarkjs says of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support import snark
from support.circom import Tools
from theblock_node.cli.main import cli
from theblock_node.core.proofs.formats import zkey

VECTORS = snark.CIRCUITS
CUBE = (str(VECTORS / "cube.wasm"), "--r1cs", str(VECTORS / "cube.r1cs"))
CHAIN = str(VECTORS / "cube_chain.r1cs")
PTAU = ("--ptau", str(VECTORS / "cube_chain.ptau"))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["snark", *map(str, arguments)], prog_name="tb-cli")


def told(*arguments: object) -> Any:
    """The JSON document of a run that must end well."""
    result = run(*arguments, "--output", "json")
    assert result.exit_code == 0, (result.stdout, result.stderr, result.exception)
    return json.loads(result.stdout)


def refused(*arguments: object, code: int = 2) -> str:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), (result.stdout, result.stderr, result.exception)
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("tb-cli: ")
    assert "; " in line, "what to do is missing"
    return line


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("snark") / "cube"
    told("compile", CUBE[0], folder, *CUBE[1:])
    return folder


@pytest.fixture
def inputs(tmp_path) -> Path:
    path = tmp_path / "inputs.json"
    path.write_text('{"x": "3"}')
    return path


def test_a_compiled_bundle_says_what_it_is_and_whom_to_trust(tmp_path):
    result = run("compile", CUBE[0], tmp_path / "cube", *CUBE[1:])

    assert result.exit_code == 0
    assert "could forge proofs" in result.stderr
    description = told("inspect", tmp_path / "cube")
    assert (description["n_outputs"], description["n_public"], description["ctx_index"]) == (1, 2, 1)
    assert description["circuit_hash"] in result.stdout


def test_a_proof_from_inputs_verifies_and_no_other_statement_does(bundle, inputs, tmp_path):
    made = told("prove", bundle, inputs, "--ctx", 9, "-o", tmp_path)
    public, proof = tmp_path / "public.json", tmp_path / "proof.json"
    shown = told("verify", bundle, public, proof)

    assert made["inputs"] == ["27", "9"]
    assert (shown["verified"], shown["fingerprint"]) == (True, made["fingerprint"])
    public.write_text('["27", "8"]')
    assert "snark.invalid_proof" in refused("verify", bundle, public, proof, code=1)
    again = told("prove", bundle, inputs, "--ctx", 9, "-o", tmp_path / "again")
    assert again["statement_id"] == made["statement_id"]
    assert again["fingerprint"] != made["fingerprint"]


def test_proofs_from_a_key_of_a_ceremony_and_a_witness_file(tmp_path):
    key = VECTORS / "cube_chain.zkey"
    told("prove", key, VECTORS / "cube_chain.wtns", "-o", tmp_path)
    exported = told("export-vk", key, tmp_path / "vk.json")

    assert json.loads((tmp_path / "public.json").read_text()) == json.loads(snark.read_vector("cube_chain.public.json"))
    assert told("verify", tmp_path / "vk.json", tmp_path / "public.json", tmp_path / "proof.json")["verified"]
    theirs = (VECTORS / f"cube_chain.{what}.json" for what in ("key", "public", "proof"))
    assert told("verify", *theirs)["vk_hash"] == exported["vk_hash"]


def test_a_key_for_development_is_new_each_time_and_never_overwrites(tmp_path, inputs):
    first, second = (told("setup-dev", CUBE[2], tmp_path / name) for name in ("a.zkey", "b.zkey"))

    assert first["zkey_hash"] != second["zkey_hash"]
    assert "is there already" in refused("setup-dev", CUBE[2], tmp_path / "a.zkey")
    made = told("prove", tmp_path / "a.zkey", inputs, "--wasm", CUBE[0], "-o", tmp_path)
    assert made["inputs"] == ["27", "0"]


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("cube.wasm", {"type": "wasm", "wires": 69, "inputs": 2, "takes_ctx": True}),
        ("cube.r1cs", {"type": "r1cs", "wires": 69, "constraints": 67, "domain": 128}),
        ("cube_chain.wtns", {"type": "wtns", "wires": 31}),
        ("cube_chain.zkey", {"type": "zkey", "domain": 32, "contributors": ["second", "last"], "usable": "yes"}),
        ("cube_chain.ptau", {"type": "ptau", "power": 5, "prepared": True}),
    ],
)
def test_files_are_looked_into(name, facts):
    shown = told("inspect", VECTORS / name)

    assert facts.items() <= shown.items()
    assert shown["size"] == str((VECTORS / name).stat().st_size)


def test_a_hostile_key_is_called_unusable(tmp_path):
    path = tmp_path / "bad.zkey"
    path.write_bytes(zkey.write(replace(snark.cubic_key(), beta1=None)))

    assert "snark.key_infinity" in told("inspect", path)["usable"]
    assert "snark.key_infinity" in refused("prove", path, VECTORS / "cube_chain.wtns")


def test_a_benchmark_tells_the_times_of_proofs_that_verified():
    shown = json.loads(run("bench", "--sizes", "4,6", "--reps", 2, "--json").stdout)

    assert [row["domain"] for row in shown["sizes"]] == ["2^4", "2^6"]
    assert [row["constraints"] for row in shown["sizes"]] == [13, 61]
    for row in shown["sizes"]:
        assert row["verified"]
        assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param(["compile", *CUBE[:1], "OUT", *CUBE[1:], *PTAU], "snark.ceremony_unbuilt", id="second-phase"),
        pytest.param(["compile", CUBE[0], "OUT", "--r1cs", CHAIN], "snark.bundle", id="another-circuit"),
        pytest.param(["compile", CUBE[2], "OUT", *CUBE[1:]], "circom2", id="no-wasm"),
        pytest.param(["compile", *CUBE[:1], "OUT", *CUBE[1:], "--ctx-index", 0], "context_index", id="ctx-is-output"),
        pytest.param(["setup-dev", CUBE[0], "OUT"], "snark.file_magic", id="setup-of-no-r1cs"),
        pytest.param(["prove", "BUNDLE", CUBE[0]], "snark.bad_inputs", id="inputs-are-no-json"),
        pytest.param(["prove", VECTORS / "cube_chain.zkey", "INPUTS"], "--wasm", id="inputs-without-a-module"),
        pytest.param(["prove", "BUNDLE", VECTORS / "cube_chain.wtns"], "snark.witness_length", id="another's-witness"),
        pytest.param(["verify", "BUNDLE", "INPUTS", "INPUTS"], "snark.document_shape", id="no-public"),
        pytest.param(["verify", CUBE[0]], "does not exist", id="no-files"),
        pytest.param(["inspect", "INPUTS"], "no known type", id="inspect-json"),
        pytest.param(["inspect", VECTORS], "circuit.json", id="inspect-another-folder"),
        pytest.param(["bench", "--sizes", "2"], "between 3 and 18", id="too-small"),
        pytest.param(["bench", "--sizes", "10..19"], "between 3 and 18", id="too-large"),
        pytest.param(["bench", "--sizes", "x"], "between 3 and 18", id="no-number"),
    ],
)  # fmt: skip
def test_refusals_say_why_and_what_to_do(bundle, inputs, tmp_path, arguments, reason):
    paths = {"OUT": tmp_path / "out", "BUNDLE": bundle, "INPUTS": inputs}

    assert reason in refused(*(paths.get(str(argument), argument) for argument in arguments))
    assert not (tmp_path / "out").exists()


def test_an_assertion_that_breaks_is_told_with_its_line(bundle, inputs):
    inputs.write_text(f'{{"x": "{2**64}"}}')

    assert "Error in template Cube_0 line:" in refused("prove", bundle, inputs)


def test_help_loads_neither_the_protocol_nor_wasmtime():
    code = (
        "import sys; from click.testing import CliRunner; from theblock_node.cli.main import cli;"
        "CliRunner().invoke(cli, ['snark', 'prove', '--help']);"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'wasmtime', 'numpy', 'grpc'}), "
        "[name for name in sys.modules if name.startswith('theblock_node.core')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[] []"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_circuit_goes_from_its_source_to_a_proof_that_snarkjs_accepts(tmp_path):
    tools = Tools(tmp_path)
    tools.compile("poseidon")
    wasm, constraints = tmp_path / "poseidon_js" / "poseidon.wasm", tmp_path / "poseidon.r1cs"
    told("compile", wasm, tmp_path / "bundle", "--r1cs", constraints)
    tools.write("in.json", json.dumps({"leaf": 5, "siblings": list(range(16)), "sides": [0, 1] * 8, "ctx": 7}))
    made = told("prove", tmp_path / "bundle", tmp_path / "in.json", "-o", tmp_path)

    assert made["inputs"][1] == "7"
    assert tools.snarkjs("groth16", "verify", "bundle/vk.json", "public.json", "proof.json") == 0
