"""What labels features stand for, by probes: sparse probing, SCR and TPP, and the hierarchy that absorption is read
off. Units are texts (examples), codes pooled over their tokens. Importing this package imports nothing heavy.
"""
