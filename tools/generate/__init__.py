"""Everything that is made from something else: protos of domains, stubs, schemas, CRDs.

`python -m tools.generate` writes it, `--check` says what differs. All of it is committed.
"""
