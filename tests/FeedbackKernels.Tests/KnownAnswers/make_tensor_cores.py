#!/usr/bin/python3
"""Computes in exact arithmetic what one instruction of tensor cores adds up to, and writes tensor_cores.json to its folder.

    python3 make_tensor_cores.py
    python3 make_tensor_cores.py --check FOLDER

The model is that of F. A. Khattak and M. Mikaitis, Accurate Models of NVIDIA Tensor Cores, arXiv:2512.07004, 2025: 8 products at
once and 24 bits below the largest exponent for compute capability 8, 16 products and 25 bits for 9. Their repository,
github.com/north-numerical-computing/MATLAB-tensor-core, has results that were measured on GPUs; with --check and a clone of it this
script compares the model with those of the A100, the H100 and the H200 in bf16, 5,000 each. All are equal, and with one bit more or
less hundreds of each differ.
"""
import json
import math
import pathlib
import random
import struct
import sys
from fractions import Fraction

FOLDER = pathlib.Path(__file__).parent
DEVICES = {8: (8, 24, -132), 9: (16, 25, -133)}  # products of a block, fraction bits, least exponent


def number(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def bits_of(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def bf16(value):
    """The bits of a number cut off to bf16."""
    return bits_of(value) & 0xFFFF0000


def parts(value):
    """Significand and exponent, as the format stores them: subnormal numbers have the exponent -126."""
    exponent, magnitude = 0, abs(Fraction(value))
    while magnitude >= 2 ** (exponent + 1):
        exponent += 1
    while magnitude < Fraction(2) ** exponent and exponent > -126:
        exponent -= 1
    return Fraction(value) / Fraction(2) ** exponent, exponent


def towards_zero(value):
    return abs(value.numerator) // value.denominator * (-1 if value < 0 else 1)


def add_block(total, left, right, fraction, least):
    terms = [parts(total)] if total else []
    for a, b in zip(left, right):
        if a and b:
            (m, e), (n, f) = parts(a), parts(b)
            terms.append((m * n, e + f))
    if not terms:
        return 0.0
    largest = max(least, max(exponent for _, exponent in terms))
    fixed = sum(towards_zero(m * Fraction(2) ** (fraction + e - largest)) for m, e in terms)
    exact = fixed * Fraction(2) ** (largest - fraction)
    if exact == 0:
        return 0.0
    significand, exponent = parts(exact)
    if exponent > 127:
        return float("-inf") if exact < 0 else float("inf")
    return float(towards_zero(significand * 2 ** 23) * Fraction(2) ** (exponent - 23))


def instruction(device, total, left, right):
    block, fraction, least = device
    for first in range(0, len(left), block):
        if math.isinf(total):
            return total  # the products are finite
        total = add_block(total, left[first:first + block], right[first:first + block], fraction, least)
    return total


def check(folder):
    for card, major in (("A100", 8), ("H100", 9), ("H200", 9)):
        def rows(name):
            return (pathlib.Path(folder) / "model_validation" / card / "bf16" / name).read_text().splitlines()
        operands = [[[number(int(word, 16)) for word in row.split()] for row in rows(f"{which}_{card}_bf16.txt")] for which in "ab"]
        totals, results = ([number(int(row, 2)) for row in rows(f"{which}_{card}_fp32.txt")] for which in "cd")
        for lost in (-1, 0, 1):
            device = (DEVICES[major][0], DEVICES[major][1] - lost, DEVICES[major][2])
            wrong = sum(instruction(device, c, a, b) != d for a, b, c, d in zip(*operands, totals, results))
            print(f"{card}: {wrong} of {len(results)} differ with {device[1]} bits")


def main():
    draw = random.Random(19)

    def value(kind):
        scale = {"normal": 0, "wide": draw.randint(-14, 14), "cancelling": draw.randint(-6, 6), "small": draw.randint(-68, -60), "large": draw.randint(60, 64)}
        return draw.gauss(0, 1) * 2.0 ** scale[kind]

    sums = []
    for kind in ("normal", "wide", "cancelling", "small", "large"):
        for _ in range(12):
            left, right = ([bf16(value(kind)) for _ in range(16)] for _ in range(2))
            total = value(kind) * 2.0 ** {"small": -66, "large": 60}.get(kind, 2)
            if kind == "cancelling":
                left[5], right[5] = bf16(-number(left[2])), right[2]
                left[12], right[12] = bf16(-number(left[3])), right[3]
                total = -number(left[0]) * number(right[0])
            for major in sorted(DEVICES):
                result = instruction(DEVICES[major], number(bits_of(total)), [number(b) for b in left], [number(b) for b in right])
                sums.append({"kind": kind, "major": major, "sum": [bits_of(total)], "left": left, "right": right, "result": [bits_of(result)]})
    lines = ",\n".join(json.dumps(entry) for entry in sums)
    (FOLDER / "tensor_cores.json").write_text('{"sums": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    check(sys.argv[2]) if sys.argv[1:2] == ["--check"] else main()
