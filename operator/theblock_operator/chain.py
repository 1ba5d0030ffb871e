"""The only module that talks to pods: what members say of themselves, what the chain says, commands to it.

Answers are shared: within a second the same question is asked once, however many resources want it. Silence is an
answer of its own and never an exception.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from theblock_node.client import keys as node_keys
from theblock_node.client.chain import ChainClient
from theblock_node.client.channel import ClientTls, Endpoint
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.node import NodeClient
from theblock_node.client.wallet import Wallet

from theblock_operator import acts
from theblock_operator.events import Reason
from theblock_operator.kinds import chain_names
from theblock_operator.observed import (
    Account,
    Call,
    Chain,
    NodeStatus,
    Object,
    Query,
    Seat,
    Signer,
    Stake,
    ValidatorSet,
)

log = logging.getLogger(__name__)
T = TypeVar("T")
FRESH_S = 1.0
MEMBER_DEADLINE_S = 2.0
PARALLEL = 16
PAGES_MAX = 20
SNAPSHOT_TRIES = 5
EARLIER_BLOCKS = 2
"""A command that is in a pool when an operator goes stands in a block so many blocks later, or was refused."""
CALLS_KEPT_S = 600
GRPC_PORT = 26658
ANSWER_S = 6.0


@dataclass(frozen=True, slots=True)
class Where:
    """How a member is reached."""

    host: str
    name: str
    """What its certificate is for."""


@dataclass(slots=True)
class _Cached:
    at: float
    value: Any


@dataclass(frozen=True, slots=True)
class _Answer:
    """A reply, and the block that it is true of."""

    height: int
    reply: Object


@dataclass(slots=True)
class _Sent:
    """A command on its way."""

    tx_id: str
    state: str
    at: int
    why: str
    event: Reason | None
    """Told once the command is final."""
    code: str = ""
    is_told: bool = False


@dataclass(slots=True)
class NetworkLink:
    """One network: its chain through any validator, and its members."""

    chain: ChainClient
    tls: ClientTls
    members: dict[str, NodeClient] = field(default_factory=dict)
    cached: dict[str, _Cached] = field(default_factory=dict)
    asking: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    sent: dict[str, _Sent] = field(default_factory=dict)
    silent_since: float | None = None
    finalized: int = -1
    finalized_since: int = 0
    first_head: int = -1
    """Height of the head when this operator first heard of it; 0 where it has sealed the genesis itself."""

    @property
    def knows_earlier_commands(self) -> bool:
        """Whether all that an operator before this one may have sent shows in what is final, or never will."""
        return self.first_head >= 0 and (self.first_head == 0 or self.finalized >= self.first_head + EARLIER_BLOCKS)


class Links:
    """All networks that the operator looks after."""

    def __init__(self, monotonic: Callable[[], float], now: Callable[[], int]) -> None:
        self._monotonic = monotonic
        self._now = now
        self._links: dict[tuple[str, str], NetworkLink] = {}
        self._begun: set[tuple[str, str]] = set()
        self._slots = asyncio.Semaphore(PARALLEL)

    async def close(self) -> None:
        for link in self._links.values():
            await link.chain.close()
            for member in link.members.values():
                await member.close()
        self._links.clear()

    def begin(self, network: tuple[str, str]) -> None:
        """This operator has sealed the network's genesis: nobody has sent it anything before."""
        self._begun.add(network)

    def open(self, network: tuple[str, str], validators: Sequence[Where], folder: Path) -> NetworkLink | None:
        """The link of a network whose certificates stand in ``folder``; None while no validator is known."""
        if not validators or not (folder / "tls.crt").exists():
            return None
        endpoints = [Endpoint(where.host, GRPC_PORT) for where in validators]
        hosts = {where.host: where.name for where in validators}
        link = self._links.get(network)
        if link is None:
            tls = ClientTls(folder / "ca.crt", folder / "tls.crt", folder / "tls.key")
            link = self._links[network] = NetworkLink(
                ChainClient(endpoints, tls, names=lambda endpoint: self._names(network).get(endpoint.host)),
                tls,
                first_head=0 if network in self._begun else -1,
            )
        link.cached["hosts"] = _Cached(0, hosts)
        link.chain.channels.set_endpoints(endpoints)
        return link

    async def member_status(self, link: NetworkLink, member: str, where: Where) -> NodeStatus | None:
        """What a member says of itself; None if it is silent."""

        async def ask() -> NodeStatus | None:
            try:
                async with self._slots:
                    got = await self._member(link, member, where).status(deadline_s=MEMBER_DEADLINE_S)
            except (UnavailableError, RefusedError) as failed:
                log.debug("%s does not answer: %s", member, failed)
                return None
            return NodeStatus(
                role=got.role,
                version=got.version,
                genesis_hash=got.genesis_hash,
                height=got.height,
                finalized_height=got.finalized_height,
                peers=got.peers,
                in_sync=got.in_sync,
                signer=Signer(got.signer_floor, got.fencing_epoch, got.signer_state or "signing"),
                cert_not_after=got.cert_not_after,
                cert_fingerprint=got.cert_fingerprint,
                details={**got.details, "draining": got.draining, "drained": got.drained, "drain_left": got.drain_left},
            )

        status: NodeStatus | None = await self._shared(link, f"member/{member}", ask)
        return status

    async def possession(self, link: NetworkLink, member: str, where: Where, provider_id: str, key_version: int) -> str:
        """An oracle's signature that it holds its key, for a provider, hex."""
        _, signature = await self._member(link, member, where).prove_possession(provider_id, member, key_version)
        return signature.hex()

    async def observe(self, link: NetworkLink, addresses: Sequence[str], queries: Sequence[Query]) -> Chain | None:
        """The chain as of its last final block; None if it is silent."""
        try:
            async with asyncio.timeout(ANSWER_S):
                tip = await self._shared(link, "tip", link.chain.tip)
                always = (Query(chain_names.VALIDATORS_STAKES), Query(chain_names.VALIDATORS_SET))
                asked = [Query("accounts.account", {"address": address}) for address in addresses]
                final_height, replies = await self._snapshot(link, (*always, *queries, *asked))
                stakes, current, *records = replies[: len(always) + len(queries)]
                found = await self._accounts(link, asked, replies[len(always) + len(queries) :])
                await self._follow_sent(link)
        except (UnavailableError, TimeoutError) as failed:
            log.debug("the chain does not answer: %s", failed)
            link.silent_since = link.silent_since or self._monotonic()
            return None
        link.silent_since = None
        link.first_head = tip.height if link.first_head < 0 else link.first_head
        if final_height != link.finalized:
            link.finalized, link.finalized_since = final_height, self._now()
        return Chain(
            height=tip.height,
            finalized_height=final_height,
            justified_height=int(current["justified"]["height"]),
            finalized_since=link.finalized_since,
            epoch=int(current["epoch"]),
            base_fee=tip.base_fee,
            accounts={address: account for address, account in zip(addresses, found, strict=True) if account},
            stakes=tuple(_stakes(stakes)),
            validator_set=_validator_set(current),
            records={query.key or query.name: reply for query, reply in zip(queries, records, strict=True)},
            calls={
                key: Call(sent.state, sent.at, sent.code, sent.tx_id)  # type: ignore[arg-type]
                for key, sent in link.sent.items()
            },
        )

    async def send(self, link: NetworkLink, act: acts.ChainCall, seed: bytes, filled: Mapping[str, Any]) -> None:
        """Send a command once: not while the same one is under way. ``filled`` are its arguments, complete."""
        await self._send(link, act, Wallet(seed), act.name, filled)

    async def identity_proof(self, link: NetworkLink, seed: bytes, owner: str) -> str:
        """The signature with which a validator's key takes its owner, hex."""
        tip = await self._shared(link, "tip", link.chain.tip)
        return node_keys.validator_proof(seed, owner, tip.chain_id).hex()

    async def transfer(self, link: NetworkLink, act: acts.Transfer, seed: bytes) -> None:
        arguments = {"to": act.to, "amount_consumer": str(act.amount), "amount_industrial": "0"}
        await self._send(link, act, Wallet(seed), "accounts.transfer", arguments)

    def take_news(self, link: NetworkLink, resource_uid: str) -> list[tuple[Reason, str]]:
        """What became of the commands of a resource since this was last asked."""
        news = []
        for key, sent in link.sent.items():
            if sent.state == "pending" or sent.is_told or not key.startswith(f"{resource_uid}/"):
                continue
            sent.is_told = True
            if sent.state == "refused":
                news.append((Reason.CommandRefused, f"{sent.why}: the chain refuses it, {sent.code}"))
            elif sent.event is not None:
                news.append((sent.event, sent.why))
        return news

    async def drain(self, link: NetworkLink, member: str, where: Where, on: bool) -> None:
        await self._member(link, member, where).drain(on)
        link.cached.pop(f"member/{member}", None)

    def _member(self, link: NetworkLink, member: str, where: Where) -> NodeClient:
        if member not in link.members:
            link.members[member] = NodeClient(Endpoint(where.host, GRPC_PORT), link.tls, name=where.name)
        return link.members[member]

    async def _send(
        self,
        link: NetworkLink,
        act: acts.ChainCall | acts.Transfer,
        wallet: Wallet,
        call: str,
        arguments: Mapping[str, Any],
    ) -> None:
        known = link.sent.get(act.key)
        if (known is not None and known.state == "pending") or not link.knows_earlier_commands:
            return
        event = act.event if isinstance(act, acts.ChainCall) else None
        try:
            signed = await link.chain.send(wallet, call, arguments, memo=act.key.encode()[:1024])
        except RefusedError as refused:
            link.sent[act.key] = _Sent("", "refused", self._now(), act.why, event, refused.code)
            log.warning("the chain refuses %s: %s", call, refused)
            return
        link.sent[act.key] = _Sent(signed.tx_id.hex(), "pending", self._now(), act.why, event)

    async def _follow_sent(self, link: NetworkLink) -> None:
        """See what became of the commands on their way; forget what is long over."""
        now = self._now()
        for key, sent in list(link.sent.items()):
            if sent.state != "pending":
                if now - sent.at > CALLS_KEPT_S:
                    del link.sent[key]
                continue
            status = await self._shared(link, f"tx/{sent.tx_id}", partial(link.chain.status, sent.tx_id))
            if status.state == "failed" and status.final:
                sent.state, sent.at, sent.code = "refused", now, status.error_code
            elif status.state == "success" and status.final:
                sent.state, sent.at = "final", now
            elif status.state == "unknown" and now - sent.at > 60:
                # It fell out of every pool; its effect is looked for in the state, and it may be sent again.
                del link.sent[key]

    async def _snapshot(self, link: NetworkLink, queries: Sequence[Query]) -> tuple[int, list[Object]]:
        """Replies that are true of one and the same final block, and its height.

        What was asked before the newest of them is asked again: a balance that a command has taken from, beside
        records that do not show the command yet, would look like missing money.
        """
        for _ in range(SNAPSHOT_TRIES):
            answers = await asyncio.gather(*(self._answer(link, query) for query in queries))
            newest = max(answer.height for answer in answers)
            stale = [query for query, answer in zip(queries, answers, strict=True) if answer.height != newest]
            if not stale:
                return newest, [answer.reply for answer in answers]
            for query in stale:
                link.cached.pop(_question(query, final=True), None)
        raise UnavailableError("the chain moves on faster than it answers")

    async def _accounts(
        self, link: NetworkLink, asked: Sequence[Query], certain: Sequence[Object]
    ) -> list[Account | None]:
        """What accounts have for certain, or have at the head while commands are under way, whichever is more.

        Money that has come is of use at once, and money that was spent shows when what it was spent on shows too.
        """
        replies = [certain]
        if any(sent.state == "pending" for sent in link.sent.values()):
            coming = await asyncio.gather(*(self._answer(link, query, final=False) for query in asked))
            replies.append([answer.reply for answer in coming])
        return [_richest(each) for each in zip(*replies, strict=True)]

    async def _answer(self, link: NetworkLink, query: Query, *, final: bool = True) -> _Answer:
        """The reply to a query, its pages put together; empty, with a line in the log, where it is refused."""

        async def ask() -> _Answer:
            if query.page is None:
                return _Answer(*await link.chain.query_at(query.name, query.request, final=final))
            rows_field, id_field = query.page
            joined: Object = {}
            request, heights = dict(query.request), []
            for _ in range(PAGES_MAX):
                height, reply = await link.chain.query_at(query.name, request, final=final)
                heights.append(height)
                rows = reply.get(rows_field, [])
                joined = {**reply, rows_field: [*joined.get(rows_field, []), *rows]}
                if not rows or len(rows) < 1000:
                    break
                request["after"] = rows[-1][id_field]
            # Pages of different blocks are of none.
            return _Answer(heights[0] if len(set(heights)) == 1 else 0, joined)

        try:
            answer: _Answer = await self._shared(link, _question(query, final=final), ask)
            return answer
        except RefusedError as refused:
            log.error("the chain refuses the query %s: %s", query.name, refused)
            return _Answer((await self._shared(link, "tip", link.chain.tip)).finalized_height, {})

    async def _shared(self, link: NetworkLink, name: str, ask: Callable[[], Any]) -> Any:
        """The answer to a question that was asked within the last second, or is being asked, or asked now."""
        cached = link.cached.get(name)
        if cached is not None and self._monotonic() - cached.at < FRESH_S:
            return cached.value
        task = link.asking.get(name)
        if task is None:
            task = link.asking[name] = asyncio.ensure_future(ask())
            task.add_done_callback(partial(self._keep, link, name))
        return await asyncio.shield(task)

    def _keep(self, link: NetworkLink, name: str, done: asyncio.Task[Any]) -> None:
        link.asking.pop(name, None)
        if not done.cancelled() and done.exception() is None:
            link.cached[name] = _Cached(self._monotonic(), done.result())
        now = self._monotonic()
        for old in [key for key, cached in link.cached.items() if key != "hosts" and now - cached.at > 60]:
            del link.cached[old]

    def _names(self, network: tuple[str, str]) -> Mapping[str, str]:
        link = self._links.get(network)
        hosts = link.cached.get("hosts") if link else None
        return hosts.value if hosts else {}


def _question(query: Query, *, final: bool) -> str:
    return f"{'final' if final else 'head'}/{query.name}/{json.dumps(query.request, sort_keys=True)}"


def _richest(replies: Sequence[Object]) -> Account | None:
    found = [reply["account"] for reply in replies if reply.get("account") is not None]
    return Account(max(int(one["balance"]) for one in found), int(found[0]["nonce"])) if found else None


def _stakes(reply: Object) -> list[Stake]:
    """One row for each role that an identity has bonded in."""
    made = []
    for row in reply.get("stakes", ()):
        common = {"id": row["validator"], "owner": row["owner"], "tombstoned": row["tombstoned"]}
        if not row["roles"]:
            made.append(Stake(role=0, amount=0, **common))
        for role in row["roles"]:
            waiting = role["unbonding"]
            made.append(
                Stake(
                    role=chain_names.ROLES.index(role["role"]),
                    amount=int(role["bonded"]),
                    unbonding=sum(int(part["amount"]) for part in waiting),
                    unbonding_until=max((int(part["release_epoch"]) for part in waiting), default=0),
                    **common,
                )
            )
    return made


def _validator_set(reply: Object) -> ValidatorSet | None:
    found = reply.get("current")
    if found is None:
        return None
    voters = set(reply.get("voters", ()))
    seats = tuple(Seat(row["id"], int(row["weight"]), row["id"] in voters) for row in found["members"])
    return ValidatorSet(int(found["epoch"]), seats)
