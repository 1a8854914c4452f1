"""Writes files into a C++ header as string constants: OUTPUT, then pairs of NAME and FILE.

A constant is cut into pieces, since some compilers bound the length of a literal.
"""

import sys

output, *pairs = sys.argv[1:]
with open(output, "w", encoding="utf-8") as header:
    header.write("#pragma once\n\nnamespace tenon::cuda {\n")
    for name, path in zip(pairs[::2], pairs[1::2], strict=True):
        with open(path, encoding="utf-8") as file:
            text = file.read().replace("#pragma once\n", "")
        header.write(f"\ninline constexpr char {name}[] =\n")
        pieces = [text[i : i + 4000] for i in range(0, len(text), 4000)]
        header.write("\n".join(f'    R"cuda({piece})cuda"' for piece in pieces))
        header.write(";\n")
    header.write("\n}  // namespace tenon::cuda\n")
