"""The protocol: pure functions from state and block to state and receipts.

Nothing in here knows a clock, chance, disk, network, thread or float.
"""
