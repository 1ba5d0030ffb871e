"""groth16py (arkworks behind Python) beside the kernels: the seconds of a proof from files, the least of a few.

Run by the Python of the environment that it was installed in, with a folder that holds `key.zkey` and `made.wtns`.
"""

import json
import os
import sys
import time

import groth16py

ROUNDS = 3


def main() -> None:
    folder = sys.argv[1]
    key, _ = groth16py.import_zkey(os.path.join(folder, "key.zkey"))
    took = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        groth16py.prove_wtns(key, os.path.join(folder, "made.wtns"))
        took.append(time.perf_counter() - started)
    print(json.dumps(min(took[1:])))


main()
