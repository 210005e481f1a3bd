"""Compiled loops; importing one takes numba."""
