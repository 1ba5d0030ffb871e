"""Proofs that rules verify."""
