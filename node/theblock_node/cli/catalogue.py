"""Every call and query of the chain as the command line offers it, read from a file that is made from the domains.

`tb-cli --help` and the shell's completion must answer at once, so they read `catalogue.json` instead of importing
the protocol. `tools/generate/cli.py` writes it; what a value must be is still checked by the codec when it is sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("catalogue.json")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a call or query."""

    name: str
    form: str
    """How it is written: integer, amount, flag, text, hex, choice, or json for whatever has parts of its own."""
    doc: str
    is_required: bool
    is_list: bool
    is_nullable: bool
    """Null is sent where nothing is given."""
    default: Any
    """As JSON; None where there is none."""
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """A call, or a query."""

    name: str
    """`domain.verb_noun`."""
    doc: str
    fields: tuple[Field, ...]
    is_query: bool

    @property
    def verb(self) -> str:
        """Its name within its group."""
        return self.name.partition(".")[2].replace("_", "-")


@dataclass(frozen=True, slots=True)
class Param:
    """A number that a vote can change."""

    name: str
    domain: str
    default: int
    min: int
    max: int
    unit: str
    presets: dict[str, int]


@dataclass(frozen=True, slots=True)
class Catalogue:
    domains: dict[str, tuple[Call, ...]]
    params: tuple[Param, ...]


@lru_cache(maxsize=1)
def load() -> Catalogue:
    """The catalogue that belongs to this version."""
    found = json.loads(FILE.read_text())
    return Catalogue(
        {name: tuple(_call(row) for row in rows) for name, rows in found["domains"].items()},
        tuple(Param(**row) for row in found["params"]),
    )


def _call(row: dict[str, Any]) -> Call:
    fields = tuple(Field(**{**field, "choices": tuple(field.get("choices", ()))}) for field in row["fields"])
    return Call(row["name"], row["doc"], fields, row["is_query"])
