"""Supply and fees of the chain itself: how much exists, how much was burned, what gas costs.

Written by block processing and by burns; no command touches it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from theblock_node.core import fees
from theblock_node.core.domain import PARAMS, Domain, Reading
from theblock_node.core.numeric import I64, U8, U64, Bytes32, MaxLen, add
from theblock_node.core.state import Draft, View

domain = Domain("chain", service="Economics", params=(fees.TARGET_GAS, fees.MIN_BASE_FEE))
domain.tables.append(PARAMS)


@dataclass(frozen=True, slots=True)
class Supply:
    """nBLOCK ever minted and ever burned; what exists is the difference."""

    version: U8
    emission: U64
    burned: U64


@dataclass(frozen=True, slots=True)
class Fees:
    version: U8
    base_fee: U64
    """nBLOCK per gas of the next block."""


@dataclass(frozen=True, slots=True)
class Origin:
    """When the chain began, from which slots are counted, and with what it began."""

    version: U8
    timestamp_ms: U64
    parameters: Bytes32
    """Digest of the chain parameters, so that they are part of the genesis block's id."""


SUPPLY = domain.table("chain/supply", None, Supply)
FEES = domain.table("chain/fees", None, Fees)
ORIGIN = domain.table("chain/origin", None, Origin)


@dataclass(frozen=True, slots=True)
class GetSupply:
    pass


@dataclass(frozen=True, slots=True)
class ListParams:
    pass


@dataclass(frozen=True, slots=True)
class ParamRow:
    name: Annotated[str, MaxLen(80)]
    value: I64


@dataclass(frozen=True, slots=True)
class ParamPage:
    """Params that differ from the first value of the preset."""

    params: Annotated[tuple[ParamRow, ...], MaxLen(1000)]


def get_supply(view: View) -> Supply:
    return view.get(SUPPLY, None) or Supply(1, 0, 0)


def mint(draft: Draft, amount: int) -> None:
    supply = get_supply(draft)
    draft.put(SUPPLY, None, replace(supply, emission=add(supply.emission, amount)))


def burn(draft: Draft, amount: int) -> None:
    """Count ``amount``, which the caller has taken from somebody, as gone."""
    supply = get_supply(draft)
    draft.put(SUPPLY, None, replace(supply, burned=add(supply.burned, amount)))


def get_origin_ms(view: View) -> int:
    found = view.get(ORIGIN, None)
    assert found is not None, "the genesis writes it"
    return found.timestamp_ms  # type: ignore[no-any-return]


def get_base_fee(view: View, first: int) -> int:
    found = view.get(FEES, None)
    return first if found is None else found.base_fee


@domain.query("supply", GetSupply, Supply)
def supply(reading: Reading, request: GetSupply) -> Supply:
    """nBLOCK minted and burned so far."""
    return get_supply(reading.view)


@domain.query("params", ListParams, ParamPage)
def params(reading: Reading, request: ListParams) -> ParamPage:
    """Params set in the genesis or by a vote."""
    return ParamPage(tuple(ParamRow(name, row.value) for name, row in reading.view.items(PARAMS)))
