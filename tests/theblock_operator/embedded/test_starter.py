"""The starter network as processes does what people come for, and the explorer shows all of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import things
from support.browser import browsing, needs_chromium, shoot
from support.circom import Tools
from theblock_operator.embedded import files
from theblock_operator.embedded.places import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "starter"
PATIENCE_S = 300


class LocalShell:
    """Commands on this machine, against the run in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.home = Home(folder / "up")

    def theblock(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "theblock_operator.embedded.cli", "--home", str(self.home.root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S + 60)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def tb_cli(self, *arguments: str, stdin: str | None = None) -> things.Done:
        context = str(self.home.root / "context.json")
        done = subprocess.run(
            [sys.executable, "-m", "theblock_node.cli", "--context", context, *arguments],
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return things.Done(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, data: bytes) -> str:
        path = Path(self.folder) / name
        path.write_bytes(data)
        return str(path)

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def seed(self, member: str) -> str:
        return (self.home.root / "members" / member / "etc" / "key" / "node.key").read_text()

    @property
    def context(self) -> dict:
        return json.loads((self.home.root / "context.json").read_text())

    @property
    def funder(self) -> str:
        return Path(self.context["funder"]).read_text()

    def kill(self, member: str, part: str = "node") -> None:
        pid = things.wait(f"{member}.{part}", lambda: files.holder(self.home.root / "locks" / f"{member}.{part}"))
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return Tools(tmp_path_factory.mktemp("circom"))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalShell]:
    made = LocalShell(tmp_path_factory.mktemp("starter"))
    told = made.theblock("up", "-f", str(EXAMPLE), "--subnet", "49", "--timeout", str(PATIENCE_S))
    print(told.splitlines()[-1])
    yield made
    made.theblock("down")


def test_a_transfer_is_final(shell):
    things.pay_somebody(shell, shell.funder)


def test_a_file_outlives_the_death_of_a_provider(shell):
    things.keep_a_file(shell, shell.kill)


def test_a_signed_reading_becomes_a_receipt(shell):
    things.buy_energy(shell, shell.funder)


def test_a_job_ends_with_the_digest_of_the_exact_twin(shell):
    things.compute_digests(shell, shell.funder)


def test_a_circuit_goes_from_its_source_to_a_proof_that_is_paid(shell, tools):
    proved = things.prove_a_circuit(shell, shell.funder, tools)

    assert things.find_shown_proof(shell.context["explorer"], proved["job_id"])["verified"]


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_two_hundred_jobs_end_once_though_the_prover_dies_fifty_times(shell, tools):
    things.lose_provers(shell, shell.funder, tools, lambda: shell.kill("compute-0", "prover"), jobs=200, kills=50)


def test_bitcoin_headers_are_followed_and_a_forged_one_is_refused(shell):
    things.follow_bitcoin(shell)


@needs_chromium
async def test_the_explorer_shows_what_was_done(shell):
    seller = things.buy_energy(shell, shell.funder)["seller"]
    paid = things.pay_somebody(shell, shell.funder)
    things.compute_digests(shell, shell.funder, count=1000)
    job = things.ask(shell, "compute", "jobs")["jobs"][0]["job_id"]
    shown = {
        "/": "Height",
        f"/accounts/{paid}": paid,
        "/providers/storage": "storage-0",
        "/energy/receipts": seller,
        "/compute/jobs": job[:8],
        "/proofs": "Our verdict",
        "/storage/objects": "",
        "/bridge/headers": "1111",
    }

    async with browsing() as (page, complaints):
        for path, text in shown.items():
            answer = await page.goto(shell.context["explorer"].rstrip("/") + path)
            assert answer.status == 200, path
            # A page that shows what is new navigates by itself: only a wait goes on over that.
            await page.wait_for_function("text => document.documentElement.innerHTML.includes(text)", arg=text)
            await shoot(page, f"starter{path.replace('/', '-')[:40]}")

    assert complaints == []
