"""Can features tell beforehand that an answer will be wrong? A probe on SAE features against what it has to beat.

`problems` says what is predicted, `nested` is the full protocol for one slice, `quick` one pass for any other,
`effects` what each feature alone has to do with errors. Importing this package imports nothing heavy.
"""
