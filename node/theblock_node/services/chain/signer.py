"""The one hand that signs blocks and votes, and its memory of what it signed.

Before a signature leaves, what it is for is on disk: a crash loses the signature, never the memory. So a key never
signs two blocks for one slot, nor two votes that a surround or a double vote could be made of, whatever dies when.

The memory is also the fence: it keeps the highest `fencing_epoch` that it was opened with and refuses a lower one.
A key that was used before, and whose memory is missing, first watches the chain for two epochs (`Vigil`); if it sees
itself sign meanwhile it stays silent for good.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec


class SignerRefused(Exception):
    """The signer will not sign this. ``code`` is stable: ``signer.fenced``."""

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts


class SignerState(Enum):
    READY = "Ready"
    WAITING = "WaitingToSign"
    """Watching the chain before the first signature."""
    ELSEWHERE = "KeyInUseElsewhere"
    """Another signature by this key was seen; never signs again."""
    FENCED = "FencedOut"
    """The disk knows of a later holder of this key."""
    OFF = "Off"
    """Handed over or closed."""


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is on disk."""

    version: int
    fencing_epoch: int
    slot: int
    """The last slot that a block was signed for."""
    source_height: int
    target_height: int
    """Of the last vote; sources never fall, targets always rise."""
    elsewhere: bool = False


FRESH = Memory(version=1, fencing_epoch=0, slot=0, source_height=0, target_height=0)


class MemoryFile(Protocol):
    def load(self) -> bytes | None:
        """What was last saved; None if nothing ever was."""
        ...

    def save(self, data: bytes) -> None:
        """Return once ``data`` would survive a power cut; before that, either it or the old content is there."""
        ...


class DiskFile:
    """Temp file, fsync, rename, fsync of the folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def save(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temp = self._path.with_suffix(".new")
        descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temp, self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class RamFile:
    """The twin for tests and the simulator; outlives the signer as a disk would."""

    def __init__(self) -> None:
        self.data: bytes | None = None

    def load(self) -> bytes | None:
        return self.data

    def save(self, data: bytes) -> None:
        self.data = data


class Key(Protocol):
    @property
    def public_key(self) -> bytes: ...

    def sign(self, message: bytes) -> bytes: ...


@dataclass(slots=True)
class Vigil:
    """Watching the chain for our own signatures before the first of ours."""

    since_slot: int
    """What carries a higher slot than this was signed after we began to watch."""
    until_slot: int
    slot: int = 0
    source_height: int = 0
    target_height: int = 0
    """The highest that were seen; the floor afterwards."""


class Signer:
    def __init__(self, key: Key, file: MemoryFile, memory: Memory, vigil: Vigil | None) -> None:
        self._key = key
        self._file = file
        self._memory = memory
        self._vigil = vigil
        self._state = SignerState.WAITING if vigil else SignerState.READY
        if memory.elsewhere:
            self._state = SignerState.ELSEWHERE

    @property
    def public_key(self) -> bytes:
        return self._key.public_key

    @property
    def state(self) -> SignerState:
        return self._state

    @property
    def memory(self) -> Memory:
        return self._memory

    def sign_block(self, slot: int, block_id: bytes) -> bytes:
        """A signature over ``block_id``, the only one ever for ``slot`` or below."""
        self._check_ready()
        if slot <= self._memory.slot:
            raise SignerRefused("signer.slot", slot=slot, floor=self._memory.slot)
        self._remember(msgspec.structs.replace(self._memory, slot=slot))
        return self._key.sign(block_id)

    def check_vote(self, *, source_height: int, target_height: int) -> None:
        """Refuse a vote that could contradict one that was given."""
        self._check_ready()
        if target_height <= self._memory.target_height:
            raise SignerRefused("signer.target", target_height=target_height, floor=self._memory.target_height)
        if source_height < self._memory.source_height or source_height >= target_height:
            raise SignerRefused("signer.source", source_height=source_height, floor=self._memory.source_height)

    def sign_vote(self, *, source_height: int, target_height: int, digest: bytes) -> bytes:
        """A signature over the vote ``digest``, the only one ever for ``target_height`` or below."""
        self.check_vote(source_height=source_height, target_height=target_height)
        self._remember(msgspec.structs.replace(self._memory, source_height=source_height, target_height=target_height))
        return self._key.sign(digest)

    def saw_block(self, proposer: bytes, slot: int) -> None:
        """Told of every block that arrives; matters only during the vigil."""
        if self._vigil is None or proposer != self.public_key:
            return
        self._vigil.slot = max(self._vigil.slot, slot)
        if slot > self._vigil.since_slot:
            self._stop_for_good()

    def saw_vote(self, validator: bytes, *, source_height: int, target_height: int, target_slot: int) -> None:
        """Told of every vote that arrives; ``target_slot`` is the slot of its target block."""
        if self._vigil is None or validator != self.public_key:
            return
        self._vigil.source_height = max(self._vigil.source_height, source_height)
        self._vigil.target_height = max(self._vigil.target_height, target_height)
        if target_slot > self._vigil.since_slot:
            self._stop_for_good()

    def tick(self, slot: int) -> None:
        """End the vigil once its time is over."""
        vigil = self._vigil
        if vigil is None or self._state is not SignerState.WAITING or slot <= vigil.until_slot:
            return
        floor = msgspec.structs.replace(
            self._memory,
            slot=max(self._memory.slot, vigil.slot),
            source_height=max(self._memory.source_height, vigil.source_height),
            target_height=max(self._memory.target_height, vigil.target_height),
        )
        self._remember(floor)
        self._vigil = None
        self._state = SignerState.READY

    def close(self) -> None:
        """Sign nothing more; what was signed is on disk already."""
        if self._state in (SignerState.READY, SignerState.WAITING):
            self._state = SignerState.OFF

    def _check_ready(self) -> None:
        if self._state is not SignerState.READY:
            raise SignerRefused(_REFUSALS[self._state])

    def _stop_for_good(self) -> None:
        self._remember(msgspec.structs.replace(self._memory, elsewhere=True))
        self._state = SignerState.ELSEWHERE

    def _remember(self, memory: Memory) -> None:
        self._file.save(msgspec.json.encode(memory))
        self._memory = memory


_REFUSALS = {
    SignerState.WAITING: "signer.waiting",
    SignerState.ELSEWHERE: "signer.key_in_use_elsewhere",
    SignerState.FENCED: "signer.fenced",
    SignerState.OFF: "signer.off",
}


def open_signer(
    key: Key, file: MemoryFile, *, fencing_epoch: int, was_used: bool, now_slot: int, vigil_slots: int
) -> Signer:
    """The signer of ``key``; refuses a fencing epoch below the stored one and a memory that cannot be read.

    ``was_used`` says that the key may have signed before; without a memory that means a vigil of ``vigil_slots``.
    """
    data = file.load()
    if data is None:
        memory = msgspec.structs.replace(FRESH, fencing_epoch=fencing_epoch)
        if was_used:
            return Signer(key, file, memory, Vigil(since_slot=now_slot, until_slot=now_slot + vigil_slots))
        file.save(msgspec.json.encode(memory))
        return Signer(key, file, memory, None)
    try:
        memory = msgspec.json.decode(data, type=Memory)
    except (msgspec.ValidationError, msgspec.DecodeError) as refused:
        raise SignerRefused("signer.memory_unreadable", cause=str(refused)) from refused
    if fencing_epoch < memory.fencing_epoch:
        raise SignerRefused("signer.fenced", fencing_epoch=fencing_epoch, stored=memory.fencing_epoch)
    if fencing_epoch > memory.fencing_epoch:
        memory = msgspec.structs.replace(memory, fencing_epoch=fencing_epoch)
        file.save(msgspec.json.encode(memory))
    return Signer(key, file, memory, None)
