"""Writes a header that names sources by their hash: OUTPUT generator_hash.h defines
TENON_GENERATOR_HASH.

Objects on disk depend on the generator that made them; this way a change of it is a new key without
anyone having to remember. Usage: source_hash.py OUTPUT SOURCE...
"""

import hashlib
import sys
from pathlib import Path

output, *sources = sys.argv[1:]
digest = hashlib.sha256()
for source in sorted(sources):
    with open(source, "rb") as file:
        digest.update(file.read())
with open(output, "w", encoding="ascii") as file:
    file.write("#pragma once\n")
    name = Path(output).stem.upper()
    file.write(f'#define TENON_{name} "{digest.hexdigest()[:32]}"\n')
