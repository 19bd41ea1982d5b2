"""Certificates: checking those that people bring (X.509), making some for development, obtaining them from an ACME directory.
Imports `store`, `routing`, `daemon` and `nouns`.

Begin with `x509`, then `development_ca` and `install`; `acme` is a program of its own that converge starts.
"""
