"""SSH public keys and the proof of a login: parsed, judged, named by fingerprint. Pure but for cryptography. Imports `nouns`.

Begin with `publickey`, then `proof`; `formats` recognises files that hold keys in other formats.
"""
