"""Which transactions wait for a block: bounded, in nonce order for each sender, the best paying first.

Pure: the time, the account and the base fee are handed in. `service.py` asks; nothing changes here before every
check has passed, so a refused transaction never costs another its place.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from theblock_node.core.errors import InvalidTx
from theblock_node.core.tx import NO_EXPIRY, CheckedTx, FeeLane


@dataclass(frozen=True, slots=True)
class Limits:
    """A node's own policy; two nodes may differ."""

    entries_max: int = 50_000
    bytes_max: int = 64 * 2**20
    pending_max: int = 64
    """Waiting transactions of one account."""
    ttl_ms: int = 1_800_000
    floor_milli: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Least tip in milli-nBLOCK per vbyte by lane while the pool is at most half full."""
    floor_full_milli: tuple[int, int, int, int] = (10_000, 20_000, 20_000, 10_000)
    """The same when the pool is full; in between it rises evenly."""
    bump_percent: int = 10
    """By how much a replacement must pay better."""


@dataclass(frozen=True, slots=True)
class Account:
    balance: int
    nonce: int
    """Of the last executed transaction."""


@dataclass(frozen=True, slots=True)
class Entry:
    tx: CheckedTx
    data: bytes
    """The envelope as it came, to be passed on."""
    score: int
    reserved: int
    added_ms: int
    sequence: int

    @property
    def sender(self) -> str:
        return self.tx.payload.from_

    @property
    def nonce(self) -> int:
        return self.tx.payload.nonce


def compute_score(tx: CheckedTx) -> int:
    """Tip in milli-nBLOCK per vbyte; gas and bytes count by whichever the block runs out of first."""
    return tx.payload.tip * 1000 // max(tx.size, tx.payload.gas_limit // 2)


@dataclass(slots=True)
class Pool:
    limits: Limits
    _by_id: dict[bytes, Entry] = field(default_factory=dict)
    _by_sender: dict[str, dict[int, Entry]] = field(default_factory=dict)
    _worst: list[tuple[int, int, bytes]] = field(default_factory=list)
    """A heap of (score, -sequence, id), entries that left included until they surface."""
    _size: int = 0
    _sequence: int = 0

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, tx_id: object) -> bool:
        return tx_id in self._by_id

    @property
    def size(self) -> int:
        """Bytes of all envelopes."""
        return self._size

    def get(self, tx_id: bytes) -> Entry | None:
        return self._by_id.get(tx_id)

    def entries(self) -> Iterator[Entry]:
        return iter(self._by_id.values())

    def pending_nonce(self, sender: str, account_nonce: int) -> int:
        """The last nonce that is taken, counting those that wait without a gap."""
        waiting = self._by_sender.get(sender, {})
        while account_nonce + 1 in waiting:
            account_nonce += 1
        return account_nonce

    def compute_floor(self, lane: FeeLane) -> int:
        """Least score that is admitted now."""
        low, high = self.limits.floor_milli[lane], self.limits.floor_full_milli[lane]
        fill_ppm = max(
            len(self._by_id) * 1_000_000 // self.limits.entries_max, self._size * 1_000_000 // self.limits.bytes_max
        )
        return low + (high - low) * max(0, fill_ppm - 500_000) // 500_000

    def admit(
        self,
        tx: CheckedTx,
        data: bytes,
        account: Account | None,
        *,
        spends: int,
        base_fee: int,
        height: int,
        now_ms: int,
        check_signature: Callable[[CheckedTx], None],
    ) -> Entry:
        """Add ``tx`` or refuse it; ``spends`` is what its call takes from the sender beside the fee."""
        payload = tx.payload
        if tx.id in self._by_id:
            raise InvalidTx("mempool.duplicate", tx_id=tx.id.hex())
        if payload.expires_at_height != NO_EXPIRY and payload.expires_at_height <= height:
            raise InvalidTx("tx.expired", expires_at_height=payload.expires_at_height, height=height)
        if account is None:
            raise InvalidTx("mempool.unknown_sender", sender=payload.from_)
        score = compute_score(tx)
        floor = self.compute_floor(payload.lane)
        if score < floor:
            raise InvalidTx("mempool.fee_below_floor", score_milli=score, floor_milli=floor)
        needed = payload.gas_limit * base_fee + payload.tip
        if payload.max_fee < needed:
            raise InvalidTx("mempool.fee_too_low", max_fee=payload.max_fee, needed=needed)
        waiting = self._by_sender.get(payload.from_, {})
        replaced = self._check_replacement(waiting.get(payload.nonce), score, payload.max_fee)
        if replaced is None:
            self._check_nonce(payload.from_, payload.nonce, account, len(waiting))
        reserved = payload.max_fee + spends
        total = sum(entry.reserved for entry in waiting.values()) - (replaced.reserved if replaced else 0) + reserved
        if total >= 2**64:
            raise InvalidTx("mempool.balance_overflow", reserved=total)
        if account.balance < total:
            raise InvalidTx("mempool.insufficient_balance", balance=account.balance, needed=total)
        check_signature(tx)
        victim = self._check_room(payload.from_, score, len(data), replaced)

        if replaced is not None:
            self._remove(replaced)
        if victim is not None:
            self.drop(victim)
        self._sequence += 1
        entry = Entry(tx, data, score, reserved, now_ms, self._sequence)
        self._insert(entry)
        return entry

    def drop(self, entry: Entry) -> list[Entry]:
        """Remove an entry and the sender's later ones, which could not be executed without it."""
        waiting = self._by_sender.get(entry.sender, {})
        gone = [waiting[nonce] for nonce in sorted(waiting) if nonce >= entry.nonce]
        for each in gone:
            self._remove(each)
        return gone

    def settle(self, sender: str, account_nonce: int) -> None:
        """Forget what ``sender`` has meanwhile executed."""
        waiting = self._by_sender.get(sender, {})
        for nonce in [nonce for nonce in waiting if nonce <= account_nonce]:
            self._remove(waiting[nonce])

    def expire(self, *, height: int, now_ms: int) -> list[Entry]:
        """Remove what waited too long or may no longer be executed."""
        late = [entry for entry in self._by_id.values() if self._is_late(entry, height, now_ms)]
        return [gone for entry in late if entry.tx.id in self._by_id for gone in self.drop(entry)]

    def select(
        self, nonce_of: Callable[[str], int], *, base_fee: int, gas_max: int, bytes_max: int, count_max: int
    ) -> list[CheckedTx]:
        """What the next block should hold: by score, each sender in nonce order, within the limits."""
        heads: list[tuple[int, int, str, int]] = []
        for sender, waiting in self._by_sender.items():
            self._push_head(heads, waiting.get(nonce_of(sender) + 1))
        heapq.heapify(heads)
        chosen: list[CheckedTx] = []
        gas = size = 0
        while heads and len(chosen) < count_max:
            _, _, sender, nonce = heapq.heappop(heads)
            tx = self._by_sender[sender][nonce].tx
            payload = tx.payload
            if payload.max_fee < payload.gas_limit * base_fee + payload.tip:
                continue
            if gas + payload.gas_limit > gas_max or size + tx.size > bytes_max:
                continue
            chosen.append(tx)
            gas += payload.gas_limit
            size += tx.size
            following = self._by_sender[sender].get(nonce + 1)
            if following is not None:
                heapq.heappush(heads, (-following.score, following.sequence, sender, nonce + 1))
        return chosen

    @staticmethod
    def _push_head(heads: list[tuple[int, int, str, int]], entry: Entry | None) -> None:
        if entry is not None:
            heads.append((-entry.score, entry.sequence, entry.sender, entry.nonce))

    def _check_replacement(self, old: Entry | None, score: int, max_fee: int) -> Entry | None:
        if old is None:
            return None
        bumped = score * 100 >= old.score * (100 + self.limits.bump_percent) and score > old.score
        if not bumped or max_fee < old.tx.payload.max_fee:
            raise InvalidTx("mempool.duplicate", nonce=old.nonce, tx_id=old.tx.id.hex())
        return old

    def _check_nonce(self, sender: str, nonce: int, account: Account, pending: int) -> None:
        expected = self.pending_nonce(sender, account.nonce) + 1
        if nonce <= account.nonce:
            raise InvalidTx("mempool.duplicate", nonce=nonce, account_nonce=account.nonce)
        if nonce != expected:
            raise InvalidTx("mempool.nonce_gap", nonce=nonce, expected=expected)
        if pending >= self.limits.pending_max:
            raise InvalidTx("mempool.pending_limit", pending=pending)

    def _check_room(self, sender: str, score: int, size: int, replaced: Entry | None) -> Entry | None:
        """Whom the newcomer pushes out; refuses it where nobody pays less."""
        if replaced is not None:
            return None
        if len(self._by_id) < self.limits.entries_max and self._size + size <= self.limits.bytes_max:
            return None
        victim = self._find_worst()
        if victim is None or victim.sender == sender or score <= victim.score:
            raise InvalidTx("mempool.full", entries=len(self._by_id), size=self._size)
        if self._size - victim.tx.size + size > self.limits.bytes_max:
            raise InvalidTx("mempool.full", entries=len(self._by_id), size=self._size)
        return victim

    def _find_worst(self) -> Entry | None:
        while self._worst:
            score, sequence, tx_id = self._worst[0]
            entry = self._by_id.get(tx_id)
            if entry is not None and (entry.score, -entry.sequence) == (score, sequence):
                return entry
            heapq.heappop(self._worst)
        return None

    def _is_late(self, entry: Entry, height: int, now_ms: int) -> bool:
        expires = entry.tx.payload.expires_at_height
        return now_ms - entry.added_ms > self.limits.ttl_ms or (expires != NO_EXPIRY and expires <= height)

    def _insert(self, entry: Entry) -> None:
        self._by_id[entry.tx.id] = entry
        self._by_sender.setdefault(entry.sender, {})[entry.nonce] = entry
        self._size += len(entry.data)
        if len(self._worst) > 2 * len(self._by_id) + 64:
            self._worst = [(each.score, -each.sequence, each.tx.id) for each in self._by_id.values()]
            heapq.heapify(self._worst)
        else:
            heapq.heappush(self._worst, (entry.score, -entry.sequence, entry.tx.id))

    def _remove(self, entry: Entry) -> None:
        del self._by_id[entry.tx.id]
        waiting = self._by_sender[entry.sender]
        del waiting[entry.nonce]
        if not waiting:
            del self._by_sender[entry.sender]
        self._size -= len(entry.data)


def senders_of(transactions: Iterable[CheckedTx]) -> list[str]:
    return sorted({tx.payload.from_ for tx in transactions})
