"""`tb-cli`: the chain, its markets and its members from a shell."""
