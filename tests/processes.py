"""Validator processes on loopback addresses, as the embedded run starts them: files, start, kill, status."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.core.address import address_of
from theblock_node.core.crypto import SigningKey, blake3

PORTS = {"grpc": 26658, "p2p": 26656, "health": 26659, "metrics": 9898, "http": 8080}
STAKE = "1000000000000"
QUICK_MS = 400
"""Time of a block where a test waits for blocks, and is not about their time."""


@dataclass
class Process:
    """One validator: its files, and the process while it runs."""

    name: str
    host: str
    key: SigningKey
    folder: Path
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(
                [sys.executable, "-m", "theblock_node", "validator", "--config", str(self.folder / "config.json")],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.running is not None
        self.running.send_signal(signal.SIGKILL)
        self.running.wait(10)
        self.running = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)
        code = self.running.wait(20)
        self.running = None
        return code

    def cpu_seconds(self) -> float:
        assert self.running is not None
        fields = Path(f"/proc/{self.running.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> int:
        assert self.running is not None
        return int(Path(f"/proc/{self.running.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.host, PORTS["grpc"])


def make_network(
    folder: Path, *, subnet: str, count: int, funded: tuple[str, ...] = (), block_time_ms: int = 1000
) -> tuple[list[Process], ClientTls]:
    """The files of a network whose genesis is now, and an administrator's certificate; nothing runs yet."""
    authority, authority_key = _make_authority()
    (folder / "ca").mkdir(parents=True)
    (folder / "ca" / "ca.crt").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "admin").mkdir()
    _write_leaf(folder / "admin", authority, authority_key, f"{subnet}.254", uri="theblock://test/admin/tests")
    seeds = [blake3(f"process {number}".encode()) for number in range(count)]
    processes = [
        Process(f"validators-{number}", f"{subnet}.{number + 1}", SigningKey.from_seed(seed), folder / f"v{number}")
        for number, seed in enumerate(seeds)
    ]
    genesis = {
        "version": 1,
        "preset": "devnet",
        "chain_id": 1_000_001,
        "overrides": {"block_time_ms": str(block_time_ms)},
        "params": {},
        "time_seconds": int(time.time()),
        "allocations": [{"address": address, "amount": str(10**15)} for address in funded],
        "funder": None,
        "validators": [
            {
                "name": process.name,
                "public_key": process.key.public_key.hex(),
                "owner": address_of(process.key.public_key),
                "stake": STAKE,
            }
            for process in processes
        ],
    }
    (folder / "genesis.json").write_text(json.dumps(genesis))
    peers = [
        {
            "name": process.name,
            "role": "validator",
            "resource": "validators",
            "host": process.host,
            "p2p": PORTS["p2p"],
            "grpc": PORTS["grpc"],
            "peer_id": process.key.public_key.hex(),
        }
        for process in processes
    ]
    (folder / "peers.json").write_text(json.dumps({"peers": peers}))
    for number, (process, seed) in enumerate(zip(processes, seeds, strict=True)):
        (process.folder / "tls").mkdir(parents=True)
        (process.folder / "node.key").write_text(seed.hex())
        _write_leaf(process.folder / "tls", authority, authority_key, process.host)
        (process.folder / "config.json").write_text(json.dumps(_config(folder, process, number)))
    return processes, ClientTls(folder / "ca" / "ca.crt")


def _config(folder: Path, process: Process, number: int) -> dict[str, object]:
    own = process.folder
    return {
        "role": "validator",
        "kind": "Validator",
        "network": "test",
        "namespace": "theblock",
        "resource": "validators",
        "member": process.name,
        "ordinal": number,
        "chain": {"genesis": str(folder / "genesis.json"), "genesis_hash": None},
        "paths": {
            "key": str(own / "node.key"),
            "signing": None,
            "tls": str(own / "tls"),
            "ca": str(folder / "ca" / "ca.crt"),
            "peers": str(folder / "peers.json"),
            "data": str(own / "data"),
            "run": str(own / "run"),
        },
        "listen": {"host": process.host, **PORTS},
        "advertise": process.host,
        "owner": address_of(process.key.public_key),
        "fencing_epoch": 1,
        "allow_solo": False,
        "bootstrap_peers": [],
        "log_level": "info",
        "settings": {"mempool_max_entries": 50_000, "snapshot_interval_blocks": 1024},
    }


def _make_authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
    made = _builder(name, name, key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
    return made.sign(key, hashes.SHA256()), key


def _write_leaf(
    folder: Path, authority: x509.Certificate, key: ec.EllipticCurvePrivateKey, host: str, *, uri: str | None = None
) -> None:
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    uris = [x509.UniformResourceIdentifier(uri)] if uri else []
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host)), *uris])
    leaf = _builder(name, authority.subject, leaf_key.public_key()).add_extension(names, critical=False)
    (folder / "tls.crt").write_bytes(leaf.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
