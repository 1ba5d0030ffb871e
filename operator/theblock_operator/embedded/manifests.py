"""Manifests from files, folders and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import yaml

from theblock_operator.observed import Object

SIZE_MAX = 4 * 1024 * 1024
SUFFIXES = (".yaml", ".yml", ".json")
DEFAULT_NAMESPACE = "theblock"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(paths: Iterable[Path]) -> list[Object]:
    """Every object of the files, and of the files in folders, in order; refuses what is no manifest."""
    objects: list[Object] = []
    for path in paths:
        for source, text in _texts(path):
            objects += _parse(source, text)
    if not objects:
        raise click.UsageError("there is no object in these files")
    return objects


def namespace_of(objects: list[Object]) -> str:
    """The one namespace of a run."""
    named = [object_["metadata"].get("namespace", DEFAULT_NAMESPACE) for object_ in objects]
    return str(named[0])


def _texts(path: Path) -> list[tuple[str, str]]:
    if str(path) == "-":
        return [("standard input", sys.stdin.read(SIZE_MAX))]
    if path.is_dir():
        found = sorted(one for one in path.iterdir() if one.suffix in SUFFIXES)
        return [(str(one), _read_file(one)) for one in found]
    return [(str(path), _read_file(path))]


def _read_file(path: Path) -> str:
    try:
        if path.stat().st_size > SIZE_MAX:
            raise click.UsageError(f"{path} is larger than {SIZE_MAX} bytes")
        return path.read_text()
    except (OSError, UnicodeDecodeError) as failed:
        raise click.UsageError(f"{path}: {failed}") from failed


def _parse(source: str, text: str) -> list[Object]:
    try:
        documents = [found for found in yaml.load_all(text, Loader=_Loader) if found is not None]
    except yaml.YAMLError as wrong:
        raise click.UsageError(f"{source} is no YAML: {wrong}") from wrong
    objects: list[Object] = []
    for number, found in enumerate(documents, 1):
        rows = found.get("items", [found]) if isinstance(found, dict) else [found]
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("metadata"), dict) or "kind" not in row:
                raise click.UsageError(f"{source}, document {number}: an object needs kind and metadata")
            objects.append(row)
    return objects
