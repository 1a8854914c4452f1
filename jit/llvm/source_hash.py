"""Writes a header that names the sources of the code generator by their hash.

Objects on disk depend on the generator that made them; this way a change of it is a new key without
anyone having to remember. Usage: source_hash.py OUTPUT SOURCE...
"""

import hashlib
import sys

output, *sources = sys.argv[1:]
digest = hashlib.sha256()
for source in sorted(sources):
    with open(source, "rb") as file:
        digest.update(file.read())
with open(output, "w", encoding="ascii") as file:
    file.write("#pragma once\n")
    file.write(f'#define TENON_GENERATOR_HASH "{digest.hexdigest()[:32]}"\n')
