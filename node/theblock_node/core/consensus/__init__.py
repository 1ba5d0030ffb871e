"""Algorithms of agreement over plain values: who may propose, which head wins, what is final."""
