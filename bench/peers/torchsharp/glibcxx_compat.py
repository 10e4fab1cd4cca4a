#!/usr/bin/env python3
"""Lets TorchSharp's native wrapper load on systems with libstdc++ older than 13 (Debian 12).

usage: glibcxx_compat.py path/to/libLibTorchSharp.so      (edits this file; may be run again)

The wrapper (0.107.0) was linked against libstdc++ 13 and requires version GLIBCXX_3.4.32 because of one symbol. This script marks
the requirement as weak, so that the loader only warns about it. The symbol itself comes from iosinit.cpp, which is preloaded.
"""
import struct
import sys

SHT_GNU_VERNEED = 0x6FFFFFFE
VER_FLG_WEAK = 2
TOO_NEW = ("GLIBCXX_3.4.31", "GLIBCXX_3.4.32")


def section_headers(elf):
    """The section headers of a 64-bit little-endian file."""
    table, = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    return [struct.unpack_from("<IIQQQQIIQQ", elf, table + i * size) for i in range(count)]


def weaken(elf):
    """Marks the requirements as weak, in place; returns how many."""
    sections = section_headers(elf)
    weakened = 0
    for _, kind, _, _, offset, _, link, *_ in sections:
        if kind != SHT_GNU_VERNEED:
            continue
        strings = sections[link][4]
        need = offset
        while True:
            _, count, _, first, following = struct.unpack_from("<HHIII", elf, need)
            entry = need + first
            for _ in range(count):
                _, flags, _, name, step = struct.unpack_from("<IHHII", elf, entry)
                start = strings + name
                if elf[start:elf.index(0, start)].decode() in TOO_NEW:
                    struct.pack_into("<H", elf, entry + 4, flags | VER_FLG_WEAK)
                    weakened += 1
                entry += step
            if following == 0:
                break
            need += following
    return weakened


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = sys.argv[1]
    with open(path, "rb") as file:
        elf = bytearray(file.read())
    weakened = weaken(elf)
    with open(path, "wb") as file:
        file.write(elf)
    print(f"{path}: {weakened} version requirement(s) marked weak", file=sys.stderr)


if __name__ == "__main__":
    main()
