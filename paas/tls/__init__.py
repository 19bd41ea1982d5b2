"""Certificates: judged when people bring them (X.509), made for development, asked for from an ACME directory.
Imports `store`, `front`, `daemon` and `nouns`.

Begin with `x509`, then `development_ca`; `acme` is a program of its own that converge starts.
"""
