"""Measurements against other trainers and against the machine's limit; README.md says how to run and read them."""
