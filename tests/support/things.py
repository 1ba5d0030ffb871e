"""What a starter network must do for its people, through the CLI alone: the same on processes and in pods.

Each function does one thing end to end and asserts what it shows; `Shell` says how a command is run.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from support.circom import Tools
from theblock_node.core.proofs import gpu_hash
from theblock_node.services.bridge import headers

DATASET_TIP = 1111
"""Height of the last header of the packed Bitcoin headers."""


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Console(Protocol):
    """Where commands run."""

    def tb_cli(self, *arguments: str, stdin: str | None = None) -> Done: ...


class Shell(Console, Protocol):
    """A console beside files and keys: a folder on this machine, or a pod."""

    folder: str

    def write(self, name: str, data: bytes) -> str:
        """Put a file into the folder; its path."""
        ...

    def read(self, path: str) -> bytes: ...

    def seed(self, member: str) -> str:
        """A member's node key, hex, as whoever administers the network can read it."""
        ...


def ask(shell: Console, *arguments: str, stdin: str | None = None) -> Any:
    done = shell.tb_cli("--output", "json", *arguments, stdin=stdin)
    assert done.code == 0, f"tb-cli {' '.join(arguments)}: {done.code}\n{done.out}\n{done.err}"
    return json.loads(done.out)


def wait(what: str, condition: Callable[[], Any], limit_s: float = 90, *, hint: Callable[[], str] = lambda: "") -> Any:
    """The first true answer of ``condition``, asked once a second; ``hint`` says what is known when it is late."""
    deadline = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"after {limit_s} s still not: {what}\n{hint()}"
        time.sleep(1)
    return found


def pay_somebody(shell: Shell, funder: str) -> str:
    """A transfer that is final; returns who was paid."""
    seed = hashlib.sha256(str(time.time_ns()).encode()).hexdigest()
    key = shell.write(f"wallet-{seed[:8]}.key", seed.encode())
    address = ask(shell, "keys", "show", key)["address"]

    ask(shell, "accounts", "transfer", "--to", address, "--amount", "5BLOCK", "--key", "-", stdin=funder)

    account = ask(shell, "accounts", "show", address)
    assert int(account["balance"]) == 5 * 10**9
    return str(address)


def keep_a_file(shell: Shell, lose_provider: Callable[[str], None], size: int = 300_000) -> None:
    """Put a file, lose one of the providers that hold it, read it back equal."""
    tag = str(time.time_ns())
    data = hashlib.shake_256(tag.encode()).digest(size)
    path = shell.write(f"{tag}.bin", data)

    stored = ask(shell, "storage", "put", path)
    lose_provider(stored["providers"][0])
    ask(shell, "storage", "get", stored["manifest_id"], "--key", stored["content_key_file"], "-o", f"{path}.back")

    assert shell.read(f"{path}.back") == data


def buy_energy(shell: Shell, funder: str) -> dict[str, Any]:
    """A meter's signed reading has become a credit; bought, it is a receipt."""
    found = wait("a credit", lambda: ask(shell, "energy", "credits").get("credits"))
    credit = found[-1]  # The youngest of them: the oldest may expire in between.

    ask(shell, "energy", "settle", "--credit-id", credit["credit_id"], "--key", "-", stdin=funder)

    receipts = ask(shell, "energy", "receipts")["receipts"]
    bought = [receipt for receipt in receipts if receipt["seller"] == credit["provider_id"]]
    assert bought, receipts
    return dict(bought[0])


def compute_digests(shell: Shell, funder: str, count: int = 20_000) -> None:
    """A job's root is the exact twin's."""
    seed = hashlib.sha256(str(time.time_ns()).encode()).hexdigest()
    submitted = ask(
        shell, "compute", "submit", "--digests", str(count), "--seed", seed, "--max-price", "1BLOCK", "--key", "-",
        stdin=funder,
    )  # fmt: skip
    job = submitted["job_id"]

    result = ask(shell, "--timeout", "120", "compute", "result", job, "--follow")

    task = gpu_hash.HashTask(gpu_hash.HashAlgorithm.BLAKE3, bytes.fromhex(seed), 0, count)
    expected = gpu_hash.build_levels(b"".join(gpu_hash.compute_digests(task)))[-1].hex()
    assert [(row["status"].lower(), row["root"]) for row in result["slices"]] == [("settled", expected)]


def offer_cube(shell: Shell, funder: str, tools: Tools) -> str:
    """The hash of a circuit, compiled from its source, that provers can be asked for; registered once."""
    wasm = shell.write("cube.wasm", tools.compile("cube"))
    r1cs = shell.write("cube.r1cs", tools.read("cube.r1cs"))
    bundle = f"{shell.folder}/cube-{time.time_ns()}"
    circuit = ask(shell, "snark", "compile", wasm, bundle, "--r1cs", r1cs, "--ctx-index", "1")["circuit_hash"]
    known = ask(shell, "snark", "circuits")["circuits"]
    if circuit not in [row["circuit_hash"] for row in known]:
        ask(shell, "snark", "register", bundle, "--key", "-", stdin=funder)
    return str(circuit)


def ask_for_proof(shell: Shell, funder: str, circuit: str, *, wait: str = "final") -> dict[str, Any]:
    """Post a job for the cube of 3."""
    inputs = shell.write("cube.json", b'{"x": "3"}')
    words = ["snark", "submit", "--circuit", circuit, "--input", inputs, "--max-price", "1BLOCK", "--deadline-blocks"]
    return dict(ask(shell, *words, "3600", "--wait", wait, "--key", "-", stdin=funder))


def prove_a_circuit(shell: Shell, funder: str, tools: Tools) -> dict[str, Any]:
    """A circuit goes from its source to a proof that was paid for; returns what the history has of it."""
    circuit = offer_cube(shell, funder, tools)
    job = ask_for_proof(shell, funder, circuit)["job_id"]

    result = ask(shell, "--timeout", "180", "compute", "result", job, "--follow")

    assert [row["status"].lower() for row in result["slices"]] == ["settled"], result
    (entry,) = (row for row in read_history(shell) if row["job_id"] == job)
    assert entry["outcome"] == "COMPLETED"
    assert int(entry["payout"]) > 0
    shown = [int.from_bytes(bytes.fromhex(value), "little") for value in entry["bundle"]["public_inputs"]]
    assert shown[0] == 27
    return entry


def read_history(shell: Shell) -> list[dict[str, Any]]:
    """The youngest ends of slices."""
    return list(ask(shell, "compute", "sla-history", "--limit", "256")["entries"])


def lose_provers(shell: Shell, funder: str, tools: Tools, kill: Callable[[], None], *, jobs: int, kills: int) -> None:
    """Every job ends once, in one payment or one refund, however often the prover dies while they are worked on."""
    circuit = offer_cube(shell, funder, tools)
    before = {(row["job_id"], row["index"]) for row in read_history(shell)}

    def ended() -> list[dict[str, Any]]:
        return [row for row in read_history(shell) if (row["job_id"], row["index"]) not in before]

    posted = 0
    for at in range(kills):
        while posted < jobs * (at + 1) // kills:
            ask_for_proof(shell, funder, circuit, wait="committed")
            posted += 1
        kill()
    rows = wait("the end of every job", lambda: len(found := ended()) >= jobs and found, limit_s=60 + 2 * jobs)

    assert len({row["job_id"] for row in rows}) == len(rows) == jobs
    for row in rows:
        paid = (row["outcome"], int(row["payout"]) > 0)
        assert paid == ("COMPLETED", True) or (row["outcome"] != "COMPLETED" and int(row["refunded"]) > 0), row
        slices = ask(shell, "compute", "result", row["job_id"])["slices"]
        assert all(piece["status"] not in ("OPEN", "ASSIGNED") for piece in slices)


def find_shown_proof(explorer: str, job_id: str) -> dict[str, Any]:
    """What the explorer shows of the proof of a job."""

    def ask_explorer() -> dict[str, Any] | None:
        with urllib.request.urlopen(explorer.rstrip("/") + "/compute/sla/history", timeout=20) as answer:
            items = json.load(answer)["items"]
        return next((item["proofs"][0] for item in items if item["job_id"] == job_id), None)

    return dict(wait("the explorer's row of a proof", ask_explorer))


def follow_bitcoin(shell: Shell) -> None:
    """All packed headers are on the chain, and one with forged work is refused."""

    def tip() -> bool:
        reply = ask(shell, "bridge", "headers", "--chain-id", "bitcoin", "--limit", "1")
        return bool(reply["client"] and int(reply["client"]["tip_height"]) == DATASET_TIP)

    wait("the tip of the Bitcoin headers", tip, 180)
    packed = Path(headers.__file__).parent / "data" / "bitcoin-mainnet-headers-1-1111.bin"
    last = packed.read_bytes()[-80:]
    forged = bytearray(last)
    forged[:4] = (2).to_bytes(4, "little")  # Another version: another hash, without the work behind it.
    key = shell.seed("bitcoin-0")

    done = shell.tb_cli(
        "bridge", "submit-header", bytes(forged).hex(), "--chain-id", "bitcoin", "--key", "-", stdin=key
    )

    assert (done.code, "bridge.bad_pow" in done.err) == (1, True), done
