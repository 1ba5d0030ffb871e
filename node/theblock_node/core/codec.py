"""Borsh: the one binary layout of everything that is hashed, signed or stored, strict on decode.

One value has one encoding: trailing bytes, tags and bools out of range, unsorted maps, lengths that do not fit
in what is left, and values outside their declared bounds are refused. Encoder and decoder of a dataclass are
generated once, as source, from its annotations; runs of fixed-width fields become a single `struct` call.

    int kinds of `numeric`, bool, str, bytes, Annotated[bytes, FixedBytes(n)]
    tuple[X, ...] (a list), tuple[A, B], X | None, IntEnum (tag: declared position), A | B of dataclasses (tag),
    Mapping[K, V], frozenset[X], frozen dataclasses, None (unit)

`MaxLen` and `Pattern` in an annotation are checked both ways. A first field ``version`` must equal the class's
``VERSION`` (1 where it has none). Layout: https://borsh.io.
"""

from __future__ import annotations

import json
import re
import struct
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import FixedBytes, IntType, MaxLen, Pattern

T = TypeVar("T")
DEPTH_MAX = 16
COUNT_MAX = 2**32 - 1
JSON_INT_MAX = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Profile:
    """What a record is decoded for, and how large it may be in bytes."""

    name: str
    size_max: int


CANONICAL = Profile("canonical", 2**20)
TRANSACTION = Profile("transaction", 2**17)
BLOCK = Profile("block", 2**24)
GOSSIP = Profile("gossip", 2**21)
STORAGE_MANIFEST = Profile("storage_manifest", 2**24)


def encode(record: Any) -> bytes:
    """The canonical bytes of a dataclass; refuses values that its annotations do not allow."""
    kind: Any = type(record)
    return _run(_codec(kind).encode, kind, record)


def decode(cls: type[T], data: bytes, *, profile: Profile = CANONICAL) -> T:
    """The record of type ``cls`` that ``data`` is, whole; refuses anything else."""
    return decode_as(cls, data, profile=profile)  # type: ignore[no-any-return]


def encode_as(annotation: Any, value: Any) -> bytes:
    """The canonical bytes of a value of any supported annotation, as table keys are."""
    return _run(_codec(annotation).encode, annotation, value)


def encoder_of(annotation: Any) -> Callable[[Any], bytes]:
    """`encode_as` of one annotation, for whoever needs it often."""
    encoder = _codec(annotation).encode
    return lambda value: _run(encoder, annotation, value)


def decode_as(annotation: Any, data: bytes, *, profile: Profile = CANONICAL) -> Any:
    if len(data) > profile.size_max:
        raise InvalidRecord("codec.too_large", size=len(data), max=profile.size_max, profile=profile.name)
    value, position = _codec(annotation).decode(data, 0, len(data))
    if position != len(data):
        raise InvalidRecord("codec.trailing", at=position, size=len(data))
    return value


def to_json(record: Any) -> Any:
    """JSON form: wide integers as decimal strings, bytes as hex, enums by name, unions with their ``type``."""
    kind: Any = type(record)
    return _json(kind).dump(record)


def from_json(cls: type[T], value: Any) -> T:
    """The record that a JSON object says; refuses unknown and missing fields with their path."""
    kind: Any = cls
    return _json(kind).load(value, "$")  # type: ignore[no-any-return]


def canonical_json(value: Any) -> bytes:
    """RFC 8785 bytes of JSON without floats; integers that a double does not hold exactly have to be strings."""
    try:
        return json.dumps(_canonical(value), separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError as wrong:
        raise InvalidRecord("codec.utf8", at=wrong.start) from wrong


def kind_of(annotation: Any) -> _Kind:
    """An annotation taken apart, for what is generated from records: protos, schemas, forms."""
    return _kind(annotation)


# --- what an annotation means -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kind:
    """An annotation taken apart: ``tag`` says which of the supported kinds it is."""

    tag: str
    parts: tuple[Any, ...] = ()
    """Kinds of what it contains; for a struct (field name, kind) pairs."""
    source: Any = None
    """IntType, size, enum or dataclass."""
    length: MaxLen | None = None
    pattern: Pattern | None = None
    size_min: int = 0
    depth: int = 1


@lru_cache(maxsize=4096)
def _kind(annotation: Any) -> _Kind:
    origin = get_origin(annotation)
    if origin is Annotated:
        base, *notes = get_args(annotation)
        return _annotated(base, notes)
    if hasattr(annotation, "__supertype__"):
        return _kind(annotation.__supertype__)
    if annotation is bool:
        return _Kind("bool", size_min=1)
    if annotation in (str, bytes):
        return _Kind(annotation.__name__, size_min=4)
    if annotation is None or annotation is type(None):
        return _Kind("unit")
    if origin is tuple:
        return _tuple(get_args(annotation))
    if origin in (Union, types.UnionType):
        return _union(get_args(annotation))
    if origin in (dict, Mapping):
        key, value = (_kind(part) for part in get_args(annotation))
        return _Kind("map", (key, value), size_min=4, depth=1 + max(key.depth, value.depth))
    if origin is frozenset:
        item = _kind(get_args(annotation)[0])
        return _Kind("set", (item,), size_min=4, depth=1 + item.depth)
    if isinstance(annotation, type) and issubclass(annotation, IntEnum):
        return _Kind("enum", source=annotation, size_min=1)
    if is_dataclass(annotation):
        return _struct(annotation)  # type: ignore[arg-type]
    raise TypeError(f"no canonical layout for {annotation!r}")


def _annotated(base: Any, notes: list[Any]) -> _Kind:
    for note in notes:
        if isinstance(note, IntType):
            return _Kind("int", source=note, size_min=note.size)
        if isinstance(note, FixedBytes):
            return _Kind("fixed", source=note.size, size_min=note.size)
    inner = _kind(base)
    length = next((note for note in notes if isinstance(note, MaxLen)), inner.length)
    pattern = next((note for note in notes if isinstance(note, Pattern)), inner.pattern)
    return _Kind(inner.tag, inner.parts, inner.source, length, pattern, inner.size_min, inner.depth)


def _tuple(parts: tuple[Any, ...]) -> _Kind:
    if len(parts) == 2 and parts[1] is Ellipsis:
        item = _kind(parts[0])
        if item.size_min == 0:
            raise TypeError("items of a list must have a size")
        return _Kind("list", (item,), size_min=4, depth=1 + item.depth)
    kinds = tuple(_kind(part) for part in parts)
    return _Kind("tuple", kinds, size_min=sum(kind.size_min for kind in kinds), depth=1 + max(k.depth for k in kinds))


def _union(parts: tuple[Any, ...]) -> _Kind:
    present = [part for part in parts if part is not type(None)]
    if len(present) < len(parts):
        item = _kind(present[0]) if len(present) == 1 else _union(tuple(present))
        return _Kind("option", (item,), size_min=1, depth=item.depth)
    kinds = tuple(_kind(part) for part in parts)
    if any(kind.tag != "struct" for kind in kinds):
        raise TypeError("a union is of dataclasses")
    return _Kind("union", kinds, size_min=1 + min(k.size_min for k in kinds), depth=1 + max(k.depth for k in kinds))


def _struct(cls: type) -> _Kind:
    hints = get_type_hints(cls, include_extras=True)
    parts = tuple((field.name, _kind(hints[field.name])) for field in fields(cls))
    depth = 1 + max((kind.depth for _, kind in parts), default=0)
    if depth > DEPTH_MAX:
        raise TypeError(f"{cls.__name__} nests deeper than {DEPTH_MAX}")
    return _Kind("struct", parts, cls, size_min=sum(kind.size_min for _, kind in parts), depth=depth)


# --- generated code -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Codec:
    encode: Callable[[bytearray, Any], None]
    decode: Callable[[bytes, int, int], tuple[Any, int]]


@lru_cache(maxsize=4096)
def _codec(annotation: Any) -> _Codec:
    return _codec_of(_kind(annotation))


def _run(encoder: Callable[[bytearray, Any], None], annotation: Any, value: Any) -> bytes:
    out = bytearray()
    try:
        encoder(out, value)
    except UnicodeEncodeError as wrong:
        raise InvalidRecord("codec.utf8", at=wrong.start) from wrong
    except (struct.error, AttributeError, TypeError, KeyError, OverflowError) as wrong:
        name = getattr(annotation, "__name__", str(annotation))
        raise InvalidRecord("codec.value", record=name, reason=str(wrong)) from wrong
    return bytes(out)


@lru_cache(maxsize=4096)
def _codec_of(kind: _Kind) -> _Codec:
    writer = _Writer()
    return _Codec(writer.encoder(kind), writer.decoder(kind))


def _refuse(code: str, **facts: object) -> None:
    raise InvalidRecord(code, **facts)


def _check_text(value: str, length: MaxLen | None, pattern: Pattern | None) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError as wrong:
        # Half of a surrogate pair, as JSON can spell it.
        raise InvalidRecord("codec.utf8", at=wrong.start) from wrong
    if length is not None and not length.min <= len(data) <= length.max:
        raise InvalidRecord("codec.value", size=len(data), min=length.min, max=length.max)
    if pattern is not None and not pattern.matches(value):
        raise InvalidRecord("codec.value", value=value[:80], pattern=pattern.text)
    return data


def _read_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as wrong:
        raise InvalidRecord("codec.utf8", at=wrong.start) from wrong


def _sort_key(kind: _Kind) -> Callable[[Any], Any]:
    """Ascending order of map keys: numbers by value, strings and bytes bytewise, tuples part by part."""
    if kind.tag == "str":
        return lambda value: value.encode("utf-8", "surrogatepass")
    if kind.tag == "tuple":
        keys = [_sort_key(part) for part in kind.parts]
        return lambda value: tuple(key(part) for key, part in zip(keys, value, strict=True))
    if kind.tag == "struct":
        named = [(name, _sort_key(part)) for name, part in kind.parts]
        return lambda value: tuple(key(getattr(value, name)) for name, key in named)
    return lambda value: value


class _Writer:
    """Writes and compiles the source of one kind's encoder and decoder."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {"_refuse": _refuse, "_read_text": _read_text}
        self._count = 0

    def encoder(self, kind: _Kind) -> Callable[[bytearray, Any], None]:
        lines = self._encode_fields(kind, "v") if kind.tag in ("struct", "tuple") else self._encode(kind, "v")
        return self._compile(["def f(out, v):", *_indent(lines or ["pass"])])  # type: ignore[no-any-return]

    def decoder(self, kind: _Kind) -> Callable[[bytes, int, int], tuple[Any, int]]:
        lines, value = self._decode(kind)
        return self._compile(["def f(b, p, e):", *_indent([*lines, f"return {value}, p"])])  # type: ignore[no-any-return]

    def _compile(self, lines: list[str]) -> Any:
        scope = dict(self._names)
        exec("\n".join(lines), scope)
        return scope["f"]

    def _name(self, value: Any, prefix: str = "k") -> str:
        self._count += 1
        name = f"{prefix}{self._count}"
        self._names[name] = value
        return name

    def _fresh(self) -> str:
        self._count += 1
        return f"x{self._count}"

    # encoding

    def _encode_fields(self, kind: _Kind, value: str) -> list[str]:
        """A struct's or tuple's parts, runs of fixed width packed together."""
        if kind.tag == "tuple":
            count = len(kind.parts)
            parts = [(f"{value}[{index}]", part) for index, part in enumerate(kind.parts)]
            lines = [f"if len({value}) != {count}: _refuse('codec.value', reason='expected {count} parts')"]
        else:
            parts = [(f"{value}.{name}", part) for name, part in kind.parts]
            lines = self._check_version(kind, f"{value}.version")
        run: list[tuple[str, _Kind]] = []
        for name, part in parts:
            if _format(part) is not None:
                run.append((name, part))
                continue
            lines += [*self._encode_run(run), *self._encode(part, name)]
            run = []
        return lines + self._encode_run(run)

    def _encode_run(self, run: list[tuple[str, _Kind]]) -> list[str]:
        if not run:
            return []
        lines, values = [], []
        for name, part in run:
            if part.tag == "fixed":
                lines.append(
                    f"if len({name}) != {part.source}: _refuse('codec.value', size=len({name}), expected={part.source})"
                )
            if part.tag == "enum":
                positions = self._name({member: index for index, member in enumerate(part.source)})
                name = f"{positions}[{name}]"
            elif part.tag == "bool":
                name = f"(1 if {name} is True else 0 if {name} is False else None)"
            values.append(name)
        pack = self._name(struct.Struct("<" + "".join(_format(part) or "" for _, part in run)).pack)
        return [*lines, f"out += {pack}({', '.join(values)})"]

    def _encode(self, kind: _Kind, value: str) -> list[str]:
        match kind.tag:
            case "int" | "bool" | "fixed" | "enum":
                if _format(kind) is not None:
                    return self._encode_run([(value, kind)])
                number: IntType = kind.source
                return [f"out += {value}.to_bytes({number.size}, 'little', signed={number.signed})"]
            case "str":
                size, data = self._name(struct.Struct("<I").pack), self._fresh()
                return [
                    f"{data} = {value}.encode()",
                    *self._check_length(kind, data),
                    *self._check_pattern(kind, value),
                    f"out += {size}(len({data}))",
                    f"out += {data}",
                ]
            case "bytes":
                size = self._name(struct.Struct("<I").pack)
                return [*self._check_length(kind, value), f"out += {size}(len({value}))", f"out += {value}"]
            case "unit":
                return []
            case "option":
                inner = self._encode(kind.parts[0], value)
                return [f"if {value} is None:", "    out.append(0)", "else:", "    out.append(1)", *_indent(inner)]
            case "list":
                size, item = self._name(struct.Struct("<I").pack), self._fresh()
                return [
                    *self._check_length(kind, value),
                    f"out += {size}(len({value}))",
                    f"for {item} in {value}:",
                    *_indent(self._encode(kind.parts[0], item)),
                ]
            case "set":
                size, item = self._name(struct.Struct("<I").pack), self._fresh()
                key = self._name(_sort_key(kind.parts[0]))
                return [
                    *self._check_length(kind, value),
                    f"out += {size}(len({value}))",
                    f"for {item} in sorted({value}, key={key}):",
                    *_indent(self._encode(kind.parts[0], item)),
                ]
            case "map":
                size, item = self._name(struct.Struct("<I").pack), self._fresh()
                key = self._name(_sort_key(kind.parts[0]))
                inner = [*self._encode(kind.parts[0], item), *self._encode(kind.parts[1], f"{value}[{item}]")]
                return [
                    *self._check_length(kind, value),
                    f"out += {size}(len({value}))",
                    f"for {item} in sorted({value}, key={key}):",
                    *_indent(inner),
                ]
            case "union":
                tags = self._name({part.source: index for index, part in enumerate(kind.parts)})
                encoders = self._name(tuple(_codec_of(part).encode for part in kind.parts))
                tag = self._fresh()
                return [f"{tag} = {tags}[type({value})]", f"out.append({tag})", f"{encoders}[{tag}](out, {value})"]
            case "tuple":
                return self._encode_fields(kind, value)
            case _:
                return [f"{self._name(_codec_of(kind).encode)}(out, {value})"]

    def _check_length(self, kind: _Kind, value: str) -> list[str]:
        length = kind.length or MaxLen(COUNT_MAX)
        if length.max == COUNT_MAX:
            return []
        bounds = f"min={length.min}, max={length.max}"
        return [
            f"if not {length.min} <= len({value}) <= {length.max}: _refuse('codec.value', size=len({value}), {bounds})"
        ]

    def _check_pattern(self, kind: _Kind, value: str) -> list[str]:
        if kind.pattern is None:
            return []
        matches = self._name(re.compile(kind.pattern.text).fullmatch)
        facts = f"value={value}[:80], pattern={kind.pattern.text!r}"
        return [f"if {matches}({value}) is None: _refuse('codec.value', {facts})"]

    def _check_version(self, kind: _Kind, value: str) -> list[str]:
        if not kind.parts or kind.parts[0][0] != "version":
            return []
        expected = getattr(kind.source, "VERSION", 1)
        facts = f"version={value}, expected={expected}, record={kind.source.__name__!r}"
        return [f"if {value} != {expected}: _refuse('codec.version', {facts})"]

    # decoding: each returns lines that read at `p` below `e` and the expression of the value

    def _decode(self, kind: _Kind) -> tuple[list[str], str]:
        match kind.tag:
            case "int" | "bool" | "fixed" | "enum":
                if _format(kind) is not None:
                    lines, values = self._decode_run([kind])
                    return lines, values[0]
                number: IntType = kind.source
                value = self._fresh()
                read = f"{value} = int.from_bytes(b[p:p + {number.size}], 'little', signed={number.signed})"
                return [_need(number.size), read, f"p += {number.size}"], value
            case "str" | "bytes":
                return self._decode_text(kind)
            case "unit":
                return [], "None"
            case "option":
                value, tag = self._fresh(), self._fresh()
                lines, inner = self._decode(kind.parts[0])
                return [
                    _need(1),
                    f"{tag} = b[p]",
                    "p += 1",
                    f"if {tag} == 0:",
                    f"    {value} = None",
                    f"elif {tag} == 1:",
                    *_indent([*lines, f"{value} = {inner}"]),
                    "else:",
                    f"    _refuse('codec.bool', tag={tag}, at=p - 1)",
                ], value
            case "list":
                value, count = self._fresh(), self._fresh()
                lines, inner = self._decode(kind.parts[0])
                return [
                    *self._decode_count(kind, count, kind.parts[0].size_min),
                    f"{value} = []",
                    f"for _ in range({count}):",
                    *_indent([*lines, f"{value}.append({inner})"]),
                    f"{value} = tuple({value})",
                ], value
            case "set":
                value, lines = self._decode_sorted(kind, None)
                return [*lines, f"{value} = frozenset({value})"], value
            case "map":
                value, lines = self._decode_sorted(kind, kind.parts[1])
                return lines, value
            case "union":
                decoders = self._name(tuple(_codec_of(part).decode for part in kind.parts))
                tag, value = self._fresh(), self._fresh()
                return [
                    _need(1),
                    f"{tag} = b[p]",
                    f"if {tag} >= {len(kind.parts)}: _refuse('codec.enum', tag={tag}, at=p)",
                    f"{value}, p = {decoders}[{tag}](b, p + 1, e)",
                ], value
            case "tuple":
                lines, values = self._decode_parts(list(kind.parts))
                return lines, f"({', '.join(values)},)"
            case _:
                lines, values = self._decode_parts([part for _, part in kind.parts])
                if kind.parts and kind.parts[0][0] == "version":
                    lines += self._check_version(kind, values[0])
                return lines, f"{self._name(kind.source)}({', '.join(values)})"

    def _decode_parts(self, kinds: list[_Kind]) -> tuple[list[str], list[str]]:
        lines: list[str] = []
        values: list[str] = []
        run: list[_Kind] = []
        for kind in kinds:
            if _format(kind) is not None:
                run.append(kind)
                continue
            ran, read = self._decode_run(run)
            more, value = self._decode(kind) if kind.tag != "struct" else self._decode_call(kind)
            lines += ran + more
            values += [*read, value]
            run = []
        ran, read = self._decode_run(run)
        return lines + ran, values + read

    def _decode_call(self, kind: _Kind) -> tuple[list[str], str]:
        value = self._fresh()
        return [f"{value}, p = {self._name(_codec_of(kind).decode)}(b, p, e)"], value

    def _decode_run(self, run: list[_Kind]) -> tuple[list[str], list[str]]:
        if not run:
            return [], []
        layout = struct.Struct("<" + "".join(_format(kind) or "" for kind in run))
        values = [self._fresh() for _ in run]
        read = f"{''.join(value + ', ' for value in values)}= {self._name(layout.unpack_from)}(b, p)"
        lines = [_need(layout.size), read, f"p += {layout.size}"]
        shown = []
        for value, kind in zip(values, run, strict=True):
            if kind.tag == "bool":
                lines.append(f"if {value} > 1: _refuse('codec.bool', tag={value})")
                shown.append(f"{value} == 1")
            elif kind.tag == "enum":
                members = self._name(tuple(kind.source))
                lines.append(f"if {value} >= {len(kind.source)}: _refuse('codec.enum', tag={value})")
                shown.append(f"{members}[{value}]")
            else:
                shown.append(value)
        return lines, shown

    def _decode_count(self, kind: _Kind, count: str, item_size: int) -> list[str]:
        length = kind.length or MaxLen(COUNT_MAX)
        unpack = self._name(struct.Struct("<I").unpack_from)
        lines = [_need(4), f"{count}, = {unpack}(b, p)", "p += 4"]
        # The count must fit in what is left before anything is made of it.
        lines.append(f"if {count} * {item_size} > e - p: _refuse('codec.length', count={count}, left=e - p)")
        if length.max < COUNT_MAX or length.min:
            bounds = f"min={length.min}, max={length.max}"
            lines.append(
                f"if not {length.min} <= {count} <= {length.max}: _refuse('codec.value', count={count}, {bounds})"
            )
        return lines

    def _decode_text(self, kind: _Kind) -> tuple[list[str], str]:
        size, value = self._fresh(), self._fresh()
        lines = self._decode_count(kind, size, 1)
        lines += [f"{value} = b[p:p + {size}]", f"p += {size}"]
        if kind.tag == "str":
            lines += [f"{value} = _read_text({value})", *self._check_pattern(kind, value)]
        return lines, value

    def _decode_sorted(self, kind: _Kind, value_kind: _Kind | None) -> tuple[str, list[str]]:
        found, count, last, order = self._fresh(), self._fresh(), self._fresh(), self._fresh()
        key_lines, key = self._decode(kind.parts[0])
        item = self._fresh()
        body = [*key_lines, f"{item} = {key}", f"{order} = {self._name(_sort_key(kind.parts[0]))}({item})"]
        body.append(f"if {last} is not None and not {last} < {order}: _refuse('codec.order', at=p)")
        body.append(f"{last} = {order}")
        if value_kind is None:
            body.append(f"{found}.append({item})")
        else:
            lines, inner = self._decode(value_kind)
            body += [*lines, f"{found}[{item}] = {inner}"]
        size = kind.parts[0].size_min + (value_kind.size_min if value_kind else 0)
        return found, [
            *self._decode_count(kind, count, max(size, 1)),
            f"{found} = {'[]' if value_kind is None else '{}'}",
            f"{last} = None",
            f"for _ in range({count}):",
            *_indent(body),
        ]


def _need(size: int) -> str:
    return f"if e - p < {size}: _refuse('codec.eof', at=p, needed={size}, left=e - p)"


def _format(kind: _Kind) -> str | None:
    """The `struct` code of a fixed-width kind."""
    match kind.tag:
        case "int":
            return kind.source.code  # type: ignore[no-any-return]
        case "bool" | "enum":
            return "B"
        case "fixed":
            return f"{kind.source}s"
    return None


def _indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


# --- JSON ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Json:
    dump: Callable[[Any], Any]
    load: Callable[[Any, str], Any]
    """Takes the JSON and the path that names it in a refusal."""


@lru_cache(maxsize=4096)
def _json(annotation: Any) -> _Json:
    return _json_of(_kind(annotation))


@lru_cache(maxsize=4096)
def _json_of(kind: _Kind) -> _Json:
    match kind.tag:
        case "int":
            wide = kind.source.size >= 8
            return _Json(str if wide else _same, lambda value, path: _load_int(value, path, kind.source))
        case "bool":
            return _Json(_same, lambda value, path: _expect(value, bool, path))
        case "str":
            return _Json(_same, lambda value, path: _load_text(value, path, kind))
        case "fixed" | "bytes":
            return _Json(bytes.hex, lambda value, path: _load_bytes(value, path, kind))
        case "enum":
            return _Json(lambda value: value.name, lambda value, path: _load_enum(value, path, kind.source))
        case "unit":
            return _Json(lambda _value: None, lambda _value, _path: None)
        case "option":
            inner = _json_of(kind.parts[0])
            return _Json(
                lambda value: None if value is None else inner.dump(value),
                lambda value, path: None if value is None else inner.load(value, path),
            )
        case "list" | "set":
            item = _json_of(kind.parts[0])
            key = _sort_key(kind.parts[0]) if kind.tag == "set" else None
            made = frozenset if kind.tag == "set" else tuple

            def load_items(value: Any, path: str) -> Any:
                rows = _expect(value, list, path)
                return made(item.load(row, f"{path}[{index}]") for index, row in enumerate(rows))

            return _Json(
                lambda value: [item.dump(row) for row in (sorted(value, key=key) if key else value)], load_items
            )
        case "tuple":
            parts = [_json_of(part) for part in kind.parts]

            def load_parts(value: Any, path: str) -> Any:
                rows = _expect(value, list, path)
                if len(rows) != len(parts):
                    raise InvalidRecord("codec.value", path=path, reason=f"expected {len(parts)} parts")
                return tuple(
                    part.load(row, f"{path}[{at}]") for at, (part, row) in enumerate(zip(parts, rows, strict=True))
                )

            return _Json(lambda value: [part.dump(row) for part, row in zip(parts, value, strict=True)], load_parts)
        case "map":
            return _json_map(kind)
        case "union":
            return _json_union(kind)
    return _json_struct(kind)


def _json_map(kind: _Kind) -> _Json:
    key, value_codec = _json_of(kind.parts[0]), _json_of(kind.parts[1])
    order = _sort_key(kind.parts[0])

    def load(value: Any, path: str) -> Any:
        rows = _expect(value, dict, path)
        return {key.load(name, path): value_codec.load(row, f"{path}.{name}") for name, row in rows.items()}

    return _Json(lambda value: {str(key.dump(k)): value_codec.dump(value[k]) for k in sorted(value, key=order)}, load)


def _json_union(kind: _Kind) -> _Json:
    by_name = {part.source.__name__: _json_of(part) for part in kind.parts}

    def dump(value: Any) -> Any:
        name = type(value).__name__
        return {"type": name, **by_name[name].dump(value)}

    def load(value: Any, path: str) -> Any:
        row = dict(_expect(value, dict, path))
        name = row.pop("type", None)
        if name not in by_name:
            raise InvalidRecord("codec.enum", path=f"{path}.type", allowed=sorted(by_name))
        return by_name[name].load(row, path)

    return _Json(dump, load)


def _json_struct(kind: _Kind) -> _Json:
    parts = [(name, name.rstrip("_"), _json_of(part)) for name, part in kind.parts]
    defaults = {field.name for field in fields(kind.source) if _has_default(field)}
    # A version is filled in by whoever writes the record, not by whoever fills in a form.
    defaults |= {"version"} if kind.parts and kind.parts[0][0] == "version" else set()

    def dump(value: Any) -> Any:
        return {shown: part.dump(getattr(value, name)) for name, shown, part in parts}

    def load(value: Any, path: str) -> Any:
        row = _expect(value, dict, path)
        unknown = sorted(set(row) - {shown for _, shown, _ in parts})
        if unknown:
            raise InvalidRecord("codec.unknown_field", path=f"{path}.{unknown[0]}")
        missing = [shown for name, shown, _ in parts if shown not in row and name not in defaults]
        if missing:
            raise InvalidRecord("codec.missing_field", path=f"{path}.{missing[0]}")
        made = {name: part.load(row[shown], f"{path}.{shown}") for name, shown, part in parts if shown in row}
        if "version" in defaults:
            made.setdefault("version", getattr(kind.source, "VERSION", 1))
        return kind.source(**made)

    return _Json(dump, load)


def _has_default(field: Any) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _same(value: Any) -> Any:
    return value


def _expect(value: Any, wanted: type, path: str) -> Any:
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise InvalidRecord("codec.value", path=path, expected=wanted.__name__, given=type(value).__name__)
    return value


def _load_int(value: Any, path: str, wanted: IntType) -> int:
    if isinstance(value, str) and len(value) <= 40 and value.removeprefix("-").isdigit() and value.isascii():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not wanted.low <= value <= wanted.high:
        raise InvalidRecord("codec.value", path=path, expected=wanted.name)
    return value


def _load_text(value: Any, path: str, kind: _Kind) -> str:
    text: str = _expect(value, str, path)
    try:
        _check_text(text, kind.length, kind.pattern)
    except InvalidRecord as refused:
        raise InvalidRecord(refused.code, path=path, **refused.facts) from refused
    return text


def _load_bytes(value: Any, path: str, kind: _Kind) -> bytes:
    text = _expect(value, str, path)
    try:
        data = bytes.fromhex(text)
    except ValueError as wrong:
        raise InvalidRecord("codec.value", path=path, expected="hex") from wrong
    low, high = (kind.source, kind.source) if kind.tag == "fixed" else (0, COUNT_MAX)
    if kind.length is not None:
        low, high = kind.length.min, kind.length.max
    if not low <= len(data) <= high:
        raise InvalidRecord("codec.value", path=path, size=len(data), min=low, max=high)
    return data


def _load_enum(value: Any, path: str, wanted: type[IntEnum]) -> IntEnum:
    if not isinstance(value, str) or value.upper() not in wanted.__members__:
        raise InvalidRecord("codec.enum", path=path, allowed=list(wanted.__members__))
    return wanted[value.upper()]


def _canonical(value: Any) -> Any:
    """``value`` with the names of every object in order of their UTF-16 code units."""
    if isinstance(value, float):
        raise InvalidRecord("codec.value", expected="no floats")
    if isinstance(value, int) and not -JSON_INT_MAX <= value <= JSON_INT_MAX:
        raise InvalidRecord("codec.value", expected="an integer below 2^53, or a string")
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return {name: _canonical(value[name]) for name in names}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    return value
