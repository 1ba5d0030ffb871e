"""Hypothesis strategies for records, made from their annotations: what any stranger could send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from theblock_node.core import codec
from theblock_node.core.address import ADDRESS_PATTERN

LIST_MAX = 3
BYTES_MAX = 48


class Strategies:
    """Strategies that draw names, keys and ids from ``known`` more often than not, so that records meet each other."""

    def __init__(self, *, addresses: Sequence[str], names: Sequence[str], keys: Sequence[bytes]) -> None:
        self._addresses = st.sampled_from(addresses)
        self._names = names
        self._keys = keys

    def record(self, annotation: Any) -> st.SearchStrategy[Any]:
        return self._of(codec.kind_of(annotation))

    def _of(self, kind: Any) -> st.SearchStrategy[Any]:
        parts = kind.parts
        match kind.tag:
            case "int":
                low, high = kind.source.low, kind.source.high
                near = [value for value in (0, 1, 2, 3, 10, 100, 1000, 10**6, 10**9, 10**12) if value <= high]
                return st.sampled_from([*near, low, high]) | st.integers(low, high)
            case "bool":
                return st.booleans()
            case "enum":
                return st.sampled_from(list(kind.source))
            case "fixed":
                known = [key for key in self._keys if len(key) == kind.source]
                made = st.binary(min_size=kind.source, max_size=kind.source)
                return _mostly(st.sampled_from([*known, bytes(kind.source)]), made)
            case "str":
                return self._text(kind)
            case "bytes":
                least, most = (kind.length.min, kind.length.max) if kind.length else (0, BYTES_MAX)
                return st.binary(min_size=least, max_size=min(most, max(least, BYTES_MAX)))
            case "list":
                least, most = (kind.length.min, kind.length.max) if kind.length else (0, LIST_MAX)
                items = st.lists(self._of(parts[0]), min_size=least, max_size=min(most, max(least, LIST_MAX)))
                return items.map(tuple)
            case "set":
                return st.frozensets(self._of(parts[0]), max_size=LIST_MAX)
            case "map":
                return st.dictionaries(self._of(parts[0]), self._of(parts[1]), max_size=LIST_MAX)
            case "tuple":
                return st.tuples(*[self._of(part) for part in parts])
            case "option":
                return st.none() | self._of(parts[0])
            case "union":
                return st.one_of([self._of(part) for part in parts])
            case "struct":
                fields = {name: self._of(part) for name, part in parts}
                if parts and parts[0][0] == "version":
                    fields["version"] = st.just(getattr(kind.source, "VERSION", 1))
                return st.builds(kind.source, **fields)
            case "unit":
                return st.none()
        raise AssertionError(f"no strategy for {kind.tag}")

    def _text(self, kind: Any) -> st.SearchStrategy[str]:
        if kind.pattern is not None and kind.pattern.text == ADDRESS_PATTERN:
            return self._addresses
        least, most = (kind.length.min, kind.length.max) if kind.length else (0, 8)
        fits = [name for name in self._names if least <= len(name) <= most]
        if kind.pattern is not None:
            fits = [name for name in fits if kind.pattern.matches(name)]
            made = st.from_regex(kind.pattern.text, fullmatch=True).filter(lambda text: least <= len(text) <= most)
            return _mostly(st.sampled_from(fits), made) if fits else made
        # A length is counted in bytes, of which a character takes up to four.
        made = st.text(min_size=least, max_size=min(most, max(least, 8)))
        made = made.filter(lambda text: len(text.encode()) <= most)
        return _mostly(st.sampled_from(fits), made) if fits else made


def _mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(usual, usual, usual, usual, other)
