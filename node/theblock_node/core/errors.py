"""Refusals of outside input, drawn once.

ProtocolError
  InvalidTx       a transaction: tx.*, and every domain's own
  InvalidBlock    a block or header: block.*, evidence.*, light.*
  InvalidRecord   bytes, JSON or one value: codec.*, numeric.*, address.*, genesis.*
"""

from __future__ import annotations


class ProtocolError(Exception):
    """A rule of the protocol was broken by outside input.

    ``code`` is stable: the domain and the reason, ``energy.stale_reading``. RPC, CLI and metrics show the
    same two words; ``facts`` say what was wrong with which field.
    """

    def __init__(self, code: str, **facts: object) -> None:
        super().__init__(code, facts)
        self.code = code
        self.facts = facts

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{self.code} ({shown})" if shown else self.code


class InvalidTx(ProtocolError):
    """A transaction or its command is refused."""


class InvalidBlock(ProtocolError):
    """A block or header is refused."""


class InvalidRecord(ProtocolError):
    """Bytes or JSON are not the record that they claim to be."""
