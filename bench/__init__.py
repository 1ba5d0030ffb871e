"""The benchmark table: what theblock does in a second, beside named peers that are timed in the same run.

    python -m bench [--only NAME]... [--json FILE]

Machines differ and are never quiet, so the ratios are what to compare: the two sides of one take turns, and each
figure is a median. A bench that cannot run here says why instead of giving a number.
"""
