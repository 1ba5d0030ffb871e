"""Bundles of circuits: written whole, read whole, refused when anything in them was changed."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from dataclasses import replace

import pytest
from support import snark
from theblock_node.cli import bundles
from theblock_node.cli.finding import Unusable
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import setup
from theblock_node.core.proofs.formats import r1cs as r1cs_file
from theblock_node.core.proofs.formats import zkey

WASM, CIRCUIT = snark.read_vector("cube.wasm"), snark.read_vector("cube.r1cs")
KEY = zkey.write(setup.setup_dev(CIRCUIT, snark.TOXIC))


@pytest.fixture(scope="module")
def bundle():
    return bundles.make(WASM, CIRCUIT, KEY, context_index=1, powers=None)


@pytest.fixture
def folder(bundle, tmp_path):
    bundles.write(tmp_path / "cube", bundle)
    return tmp_path / "cube"


def test_what_was_written_is_read(bundle, folder):
    read = bundles.read(folder)

    assert read.description == bundle.description
    assert (read.description["n_public"], read.description["ctx_index"], read.description["ceremony"]) == (2, 1, None)
    assert (read.wasm, read.circuit_file, read.key_file) == (WASM, CIRCUIT, KEY)
    assert {path.name for path in folder.iterdir()} == {
        "circuit.json", "circuit.wasm", "circuit.r1cs", "circuit.zkey", "vk.json",
    }  # fmt: skip


def test_a_folder_that_is_there_is_not_overwritten(bundle, folder):
    with pytest.raises(Unusable, match="is there already"):
        bundles.write(folder, bundle)


def test_the_context_stands_after_the_outputs(bundle):
    assert bundles.find_context(bundle.program, bundle.system) == 1


@pytest.mark.parametrize(
    ("files", "index", "powers", "facts"),
    [
        pytest.param(
            (WASM, snark.read_vector("cube_chain.r1cs"), snark.read_vector("cube_chain.zkey")), None, None,
            {"part": "wasm", "wires": 69, "circuit": 31}, id="module-of-another-circuit",
        ),
        pytest.param(
            (WASM, CIRCUIT, snark.read_vector("cube_chain.zkey")), None, None,
            {"part": "zkey", "wires": 31, "circuit": 69}, id="key-of-another-circuit",
        ),
        pytest.param((WASM, CIRCUIT, KEY), 0, None, {"part": "context_index", "index": 0}, id="context-is-an-output"),
        pytest.param((WASM, CIRCUIT, KEY), 2, None, {"part": "context_index", "index": 2}, id="context-is-secret"),
        pytest.param((WASM, CIRCUIT, KEY), 1, "00" * 32, {"part": "ceremony"}, id="no-ceremony-but-its-powers"),
    ],
)  # fmt: skip
def test_files_that_do_not_belong_together_are_refused(files, index, powers, facts):
    with pytest.raises(InvalidRecord) as refused:
        bundles.make(*files, context_index=index, powers=powers)
    assert (refused.value.code, refused.value.facts) == ("snark.bundle", facts)


@pytest.mark.parametrize(("side", "what"), [("a", "coefficients"), ("c", "circuit_hash")])
def test_a_key_made_for_other_constraints_is_refused(bundle, side, what):
    first, *rest = bundle.system.constraints
    other = replace(bundle.system, constraints=(first._replace(**{side: ((0, 5),)}), *rest))

    with pytest.raises(InvalidRecord) as refused:
        bundles.make(WASM, r1cs_file.write(other), KEY, context_index=1, powers=None)
    assert (refused.value.code, refused.value.facts) == ("snark.bundle", {"part": "zkey", "what": what})


def test_ceremony_of_a_key_is_described():
    told = bundles.describe_ceremony(snark.chain_key(), "ab" * 32)

    assert told is not None
    assert (told["ptau_hash"], told["contributions"], len(told["transcript_hash"])) == ("ab" * 32, 2, 64)
    assert bundles.describe_ceremony(snark.cubic_key(), None) is None


@pytest.mark.parametrize("name", ["circuit.json", "circuit.wasm", "circuit.r1cs", "circuit.zkey", "vk.json"])
def test_a_folder_without_one_of_its_files_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(Unusable, match=name):
        bundles.read(folder)


@pytest.mark.parametrize("name", ["circuit.json", "circuit.wasm", "circuit.r1cs", "circuit.zkey", "vk.json"])
def test_mutants_of_every_file_of_a_bundle_are_refused(folder, tmp_path, name):
    chance, whole = random.Random(name), (folder / name).read_bytes()
    refusals = Counter[str]()
    for at in range(60):
        bent = bytearray(whole)
        match at % 3:
            case 0:
                bent[chance.randrange(len(bent))] ^= 1 << chance.randrange(8)
            case 1:
                del bent[chance.randrange(len(bent)) :]
            case _:
                bent.insert(chance.randrange(len(bent) + 1), chance.randrange(256))
        (folder / name).write_bytes(bent)
        if name == "vk.json" and _means_the_same(bytes(bent), whole):
            continue
        with pytest.raises(InvalidRecord) as refused:
            bundles.read(folder)
        refusals[refused.value.code.partition(".")[0]] += 1
    shutil.rmtree(folder)

    assert set(refusals) == {"snark"}
    assert refusals.total() >= 50


def _means_the_same(bent: bytes, whole: bytes) -> bool:
    """White space more or less, which JSON allows."""
    try:
        return json.loads(bent) == json.loads(whole)
    except ValueError:
        return False
