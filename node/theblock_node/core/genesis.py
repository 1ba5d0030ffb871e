"""The first state and block of a chain, from a document that every node of the chain reads alike.

What the document says is all in the genesis block's id: chain parameters, params, money and validators are in its
state. The ids of the presets' reference documents are pinned: code that makes another genesis of them does not load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from theblock_node.core.address import address_of, is_system_address, parse_address
from theblock_node.core.block import Block, Body, block_id, receipts_root, tx_root
from theblock_node.core.crypto import blake3, is_valid_key
from theblock_node.core.domain import PARAMS, ParamValue
from theblock_node.core.domains import REGISTRY, accounts, supply, validators
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import U64_MAX
from theblock_node.core.params import PRESETS, ChainParams, chain_params
from theblock_node.core.state import Draft, State
from theblock_node.core.transition import blank_header, shard_roots_root

MAX_SUPPLY = 40_000_000 * 10**9
DOCUMENT_BYTES_MAX = 2**20
VALIDATORS_MAX = 800
ALLOCATIONS_MAX = 256
GENESIS_HASHES: Mapping[str, str] = {
    "mainnet": "b964bc21ee2b0e9801f3f0522ef0862da1a374f43f35841ba7f3a9d146b24aed",
    "devnet": "efff55436754860b082baceb4b9fec0ba50d380fa6a68e72b4e2049ccfcf64d8",
    "minimal": "ff1a5d378541e7f39c99ce2635bc697798bda89b1edb113f05e10fe65b63991d",
}
"""Ids of the genesis blocks of `reference_document`."""
_REFERENCE_KEY = bytes.fromhex("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")
"""Of the seed 01 * 32."""


@dataclass(frozen=True, slots=True)
class GenesisValidator:
    name: str
    public_key: bytes
    owner: str
    stake: int


@dataclass(frozen=True, slots=True)
class Genesis:
    """The document, parsed."""

    chain: ChainParams
    params: Mapping[str, int]
    time_seconds: int
    allocations: tuple[tuple[str, int], ...]
    validators: tuple[GenesisValidator, ...]


def parse(data: bytes) -> Genesis:
    """Read a genesis document; refuses anything that is not one, with the path of the field."""
    if len(data) > DOCUMENT_BYTES_MAX:
        raise InvalidRecord("genesis.too_large", size=len(data), max=DOCUMENT_BYTES_MAX)
    document = _load(data)
    read = _Reader(document, "$")
    read.only(
        "version", "preset", "chain_id", "overrides", "params", "time_seconds", "allocations", "funder", "validators"
    )
    if read.integer("version", 1, 1) != 1:
        raise InvalidRecord("genesis.version")
    overrides = {name: _number(value, f"$.overrides.{name}") for name, value in read.mapping("overrides").items()}
    chain = chain_params(read.text("preset"), chain_id=read.integer("chain_id", 1, 2**32 - 1), overrides=overrides)
    params = {name: _number(value, f"$.params.{name}") for name, value in read.mapping("params").items()}
    _check_params(params, chain)
    rows = [_Reader(row, f"$.allocations[{at}]") for at, row in enumerate(read.items("allocations", ALLOCATIONS_MAX))]
    if document.get("funder") is not None:
        rows.append(_Reader(document["funder"], "$.funder"))
    allocations = tuple(_allocation(row) for row in rows)
    named = [
        _validator(_Reader(row, f"$.validators[{at}]"))
        for at, row in enumerate(read.items("validators", VALIDATORS_MAX))
    ]
    if not named:
        raise InvalidRecord("genesis.no_validators", path="$.validators")
    if len({validator.public_key for validator in named}) != len(named):
        raise InvalidRecord("genesis.duplicate_key", path="$.validators")
    minted = sum(amount for _, amount in allocations) + sum(validator.stake for validator in named)
    if minted > MAX_SUPPLY:
        raise InvalidRecord("genesis.supply", minted=minted, max=MAX_SUPPLY)
    return Genesis(chain, params, read.integer("time_seconds", 0, 2**40), allocations, tuple(named))


def build(genesis: Genesis) -> tuple[State, Block]:
    """The first state and its block, height 0."""
    state = State()
    draft = Draft(state)
    for name, value in sorted(genesis.params.items()):
        draft.put(PARAMS, name, ParamValue(1, value))
    for address, amount in genesis.allocations:
        accounts.credit(draft, address, amount)
        supply.mint(draft, amount)
    for validator in genesis.validators:
        role = validators.RoleStake(validators.Role.VALIDATOR, validator.stake, ())
        stake = validators.Stake(1, validator.public_key, validator.owner, bytes(48), 0, False, (role,))
        draft.put(validators.STAKES, validator.public_key, stake)
        accounts.change_bond(draft, validator.owner, validators.Role.VALIDATOR, validator.stake)
        supply.mint(draft, validator.stake)
    timestamp_ms = genesis.time_seconds * 1000
    draft.put(supply.ORIGIN, None, supply.Origin(1, timestamp_ms, digest_parameters(genesis.chain)))
    start = validators.Checkpoint(0, bytes(32))
    draft.put(validators.CONSENSUS, None, validators.Consensus(1, start, start))
    beacon = blake3(b"TBBEACON" + b"theblock/genesis")
    draft.put(validators.SETS, 0, validators.ValidatorSet(1, 0, beacon, validators.choose_members(draft, 0)))
    state.commit(draft.changes())
    header = replace(
        blank_header(genesis.chain, 0, bytes(32), timestamp_ms, 0),
        tx_root=tx_root([]),
        receipts_root=receipts_root(()),
        state_root=state.root,
        shard_roots_root=shard_roots_root(state.tree),
    )
    return state, Block(header, Body(1, ()), None)


def genesis_hash(data: bytes) -> bytes:
    """The id of the genesis block that a document makes."""
    return block_id(build(parse(data))[1].header)


def digest_parameters(chain: ChainParams) -> bytes:
    """BLAKE3 of the chain parameters, a line each, by name: nodes that differ in one have different genesis blocks."""
    names = sorted(field.name for field in fields(chain))
    return blake3("".join(f"{name}={getattr(chain, name)}\n" for name in names).encode())


def reference_document(preset: str) -> bytes:
    """The smallest genesis of a preset: one validator, one funded account, the epoch of 1970."""
    document = {
        "version": 1,
        "preset": preset,
        "chain_id": PRESETS[preset].chain_id,
        "time_seconds": 0,
        "allocations": [{"address": address_of(_REFERENCE_KEY), "amount": "1000000000000000"}],
        "validators": [
            {
                "name": "reference",
                "public_key": _REFERENCE_KEY.hex(),
                "owner": address_of(_REFERENCE_KEY),
                "stake": "1000000000000",
            }
        ],
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def check_pins(pins: Mapping[str, str]) -> None:
    """Refuse to go on with code that makes another genesis block of a reference document than the pinned one."""
    for preset, pinned in pins.items():
        made = genesis_hash(reference_document(preset)).hex()
        if made != pinned:
            raise AssertionError(f"the reference genesis of {preset} hashes to {made}, pinned is {pinned}")


def _load(data: bytes) -> Any:
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as wrong:
        raise InvalidRecord("genesis.json", reason=str(wrong)) from wrong


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_params(params: Mapping[str, int], chain: ChainParams) -> None:
    for name, value in sorted(params.items()):
        param = REGISTRY.params.get(name)
        if param is None:
            raise InvalidRecord("genesis.unknown_param", path=f"$.params.{name}")
        if not param.min <= value <= param.max:
            raise InvalidRecord("genesis.param_bounds", path=f"$.params.{name}", min=param.min, max=param.max)
    waiting = validators.UNBONDING_EPOCHS
    epochs = params.get(waiting.name, waiting.first_value(chain.preset))
    if epochs < chain.evidence_max_age_epochs:
        # Else a bond would be gone before its owner's offence is too old to be punished.
        raise InvalidRecord("genesis.param_bounds", path=f"$.params.{waiting.name}", min=chain.evidence_max_age_epochs)


def _allocation(row: _Reader) -> tuple[str, int]:
    row.only("address", "amount")
    return row.address("address"), row.amount("amount")


def _validator(row: _Reader) -> GenesisValidator:
    row.only("name", "public_key", "owner", "stake")
    text = row.text("public_key")
    try:
        key = bytes.fromhex(text)
    except ValueError as wrong:
        raise InvalidRecord("genesis.public_key", path=f"{row.path}.public_key") from wrong
    if not is_valid_key(key):
        raise InvalidRecord("genesis.public_key", path=f"{row.path}.public_key", reason="not a usable Ed25519 key")
    stake = row.amount("stake")
    if stake == 0:
        raise InvalidRecord("genesis.stake", path=f"{row.path}.stake")
    return GenesisValidator(row.text("name"), key, row.address("owner"), stake)


def _number(value: Any, path: str) -> int:
    if isinstance(value, str) and len(value) <= 20 and value.removeprefix("-").isdigit() and value.isascii():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise InvalidRecord("genesis.number", path=path)


class _Reader:
    """Takes fields out of a JSON object and names the path of what is wrong."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise InvalidRecord("genesis.type", path=path, expected="object")
        self._value = value
        self.path = path

    def only(self, *names: str) -> None:
        unknown = sorted(set(self._value) - set(names))
        if unknown:
            raise InvalidRecord("genesis.unknown_field", path=f"{self.path}.{unknown[0]}")

    def text(self, name: str) -> str:
        return str(self._typed(name, str))

    def integer(self, name: str, low: int, high: int) -> int:
        value: int = self._typed(name, int)
        if not low <= value <= high:
            raise InvalidRecord("genesis.number", path=f"{self.path}.{name}", min=low, max=high)
        return value

    def amount(self, name: str) -> int:
        value = _number(self.text(name), f"{self.path}.{name}")
        if not 0 <= value <= U64_MAX:
            raise InvalidRecord("genesis.number", path=f"{self.path}.{name}", min=0, max=U64_MAX)
        return value

    def address(self, name: str) -> str:
        text = self.text(name)
        try:
            parse_address(text)
        except InvalidRecord as refused:
            raise InvalidRecord("address.format", path=f"{self.path}.{name}") from refused
        if is_system_address(text):
            raise InvalidRecord("address.format", path=f"{self.path}.{name}", reason="a system account")
        return text

    def mapping(self, name: str) -> dict[str, Any]:
        return dict(self._typed(name, dict)) if name in self._value else {}

    def items(self, name: str, count_max: int) -> list[Any]:
        values: list[Any] = self._typed(name, list) if name in self._value else []
        if len(values) > count_max:
            raise InvalidRecord("genesis.too_many", path=f"{self.path}.{name}", max=count_max)
        return values

    def _typed(self, name: str, wanted: type) -> Any:
        value = self._value.get(name)
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise InvalidRecord("genesis.type", path=f"{self.path}.{name}", expected=wanted.__name__)
        return value


check_pins(GENESIS_HASHES)
