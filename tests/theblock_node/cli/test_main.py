"""Commands against a chain: what they do, what they print, how they are refused."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys

import pytest
from support.headers import real_headers
from theblock_node.cli.bridge import parse_headers
from theblock_node.client.wallet import Wallet
from theblock_node.core.domains import REGISTRY
from theblock_node.sim.dev_chain import FUNDS, START_SECONDS, seed_of

PAY = ("accounts", "transfer", "--to")
SYSTEM, RICHES = "0000:treasury", "2000000BLOCK"
ALICE, BOB = Wallet(seed_of("alice")), Wallet(seed_of("bob"))


# The chain as it is.


def test_status_tells_the_head_the_final_height_and_every_member(shell):
    told = shell.json("status")

    assert (told["network"], told["chain_id"], told["validators"]) == ("dev", 1_000_002, 1)
    assert 0 <= int(told["finalized_height"]) <= int(told["height"])
    rows = {row["name"]: row for row in told["members"]}
    assert (rows["validators-0"]["ready"], told["ready"]) == (True, 1)
    assert (rows["storage-0"]["ready"], rows["storage-0"]["reason"]) == (False, "rpc.unimplemented")
    assert "ready             1 of 2 members" in shell.text("status")


def test_a_member_that_does_not_answer_is_listed_and_another_is_asked(shell, tmp_path):
    context = json.loads(shell.context.read_text())
    dead = {**context["members"][0], "name": "validators-9", "host": "127.43.0.1", "grpc": 9}
    (tmp_path / "context.json").write_text(json.dumps({**context, "members": [dead, *context["members"]]}))
    told = shell.json("status", "--context", str(tmp_path / "context.json"))

    assert [row["name"] for row in told["members"]] == ["validators-9", "validators-0", "storage-0"]
    assert (told["members"][0]["ready"], told["members"][0]["reason"]) == (False, "Unreachable")
    assert told["ready"] == 1


def test_blocks_are_listed_and_taken_apart(shell):
    sent = shell.json("accounts", "transfer", "--to", BOB.address, "--amount", "7")
    told = shell.json("blocks", "--limit", "3")
    block = shell.json("blocks", sent["height"])

    assert len(told["blocks"]) == 3
    assert told["blocks"][-1]["height"] == told["height"]
    (tx,) = block["transactions"]
    assert (tx["tx_id"], tx["call"], tx["from"]) == (sent["tx_id"], "accounts.transfer", ALICE.address)
    assert tx["arguments"] == {"to": BOB.address, "amount_consumer": "7", "amount_industrial": "0"}
    assert block["header"]["height"] == sent["height"]


def test_params_are_listed_by_prefix(shell):
    rows = shell.json("params", "energy_min")["params"]
    names = [name for name in REGISTRY.params if name.startswith("energy_min")]
    assert [row["name"] for row in rows] == names
    assert next(row for row in rows if row["name"] == "energy_min_stake")["minimal"] == "1000"


def test_a_row_and_its_absence_are_proved(shell):
    shell.json("accounts", "transfer", "--to", BOB.address, "--amount", "1")
    there = shell.json("proof", "accounts/account", ALICE.address)
    absent = shell.json("proof", "accounts/account", f"0000:{'77' * 32}")

    assert (there["present"], there["value"]["address"]) == (True, ALICE.address)
    assert (absent["present"], absent["value"]) == (False, None)
    assert "accounts/account" in shell.refused("proof", "nonsense", "x", code=2)


def test_any_query_runs_by_its_name(shell):
    assert shell.json("query", "chain.supply") == shell.json("chain", "supply")
    assert "rpc.unknown_query" in shell.refused("query", "chain.nonsense")
    assert "codec.unknown_field" in shell.refused("query", "chain.supply", '{"x": 1}')
    assert "JSON object" in shell.refused("query", "chain.supply", "[]", code=2)


@pytest.mark.parametrize("name", [name for name, spec in REGISTRY.queries.items() if not spec.request.__annotations__])
def test_every_query_without_arguments_answers(shell, name):
    domain, _, noun = name.partition(".")
    assert shell.json(domain, noun.replace("_", "-"))
    assert shell.text(domain, noun.replace("_", "-"))


# Accounts and transactions.


def test_a_transfer_is_final_when_it_returns(shell):
    receiver = f"0000:{'01' * 32}"
    told = shell.json("accounts", "transfer", "--to", receiver, "--amount", "1.5BLOCK", "--amount-industrial", "1")

    assert (told["state"], told["final"]) == ("success", True)
    (event,) = told["events"]
    assert event["record"] == {"source": ALICE.address, "to": receiver, "amount": "1500000001"}
    assert shell.json("accounts", "show", receiver)["balance"] == "1500000001"
    assert "1.500000001 BLOCK" in shell.text("accounts", "show", receiver)


def test_it_is_said_when_the_funder_signs_and_not_when_a_key_was_given(shell):
    arguments = ("accounts", "transfer", "--to", BOB.address, "--amount", "1")
    assert "funder" in shell.run(*arguments).stderr
    assert shell.run(*arguments, "--key", shell.key("bob")).stderr == ""
    assert shell.run(*arguments, env={"TB_KEY": shell.key("bob")}).stderr == ""


def test_the_key_may_come_from_standard_input(shell):
    told = shell.json(
        "accounts", "transfer", "--to", ALICE.address, "--amount", "1", "--key", "-", stdin=seed_of("bob").hex()
    )
    assert told["events"][0]["record"]["source"] == BOB.address
    assert shell.json("accounts", "show", "--key", shell.key("bob"))["address"] == BOB.address


def test_a_key_that_others_may_read_is_told(shell, tmp_path):
    path = tmp_path / "open.key"
    path.write_text(seed_of("bob").hex())
    path.chmod(0o644)
    assert "chmod 600" in shell.run("accounts", "show", "--key", str(path)).stderr


def test_accounts_are_listed(shell):
    page = shell.json("accounts", "list", "--limit", "2")
    assert len(page["accounts"]) == 2
    last = page["accounts"][-1]["address"]
    assert all(row["address"] > last for row in shell.json("accounts", "list", "--after", last)["accounts"])
    assert last in shell.text("accounts", "list")


@pytest.mark.parametrize("wait", ["none", "committed", "final"])
def test_one_waits_as_long_as_one_chose(shell, wait):
    told = shell.json("accounts", "transfer", "--to", BOB.address, "--amount", "1", "--wait", wait)
    assert told["state"] == ("pending" if wait == "none" else "success")
    assert ("events" in told) == (wait != "none")


def test_a_dry_run_sends_nothing_and_its_envelope_can_be_sent(shell):
    arguments = ("accounts", "transfer", "--to", BOB.address, "--amount", "3", "--key", shell.key("bob"))
    before = shell.json("accounts", "show", BOB.address)
    made = shell.json(*arguments, "--dry-run", "--memo", "hello")
    assert shell.json("accounts", "show", BOB.address) == before
    assert shell.json("tx", "status", made["tx_id"]) == {"tx_id": made["tx_id"], "state": "unknown"}

    told = shell.json("tx", "submit", made["envelope"])
    assert (told["tx_id"], told["state"]) == (made["tx_id"], "success")
    assert shell.json("tx", "status", made["tx_id"])["final"] is True
    assert "duplicate" in shell.refused("tx", "submit", made["envelope"])


def test_any_call_is_sent_by_its_name(shell, tmp_path):
    arguments = {"to": BOB.address, "amount_consumer": "2", "amount_industrial": "0"}
    (tmp_path / "arguments").write_text(json.dumps(arguments))
    assert shell.json("tx", "send", "accounts.transfer", json.dumps(arguments))["state"] == "success"
    assert shell.json("tx", "send", "accounts.transfer", f"@{tmp_path / 'arguments'}")["state"] == "success"


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        pytest.param([*PAY, SYSTEM, "--amount", "1"], 1, "accounts.system_receiver", id="system"),
        pytest.param([*PAY, BOB.address, "--amount", RICHES], 1, "mempool.insufficient_balance", id="poor"),
        pytest.param([*PAY, BOB.address], 1, "accounts.zero_amount", id="nothing"),
        pytest.param([*PAY, "zzz", "--amount", "1"], 2, "codec.value", id="no-address"),
        pytest.param([*PAY, BOB.address, "--amount", "1.5"], 2, "1.5BLOCK", id="no-amount"),
        pytest.param(["accounts", "show", "zzz"], 1, "address.format", id="show-no-address"),
        pytest.param(["tx", "send", "nothing.at_all"], 2, "tx.unknown_call", id="no-call"),
        pytest.param(["tx", "send", "accounts.transfer", "{}"], 2, "codec.missing_field", id="no-fields"),
        pytest.param(["tx", "send", "accounts.transfer", "{"], 2, "no JSON", id="no-json"),
        pytest.param(["tx", "submit", "00"], 1, "tx.malformed", id="no-envelope"),
        pytest.param(["tx", "status", "00"], 1, "codec.value", id="no-id"),
        pytest.param(["blocks", "99999999"], 1, "block.not_found", id="no-block"),
        pytest.param(["energy", "settle"], 2, "--credit-id", id="no-credit"),
        pytest.param(["energy", "settle", "--provider-id", "nobody"], 1, "energy.unknown_reading", id="no-provider"),
        pytest.param(["compute", "result", "ab" * 32], 1, "compute.unknown_job", id="no-job"),
        pytest.param(["node", "status", "nobody"], 2, "validators-0", id="no-member"),
        pytest.param(["node", "drain", "validators-0"], 2, "--admin-cert", id="no-admin"),
        pytest.param(["status", "--endpoint", "127.43.0.1:9"], 3, "make up", id="nobody-there"),
        pytest.param(["status", "--endpoint", "nowhere"], 2, "HOST:PORT", id="no-endpoint"),
        pytest.param(["status", "--ca", "/x"], 2, "--endpoint", id="ca-alone"),
        pytest.param(["status", "--context", "/nowhere"], 2, "No such file", id="no-context"),
        pytest.param(["status", "--endpoint", "127.43.0.1:9", "--ca", "/nowhere"], 2, "/nowhere", id="no-ca"),
        pytest.param(["accounts", "show", "--key", "/nowhere"], 2, "keys generate", id="no-key"),
        pytest.param(["keys", "show", "/nowhere"], 2, "keys generate", id="no-key-file"),
    ],
)  # fmt: skip
def test_refusals_say_why_and_end_with_their_code(shell, arguments, code, reason):
    assert reason in shell.refused(*arguments, code=code)


def test_without_a_funder_a_key_is_asked_for(shell):
    line = shell.refused("accounts", "show", "--endpoint", shell.chain, code=2)
    assert "--key FILE" in line
    assert "TB_KEY" in line


def test_a_transaction_that_takes_too_long_says_how_to_look_again(shell):
    payment = ("accounts", "transfer", "--to", BOB.address, "--amount", "1", "--key", shell.key("alice"))
    on_still = ("--endpoint", shell.still)
    line = shell.refused(*payment, *on_still, "--timeout", "0.3", code=3)
    (tx_id,) = re.findall(r"tb-cli tx status ([0-9a-f]{64})", line)
    assert shell.json("tx", "status", tx_id, *on_still)["state"] == "pending"


# Events.


def test_events_are_one_document_a_line(shell):
    sent = shell.json("accounts", "transfer", "--to", BOB.address, "--amount", "9")
    lines = shell.text("events", "--from", sent["height"], "--name", "accounts.", "--output", "json").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["record"]["amount"] for row in rows if row["tx_id"] == sent["tx_id"]] == ["9"]
    assert {row["name"] for row in rows} == {"accounts.transferred"}
    assert "accounts.transferred" in shell.text("events", "--from", sent["height"], "--count", "1")


def test_final_events_are_followed_until_enough_came(shell):
    text = shell.text("events", "--follow", "--final", "--from", "0", "--count", "2", "--output", "json")
    assert len(text.splitlines()) == 2


def test_following_ends_when_it_is_interrupted(shell):
    command = [
        sys.executable,
        "-c",
        "from theblock_node.cli.main import main; main()",
        "events",
        "--follow",
        "--from",
        "0",
    ]
    with subprocess.Popen(
        [*command, "--endpoint", shell.chain],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background inherit that they are not to be interrupted.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        shell.json("accounts", "transfer", "--to", BOB.address, "--amount", "1")
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert (running.wait(20), running.stderr.read().strip()) == (130, "")


def test_events_beyond_the_head_are_none(shell):
    assert shell.text("events", "--from", "99999999") == ""


# Keys.


def test_a_key_is_made_shown_and_never_overwritten(shell, tmp_path):
    path = tmp_path / "a.key"
    made = shell.json("keys", "generate", str(path))

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert shell.json("keys", "show", str(path)) == made
    assert made["address"] == f"0000:{made['public_key']}"
    seed = path.read_text().strip()
    assert seed not in shell.text("keys", "show", str(path))
    assert "never overwritten" in shell.refused("keys", "generate", str(path), code=2)
    assert path.read_text().strip() == seed


def test_a_key_is_taken_in_from_standard_input(shell, tmp_path):
    told = shell.json("keys", "import", str(tmp_path / "b.key"), stdin=f"{seed_of('bob').hex()}\n")
    assert told["address"] == BOB.address
    assert "not hexadecimal" in shell.refused("keys", "import", str(tmp_path / "c.key"), stdin="what?", code=2)
    assert not (tmp_path / "c.key").exists()


# Markets.


def test_energy_is_registered_read_settled_and_seen(shell, tmp_path):
    oracle = str(tmp_path / "oracle.key")
    shell.json("keys", "generate", oracle)
    who = ("--oracle-id", "solar-0", "--oracle-key", oracle)
    shell.json(
        "energy", "register", "--provider-id", "solar-roof", "--capacity-wh", "1000000", "--price-per-kwh", "2000",
        "--meter-address", "meter-1", "--jurisdiction", "US_CA", *who,
    )  # fmt: skip
    at = str(START_SECONDS + 30)
    for total in ("1000", "1250"):
        told = shell.json(
            "energy", "reading", "--provider-id", "solar-roof", "--total-wh", total, "--timestamp", at, *who
        )
        assert "energy.reading_submitted" in {event["name"] for event in told["events"]}
        at = str(int(at) + 1)
    (credit,) = shell.json("energy", "credits", "--provider-id", "solar-roof")["credits"]
    assert credit["amount_wh"] == "250"
    assert credit["credit_id"] in shell.text("energy", "credits")

    part = shell.json("energy", "settle", "--credit-id", credit["credit_id"], "--wh", "100", "--key", shell.key("bob"))
    assert part["events"][-1]["record"]["wh"] == "100"
    assert "energy.price_limit" in shell.refused(
        "energy", "settle", "--provider-id", "solar-roof", "--max-price-per-kwh", "1"
    )
    shell.json("energy", "settle", "--provider-id", "solar-roof")
    first, second = shell.json("energy", "receipts", "--provider-id", "solar-roof")["receipts"]
    assert (first["wh_delivered"], second["wh_delivered"], second["buyer"]) == ("150", "100", BOB.address)
    assert shell.json("energy", "credits", "--provider-id", "solar-roof")["credits"] == []
    assert shell.json("energy", "receipts", "--provider-id", "other")["receipts"] == []
    assert "solar-roof" in shell.text("energy", "providers")
    assert "solar-roof" in shell.text("energy", "receipts")
    assert shell.json("energy", "provider", "--provider-id", "solar-roof")["provider"]["state"] == "ACTIVE"


def test_generated_calls_take_amounts_flags_and_json(shell):
    offer = (
        "--member-key",
        ALICE.public_key.hex(),
        "--region",
        "eu",
        "--capacity-bytes",
        "1048576",
        "--price-per-block",
        "1",
    )
    shell.json("storage", "register-provider", "--provider-id", "disk-0", *offer, "--bond", "1BLOCK")
    shell.json("storage", "set-maintenance", "--provider-id", "disk-0", "--on")
    assert shell.json("storage", "provider", "--provider-id", "disk-0")["provider"]["bond"] == str(10**9)
    shell.json("storage", "set-maintenance", "--provider-id", "disk-0", "--off")
    assert "disk-0" in shell.text("storage", "providers")
    line = shell.refused(
        "energy", "register-provider", "--provider-id", "x", "--capacity-wh", "1", "--price-per-kwh", "1",
        "--meter-address", "m", "--jurisdiction", "US_CA", "--stake", "1000BLOCK", "--keys", '[{"oracle_id": "o"}]',
        code=2,
    )  # fmt: skip
    assert "$.keys[0]" in line


def test_a_job_is_posted_and_seen(shell):
    told = shell.json(
        "compute", "submit", "--slices", "2", "--digests", "1000", "--max-price", "5", "--algorithm", "sha256"
    )
    found = shell.json("compute", "result", told["job_id"])

    work = found["job"]["work"]
    assert (work["type"], work["seed"], work["algorithm"]) == ("HashWork", told["seed"], "SHA256")
    assert [piece["status"] for piece in found["slices"]] == ["OPEN", "OPEN"]
    assert told["job_id"] in shell.text("compute", "jobs")
    assert "not done in time" in shell.refused(
        "compute", "result", told["job_id"], "--follow", "--timeout", "0.3", code=3
    )


def test_headers_are_submitted_from_a_file_in_calls_of_a_hundred(shell, tmp_path):
    shell.json(
        "bridge", "register-relayer", "--relayer", "r-0", "--member-key", ALICE.public_key.hex(), "--asset", "wBTC",
        "--bond", "50BLOCK",
    )  # fmt: skip
    shell.json("bridge", "start-light-client", "--chain-id", "bitcoin", "--profile", "bitcoin/1")
    headers = real_headers()
    (tmp_path / "headers").write_bytes(b"".join(headers[:150]))
    told = shell.json("bridge", "submit-headers", str(tmp_path / "headers"), "--chain-id", "bitcoin")
    one = shell.json("bridge", "submit-header", headers[150].hex(), "--chain-id", "bitcoin")

    assert (told["headers"], len(told["transactions"]), one["state"]) == (150, 2, "success")
    assert shell.json("bridge", "headers", "--chain-id", "bitcoin", "--limit", "1")["client"]["tip_height"] == "151"
    assert "bitcoin" in shell.text("bridge", "clients")
    assert "no headers" in shell.refused("bridge", "submit-headers", "/dev/null", "--chain-id", "bitcoin", code=2)


@pytest.mark.parametrize(
    "data", [bytes(160), b"00" * 80 + b"\n\n" + b"00" * 80, b'{"headers": ["%s", "%s"]}' % (b"00" * 80, b"00" * 80)]
)
def test_files_of_headers_have_three_forms(data):
    assert parse_headers(data) == ["00" * 80] * 2


@pytest.mark.parametrize("data", [b"", bytes(81), b"xyz", b"{", b"{}", b'{"headers": "00"}', b'{"headers": ["x"]}'])
def test_what_are_no_headers_is_refused(data):
    with pytest.raises(ValueError, match=r".+"):
        parse_headers(data)


def test_a_file_is_stored_and_read_back(shell, tmp_path):
    source, target, key = tmp_path / "file", tmp_path / "back", tmp_path / "file.key"
    source.write_bytes(os.urandom(600_000))
    told = shell.json("storage", "put", str(source))

    assert told["content_key_file"] == str(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().strip() not in json.dumps(told)
    got = shell.json("storage", "get", told["manifest_id"], "--key", str(key), "-o", str(target))
    assert (got["size"], target.read_bytes()) == ("600000", source.read_bytes())
    assert "never overwritten" in shell.refused("storage", "put", str(source), code=2)


def test_an_object_that_cannot_be_read_leaves_no_file(shell, tmp_path):
    source, target = tmp_path / "file", tmp_path / "back"
    source.write_bytes(b"text")
    told = shell.json("storage", "put", str(source))
    wrong = shell.key("bob")

    assert "storage.integrity" in shell.refused(
        "storage", "get", told["manifest_id"], "--key", wrong, "-o", str(target)
    )
    assert "storage.unknown_manifest" in shell.refused("storage", "get", "ab" * 32, "--key", wrong, "-o", str(target))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "file.key"]


def test_funds_are_as_the_chain_was_given_them(shell):
    """What the other tests spend comes from alice and bob; the owner's is untouched."""
    assert shell.json("accounts", "show", Wallet(seed_of("owner")).address)["balance"] == str(FUNDS)
