"""`python -m theblock_kernels`: make the library of every back end, and say which is used here."""

from __future__ import annotations

import sys

from theblock_kernels import library
from theblock_kernels.library import KernelsMissing


def main() -> int:
    try:
        for path in library.make_all(library.READY):
            print(path)
        print(f"used here: {library.load().back_end}")
    except KernelsMissing as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
