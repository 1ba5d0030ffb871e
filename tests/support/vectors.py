"""Vectors: two samples of every record that is stored, sent or hashed, and what they are to others.

`python -m support.vectors`, run in `tests/`, writes `vectors/records.json` anew; a record that changes on purpose
changes there too, and the difference shows in review.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from theblock_node.core import block, codec, merkle, state, tx
from theblock_node.core.crypto import blake3, blake3_xof
from theblock_node.core.domains import REGISTRY

FOLDER = Path(__file__).resolve().parents[1] / "vectors"
RECORDS = FOLDER / "records.json"
KEY = blake3(b"vector").hex()
TEXTS = (f"0001:{KEY}", "accounts.transfer", "sun-1", "DE_BE", "bitcoin/1", "SN1", "ü")
"""Tried in this order where a text has a pattern."""
OTHERS = (tx.TxEnvelope, block.Header, block.Block, block.Body, block.TxReceipt, state.Changes, merkle.Proof)


def record_types() -> dict[str, Any]:
    """Every type whose bytes matter to others, by name."""
    found: dict[str, Any] = {name: spec.type for name, spec in REGISTRY.commands.items()}
    found |= REGISTRY.event_types
    for name, table in REGISTRY.tables.items():
        found |= {f"{name}:row": table.value_type, f"{name}:key": table.key_type}
    found |= {cls.__name__: cls for cls in OTHERS}
    return dict(sorted(found.items()))


def least(annotation: Any) -> Any:
    """The smallest value of a type: zeros, nothing, the first of each choice."""
    return _sample(codec.kind_of(annotation), "", full=False)


def full(annotation: Any) -> Any:
    """A value with something in every field, and the last of each choice."""
    return _sample(codec.kind_of(annotation), "", full=True)


def _sample(kind: Any, path: str, *, full: bool) -> Any:
    parts = kind.parts
    match kind.tag:
        case "int":
            drawn = int.from_bytes(blake3(path.encode())[: kind.source.size], "little", signed=kind.source.signed)
            return drawn if full else 0
        case "bool":
            return full
        case "enum":
            return list(kind.source)[-1 if full else 0]
        case "fixed":
            return blake3_xof(path.encode(), kind.source) if full else bytes(kind.source)
        case "bytes":
            low, high = (kind.length.min, kind.length.max) if kind.length else (0, 5)
            return blake3_xof(path.encode(), max(low, min(high, 5))) if full else bytes(low)
        case "str":
            low, high = (kind.length.min, kind.length.max) if kind.length else (0, 9)
            if kind.pattern is not None:
                return next(text for text in TEXTS if kind.pattern.matches(text) and len(text.encode()) <= high)
            return ("grün " * high)[: max(low, min(high, 9) - 2)] if full else "a" * low
        case "list":
            low, high = (kind.length.min, kind.length.max) if kind.length else (0, 2)
            count = max(low, min(high, 2)) if full else low
            return tuple(_sample(parts[0], f"{path}[{at}]", full=full) for at in range(count))
        case "tuple":
            return tuple(_sample(part, f"{path}[{at}]", full=full) for at, part in enumerate(parts))
        case "option":
            return _sample(parts[0], path, full=full) if full else None
        case "union":
            return _sample(parts[-1 if full else 0], path, full=full)
        case "struct":
            values = {name: _sample(part, f"{path}.{name}", full=full) for name, part in parts}
            if "version" in values and parts[0][0] == "version":
                values["version"] = getattr(kind.source, "VERSION", 1)
            return kind.source(**values)
        case "unit":
            return None
    raise AssertionError(f"no sample for {kind.tag}")


def render_records() -> str:
    rows = []
    for name, annotation in record_types().items():
        for which, made in (("least", least(annotation)), ("full", full(annotation))):
            data = codec.encode_as(annotation, made)
            rows.append({"name": name, "which": which, "hex": data.hex(), "blake3": blake3(data).hex()})
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def borsh_schema(kind: Any) -> Any:
    """What a kind is called in Borsh for JavaScript."""
    parts = kind.parts
    match kind.tag:
        case "int":
            return kind.source.name
        case "bool":
            return "bool"
        case "str":
            return "string"
        case "fixed":
            return {"array": {"type": "u8", "len": kind.source}}
        case "bytes":
            return {"array": {"type": "u8"}}
        case "enum":
            return {"enum": [{"struct": {member.name: {"struct": {}}}} for member in kind.source]}
        case "list":
            return {"array": {"type": borsh_schema(parts[0])}}
        case "tuple":
            return {"struct": {f"_{at}": borsh_schema(part) for at, part in enumerate(parts)}}
        case "option":
            return {"option": borsh_schema(parts[0])}
        case "union":
            return {"enum": [{"struct": {part.source.__name__: borsh_schema(part)}} for part in parts]}
        case "struct":
            return {"struct": {name: borsh_schema(part) for name, part in parts}}
        case "unit":
            return {"struct": {}}
    raise AssertionError(f"no schema for {kind.tag}")


def plain(kind: Any, value: Any) -> Any:
    """A value as `interop/borsh.cjs` writes what it decoded."""
    parts = kind.parts
    match kind.tag:
        case "int":
            return str(value) if kind.source.size >= 8 else value
        case "fixed" | "bytes":
            return value.hex()
        case "enum":
            return [list(kind.source).index(value), []]
        case "list":
            if borsh_schema(parts[0]) == "u8":
                return bytes(value).hex()
            return [plain(parts[0], item) for item in value]
        case "tuple":
            return [[f"_{at}", plain(part, value[at])] for at, part in enumerate(parts)]
        case "option":
            return None if value is None else plain(parts[0], value)
        case "union":
            at = [part.source for part in parts].index(type(value))
            return [at, plain(parts[at], value)]
        case "struct":
            return [[name, plain(part, getattr(value, name))] for name, part in parts]
        case "unit":
            return []
    return value


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    RECORDS.write_text(render_records())
