"""Checks of the charts that need no cluster: `python -m tools.charts`."""
