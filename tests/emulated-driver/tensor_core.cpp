#include "tensor_core.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace emulated {

thread_local SumRule sumRule;

namespace {

// Columns that are computed together: the compiler makes vector instructions of the loops over them.
constexpr std::size_t Lanes = 8, MostRows = 64;

// The exponent of a zero: less than any other, so that no term is aligned to it.
constexpr std::int32_t ZeroExponent = -4096;

std::uint32_t bits_of(float value)
{
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

// A number is significand * 2^(exponent - 23), or in bf16, without the 16 bits that are zero there, significand * 2^(exponent - 7).
struct Parts
{
    std::int32_t significand, exponent;
};

Parts parts_of(float value, int zeroBits)
{
    const std::uint32_t bits = bits_of(value), biased = bits >> 23 & 255;
    const std::uint32_t magnitude = ((bits & 0x7FFFFF) | (biased != 0 ? 0x800000u : 0u)) >> zeroBits;
    const std::int32_t exponent = magnitude == 0 ? ZeroExponent : biased != 0 ? static_cast<std::int32_t>(biased) - 127 : -126;
    return {bits >> 31 ? -static_cast<std::int32_t>(magnitude) : static_cast<std::int32_t>(magnitude), exponent};
}

// Shifts left, then right, and cuts off towards zero.
std::int32_t shifted(std::int32_t value, int up, std::int32_t down)
{
    const std::int32_t sign = value >> 31;
    const std::int32_t magnitude = ((value ^ sign) - sign) << up >> (down < 31 ? down : 31);
    return (magnitude ^ sign) - sign;
}

// Cuts off to binary32 what is not subnormal there. From 2^128 on the result is infinite.
float cut_off(double value)
{
    std::uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= ~0x1FFFFFFFull;
    std::memcpy(&value, &bits, sizeof bits);
    return static_cast<float>(value);
}

// 2^exponent, which is in the range of normal numbers.
double power_of_two(std::int32_t exponent)
{
    const std::uint64_t bits = static_cast<std::uint64_t>(exponent + 1023) << 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

// Adds a block of products to the sums of a few columns.
void add_block(const SumRule& rule, float* sums, const Parts* left, const std::int32_t (*significands)[Lanes], const std::int32_t (*exponents)[Lanes])
{
    Parts before[Lanes];
    std::int32_t largest[Lanes], total[Lanes] = {};
    for (std::size_t l = 0; l < Lanes; l++)
    {
        before[l] = parts_of(sums[l], 0);
        largest[l] = before[l].exponent > rule.leastExponent ? before[l].exponent : rule.leastExponent;
    }

    for (int k = 0; k < rule.block; k++)
    {
        for (std::size_t l = 0; l < Lanes; l++)
        {
            const std::int32_t exponent = left[k].exponent + exponents[k][l];
            largest[l] = exponent > largest[l] ? exponent : largest[l];
        }
    }

    // Products have 14 fractional bits. 16 of at most 2^16 * 2^11 do not overflow: 255 * 255 * 2048 * 16 < 2^31.
    for (int k = 0; k < rule.block; k++)
    {
        for (std::size_t l = 0; l < Lanes; l++)
            total[l] += shifted(left[k].significand * significands[k][l], rule.fraction - 14, largest[l] - left[k].exponent - exponents[k][l]);
    }

    const int up = rule.fraction > 23 ? rule.fraction - 23 : 0, down = rule.fraction < 23 ? 23 - rule.fraction : 0;
    constexpr double leastNormal = 0x1p-126, leastStep = 0x1p-149;
    double exact[Lanes];
    int subnormal = 0;
    for (std::size_t l = 0; l < Lanes; l++)
    {
        const std::int32_t kept = shifted(before[l].significand, up, down + largest[l] - before[l].exponent);
        exact[l] = (static_cast<double>(total[l]) + kept) * power_of_two(largest[l] - rule.fraction);
        sums[l] = cut_off(exact[l]);
        subnormal |= (std::fabs(exact[l]) < leastNormal) & (exact[l] != 0);
    }

    for (std::size_t l = 0; subnormal && l < Lanes; l++)
    {
        if (std::fabs(exact[l]) < leastNormal) sums[l] = static_cast<float>(std::trunc(exact[l] / leastStep) * leastStep);
    }
}

void add_truncated(const SumRule& rule, float* sums, const float* left, const float* right, std::size_t rows, std::size_t columns)
{
    Parts parts[MostRows][InstructionDepth];
    for (std::size_t i = 0; i < rows * InstructionDepth; i++) parts[i / InstructionDepth][i % InstructionDepth] = parts_of(left[i], 16);
    for (std::size_t first = 0; first < columns; first += Lanes)
    {
        std::int32_t significands[InstructionDepth][Lanes], exponents[InstructionDepth][Lanes];
        for (std::size_t k = 0; k < InstructionDepth; k++)
        {
            for (std::size_t l = 0; l < Lanes; l++)
            {
                const Parts number = parts_of(right[k * columns + first + l], 16);
                significands[k][l] = number.significand;
                exponents[k][l] = number.exponent;
            }
        }

        const auto block = static_cast<std::size_t>(rule.block);
        for (std::size_t m = 0; m < rows; m++)
        {
            for (std::size_t k = 0; k < InstructionDepth; k += block)
                add_block(rule, sums + m * columns + first, parts[m] + k, significands + k, exponents + k);
        }
    }
}

void add_rounded(float* sums, const float* left, const float* right, std::size_t rows, std::size_t columns)
{
    for (std::size_t first = 0; first < columns; first += Lanes)
    {
        float part[InstructionDepth][Lanes];
        for (std::size_t k = 0; k < InstructionDepth; k++) std::memcpy(part[k], right + k * columns + first, sizeof part[k]);
        for (std::size_t m = 0; m < rows; m++)
        {
            float row[Lanes] = {};
            for (std::size_t k = 0; k < InstructionDepth; k++)
            {
                for (std::size_t l = 0; l < Lanes; l++) row[l] += left[m * InstructionDepth + k] * part[k][l];
            }

            for (std::size_t l = 0; l < Lanes; l++) sums[m * columns + first + l] += row[l];
        }
    }
}

bool all_finite(const float* values, std::size_t count)
{
    bool finite = true;
    for (std::size_t i = 0; i < count; i++) finite &= (bits_of(values[i]) >> 23 & 255) != 255;
    return finite;
}

// The sums that an infinity or a NaN reaches, which are those of IEEE 754. No sum of finite products overflows a double.
std::vector<std::pair<std::size_t, float>> special_sums(
    const float* sums, const float* left, const float* right, std::size_t rows, std::size_t columns)
{
    std::vector<std::pair<std::size_t, float>> special;
    for (std::size_t i = 0; i < rows * columns; i++)
    {
        double sum = sums[i];
        for (std::size_t k = 0; k < InstructionDepth; k++)
            sum += static_cast<double>(left[i / columns * InstructionDepth + k]) * static_cast<double>(right[k * columns + i % columns]);
        if (!std::isfinite(sum)) special.emplace_back(i, static_cast<float>(sum));
    }

    return special;
}

}  // namespace

SumRule truncating_rule(long long computeMajor, long long lostBits)
{
    const int lost = static_cast<int>(lostBits);
    return computeMajor >= 9 ? SumRule{16, 25 - lost, -133} : SumRule{8, 24 - lost, -132};
}

void multiply_accumulate(const SumRule& rule, float* sums, const float* left, const float* right, std::size_t rows, std::size_t columns)
{
    if (rule.block == 0)
    {
        add_rounded(sums, left, right, rows, columns);
        return;
    }

    const std::size_t depth = InstructionDepth;
    if (all_finite(sums, rows * columns) && all_finite(left, rows * depth) && all_finite(right, depth * columns))
    {
        add_truncated(rule, sums, left, right, rows, columns);
        return;
    }

    const std::vector<std::pair<std::size_t, float>> special = special_sums(sums, left, right, rows, columns);
    add_truncated(rule, sums, left, right, rows, columns);
    for (const auto& [place, value] : special) sums[place] = value;
}

}  // namespace emulated
