"""Escrow: money that a rule holds for a purpose until another rule says whose it is.

An entry is named by its purpose and a key (``storage/bond``, the provider's id); holding again under the same
name adds to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from theblock_node.core.address import Address
from theblock_node.core.domain import Context, Domain, Reading
from theblock_node.core.domains import accounts, supply
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import U8, U64, MaxLen, add
from theblock_node.core.state import View

Purpose = Annotated[str, MaxLen(64)]
Key = Annotated[bytes, MaxLen(256)]

domain = Domain("escrow", service="Escrow")


@dataclass(frozen=True, slots=True)
class Entry:
    version: U8
    payer: Address
    """Who held first; a refund goes there."""
    amount: U64


ENTRIES = domain.table("escrow/entry", tuple[Purpose, Key], Entry)


@dataclass(frozen=True, slots=True)
class GetEntry:
    purpose: Purpose
    key: Key


@dataclass(frozen=True, slots=True)
class EntryReply:
    entry: Entry | None


def get_held(view: View, purpose: str, key: bytes) -> int:
    found = view.get(ENTRIES, (purpose, key))
    return 0 if found is None else found.amount


def hold(ctx: Context, purpose: str, key: bytes, payer: str, amount: int) -> None:
    """Take ``amount`` from ``payer``'s balance into the entry."""
    accounts.debit(ctx.draft, payer, amount)
    entry = ctx.draft.get(ENTRIES, (purpose, key)) or Entry(1, payer, 0)
    ctx.draft.put(ENTRIES, (purpose, key), replace(entry, amount=add(entry.amount, amount)))


def release(ctx: Context, purpose: str, key: bytes, to: str, amount: int) -> None:
    """Pay ``amount`` of the entry to ``to``."""
    _take(ctx, purpose, key, amount)
    accounts.credit(ctx.draft, to, amount)


def refund(ctx: Context, purpose: str, key: bytes) -> int:
    """Pay back all that is held; returns how much that was."""
    entry = ctx.draft.get(ENTRIES, (purpose, key))
    if entry is None:
        return 0
    release(ctx, purpose, key, entry.payer, entry.amount)
    return entry.amount  # type: ignore[no-any-return]


def burn(ctx: Context, purpose: str, key: bytes, amount: int) -> None:
    """Destroy ``amount`` of the entry."""
    _take(ctx, purpose, key, amount)
    supply.burn(ctx.draft, amount)


def _take(ctx: Context, purpose: str, key: bytes, amount: int) -> None:
    entry = ctx.draft.get(ENTRIES, (purpose, key))
    held = 0 if entry is None else entry.amount
    if entry is None or held < amount:
        raise InvalidTx("escrow.insufficient", purpose=purpose, held=held, needed=amount)
    if held == amount:
        ctx.draft.delete(ENTRIES, (purpose, key))
    else:
        ctx.draft.put(ENTRIES, (purpose, key), replace(entry, amount=held - amount))


@domain.query("entry", GetEntry, EntryReply)
def entry(reading: Reading, request: GetEntry) -> EntryReply:
    return EntryReply(reading.view.get(ENTRIES, (request.purpose, request.key)))
