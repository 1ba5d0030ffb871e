"""Storage providers in this process: real files, real gRPC with certificates, a chain that makes blocks on demand."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from theblock_node.client.chain import Committed
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.storage import StorageClient
from theblock_node.config import StorageSettings
from theblock_node.rpc.server import RpcServer, TlsFiles
from theblock_node.rpc.storage import StorageServicer
from theblock_node.services.storage.files import ShardFiles, open_files
from theblock_node.services.storage.neighbours import Neighbour, Neighbours
from theblock_node.services.storage.service import StorageService
from theblock_node.sim.dev_chain import DevChain

NETWORK = "dev"
CAPACITY = 64 * 2**20
BOND = str(64 * 10**9)
WAIT_S = 90


class Authority:
    """Certificates of one network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
        made = _builder(self._name, self._name, self._key).add_extension(x509.BasicConstraints(True, None), True)
        folder.mkdir(parents=True, exist_ok=True)
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, host: str, *, role: str = "storage_provider", network: str = NETWORK) -> Path:
        """A folder with the certificate and key of a member."""
        folder, key = self._folder / name, ec.generate_private_key(ec.SECP256R1())
        folder.mkdir()
        names = [
            x509.IPAddress(ipaddress.ip_address(host)),
            x509.UniformResourceIdentifier(f"theblock://{network}/{role}/{name}"),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _builder(subject, self._name, key).add_extension(x509.SubjectAlternativeName(names), False)
        (folder / "tls.crt").write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        (folder / "tls.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return folder

    def client(self, folder: Path) -> ClientTls:
        return ClientTls(self.ca, folder / "tls.crt", folder / "tls.key")


@dataclass
class Provider:
    """One provider; `start` and `kill` may follow each other."""

    name: str
    host: str
    dev: DevChain
    folder: Path
    certificate: Path
    authority: Authority
    settings: StorageSettings
    resource: str = "shelf"
    port: int = 0
    service: StorageService | None = None
    files: ShardFiles | None = None
    neighbours: Neighbours | None = None
    _server: RpcServer | None = None
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    async def start(self) -> None:
        wallet, client = self.dev.wallet(self.name), self.dev.client()
        self.files = open_files(self.folder, capacity_bytes=self.settings.capacity_bytes)
        self.neighbours = Neighbours(self.authority.client(self.certificate), self.dev.clock)
        tip = await client.tip()
        service = self.service = StorageService(
            settings=self.settings,
            provider_id=self.name,
            resource=self.resource,
            chain_id=tip.chain_id,
            chain=client,
            wallet=wallet,
            files=self.files,
            neighbours=self.neighbours,
            folder=self.folder / "uploads",
            clock=self.dev.clock,
        )
        self._server = RpcServer(
            network=NETWORK,
            host=self.host,
            port=26658,
            health_port=None,
            tls=TlsFiles(self.certificate, self.authority.ca),
            services=[StorageServicer(service, NETWORK).service()],
        )
        self.port = await self._server.start()

        async def follow() -> None:
            async for news in client.events(tip.finalized_height, final=True):
                if isinstance(news, Committed):
                    service.take(news)

        self._tasks = [asyncio.create_task(service.run()), asyncio.create_task(follow())]

    async def kill(self) -> None:
        """Stop at once, with nothing told to anybody."""
        tasks, self._tasks = self._tasks, []
        failed = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(0)
            self._server = None
        if self.neighbours is not None:
            await self.neighbours.close()
        if self.files is not None:
            self.files.close()
        for task in failed:
            task.result()

    @property
    def is_running(self) -> bool:
        return bool(self._tasks)

    @property
    def neighbour(self) -> Neighbour:
        return Neighbour(self.name, Endpoint(self.host, 26658), self.resource)


class Shelf:
    """Providers that know of each other, and a client for each."""

    def __init__(self, dev: DevChain, authority: Authority, providers: list[Provider], public: ClientTls) -> None:
        self.dev = dev
        self.authority = authority
        self.providers = providers
        self.public = public
        self._clients: list[StorageClient] = []

    def __iter__(self) -> Iterator[Provider]:
        return iter(self.providers)

    def __getitem__(self, index: int) -> Provider:
        return self.providers[index]

    def client(self, provider: Provider, tls: ClientTls | None = None) -> StorageClient:
        """A client of one provider; without a certificate unless ``tls`` says otherwise."""
        self._clients.append(StorageClient([Endpoint(provider.host, 26658)], tls or self.public))
        return self._clients[-1]

    def introduce(self) -> None:
        """Tell each provider of all."""
        for provider in self.providers:
            if provider.neighbours is not None:
                provider.neighbours.set(other.neighbour for other in self.providers)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Make blocks until it is so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self.dev.produce()
                await asyncio.sleep(0.05)

    async def until_asked(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """Make blocks until the answer is yes."""
        async with asyncio.timeout(WAIT_S):
            while not await is_so():
                self.dev.produce()
                await asyncio.sleep(0.05)

    async def while_blocks(self, work: Any) -> Any:
        """The result of ``work``, while blocks are made."""
        task = asyncio.ensure_future(work)
        await self.until(task.done)
        return task.result()

    async def register(self, *providers: Provider, **terms: Any) -> None:
        client, owner = self.dev.client(), self.dev.wallet("owner")
        for provider in providers:
            offer = {
                "provider_id": provider.name,
                "member_key": self.dev.wallet(provider.name).public_key.hex(),
                "region": provider.settings.region,
                "capacity_bytes": str(provider.settings.capacity_bytes),
                "price_per_block": provider.settings.price_per_block,
                "bond": BOND,
                **terms,
            }
            await self.while_blocks(client.call(owner, "storage.register_provider", offer, final=True))

    async def set_maintenance(self, provider: Provider, on: bool) -> None:
        command = {"provider_id": provider.name, "on": on}
        owner = self.dev.wallet("owner")
        await self.while_blocks(self.dev.client().call(owner, "storage.set_maintenance", command, final=True))

    async def contract(self, contract_id: str) -> dict[str, Any]:
        return await self.dev.client().query("storage.contract", {"id": contract_id})

    async def slots(self, contract_id: str) -> dict[str, list[int]]:
        """Slots that the chain says each provider holds."""
        replicas = (await self.contract(contract_id))["replicas"]
        return {row["provider_id"]: row["slots"] for row in replicas if row["status"] in (0, "HELD", "held")}

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        for provider in self.providers:
            if provider.is_running:
                await provider.kill()


@asynccontextmanager
async def shelf(
    dev: DevChain, folder: Path, *, count: int, subnet: str, register: bool = True, **settings: Any
) -> AsyncIterator[Shelf]:
    """So many running, registered providers ``shelf-0`` and so on."""
    authority = Authority(folder / "ca")
    given = StorageSettings(**{"capacity_bytes": CAPACITY, "repair_interval_seconds": 5, **settings})
    providers = []
    for at in range(count):
        host, name = f"{subnet}.{at + 51}", f"shelf-{at}"
        certificate = authority.issue(name, host)
        providers.append(Provider(name, host, dev, folder / name, certificate, authority, given))
    made = Shelf(dev, authority, providers, ClientTls(authority.ca))
    try:
        for provider in providers:
            await provider.start()
        made.introduce()
        if register:
            await made.register(*providers)
        yield made
    finally:
        await made.close()


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
