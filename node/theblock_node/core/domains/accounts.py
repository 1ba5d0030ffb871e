"""Accounts: balances and nonces; one token, counted in nBLOCK."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Annotated

from theblock_node.core.address import Address, is_system_address, shard_of
from theblock_node.core.domain import Context, Domain, Reading
from theblock_node.core.errors import InvalidTx
from theblock_node.core.numeric import U8, U32, U64, Bytes32, MaxLen, add
from theblock_node.core.state import Draft, View, get_page

PAGE_MAX = 1000

domain = Domain("accounts", service="Accounts")


class AccountKind(IntEnum):
    KEY = 0
    MULTISIG = 1
    CONTRACT = 2
    SYSTEM = 3


@dataclass(frozen=True, slots=True)
class AccountAuth:
    """Keys of a multisig account; a key account has none, its key is in the address."""

    keys: Annotated[tuple[Bytes32, ...], MaxLen(32)] = ()
    threshold: U8 = 0
    pq_key: Annotated[bytes, MaxLen(4096)] | None = None


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """A delegated key; none can be issued yet."""

    public_key: Bytes32
    expires_at: U64
    nonce: U64


@dataclass(frozen=True, slots=True)
class RoleBond:
    role: U8
    amount: U64


@dataclass(frozen=True, slots=True)
class Account:
    version: U8
    address: Address
    balance: U64
    nonce: U64
    """Of the last executed transaction; the next one's is one more."""
    kind: AccountKind = AccountKind.KEY
    auth: AccountAuth = AccountAuth()
    sessions: Annotated[tuple[SessionPolicy, ...], MaxLen(64)] = ()
    rebate: U64 = 0
    bonded: Annotated[tuple[RoleBond, ...], MaxLen(16)] = ()
    """What the account has bonded, by ascending role, without zeros."""


ACCOUNTS = domain.table("accounts/account", Address, Account, shard_of=shard_of)


@dataclass(frozen=True, slots=True)
class Transfer:
    """Pay ``amount_consumer + amount_industrial``; the split says through which lane it is routed."""

    to: Address
    amount_consumer: U64
    amount_industrial: U64


@domain.event
@dataclass(frozen=True, slots=True)
class Transferred:
    source: Address
    to: Address
    amount: U64


@dataclass(frozen=True, slots=True)
class GetAccount:
    address: Address


@dataclass(frozen=True, slots=True)
class AccountReply:
    account: Account | None


@dataclass(frozen=True, slots=True)
class ListAccounts:
    """At most ``limit`` accounts (0: 100) after the address ``after``."""

    after: Annotated[str, MaxLen(69)]
    limit: U32


@dataclass(frozen=True, slots=True)
class AccountPage:
    accounts: Annotated[tuple[Account, ...], MaxLen(PAGE_MAX)]


def get_account(view: View, address: str) -> Account:
    """The account of an address; one that was never paid has nothing."""
    found = view.get(ACCOUNTS, address)
    if found is not None:
        return found  # type: ignore[no-any-return]
    kind = AccountKind.SYSTEM if is_system_address(address) else AccountKind.KEY
    return Account(1, address, 0, 0, kind)


def get_balance(view: View, address: str) -> int:
    return get_account(view, address).balance


def get_nonce(view: View, address: str) -> int:
    return get_account(view, address).nonce


def credit(draft: Draft, address: str, amount: int) -> None:
    account = get_account(draft, address)
    draft.put(ACCOUNTS, address, replace(account, balance=add(account.balance, amount)))


def debit(draft: Draft, address: str, amount: int) -> None:
    account = get_account(draft, address)
    if account.balance < amount:
        raise InvalidTx("accounts.insufficient_balance", address=address, balance=account.balance, needed=amount)
    draft.put(ACCOUNTS, address, replace(account, balance=account.balance - amount))


def move(ctx: Context, source: str, target: str, amount: int) -> None:
    if amount == 0:
        return
    debit(ctx.draft, source, amount)
    credit(ctx.draft, target, amount)


def change_bond(draft: Draft, address: str, role: int, change: int) -> None:
    """Note that an account bonds more or less in a role; the money moves elsewhere."""
    account = get_account(draft, address)
    bonds = {bond.role: bond.amount for bond in account.bonded}
    bonds[role] = bonds.get(role, 0) + change
    assert bonds[role] >= 0
    kept = tuple(RoleBond(at, amount) for at, amount in sorted(bonds.items()) if amount)
    draft.put(ACCOUNTS, address, replace(account, bonded=kept))


@domain.rule(Transfer)
def transfer(ctx: Context, command: Transfer) -> None:
    amount = add(command.amount_consumer, command.amount_industrial)
    if amount == 0:
        raise InvalidTx("accounts.zero_amount")
    if is_system_address(command.to):
        raise InvalidTx("accounts.system_receiver", to=command.to)
    move(ctx, ctx.sender, command.to, amount)
    ctx.emit(Transferred(ctx.sender, command.to, amount))


@domain.query("account", GetAccount, AccountReply)
def account(reading: Reading, request: GetAccount) -> AccountReply:
    return AccountReply(reading.view.get(ACCOUNTS, request.address))


@domain.query("list", ListAccounts, AccountPage)
def list_accounts(reading: Reading, request: ListAccounts) -> AccountPage:
    rows = get_page(reading.view, ACCOUNTS, request.after or None, min(request.limit or 100, PAGE_MAX))
    return AccountPage(tuple(row for _, row in rows))
