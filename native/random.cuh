// The random numbers of interop/FeedbackKernels.Interop/Random, computed where they are used and never stored. Philox4x32-10 (Salmon
// et al. 2011) is a function of a counter and a key, so every backend and every thread computes the same numbers.
#pragma once

#include "numbers.cuh"

struct RandomBlock
{
    unsigned word[4];
};

__device__ inline RandomBlock philox(unsigned c0, unsigned c1, unsigned c2, unsigned c3, unsigned long long key)
{
    unsigned k0 = static_cast<unsigned>(key), k1 = static_cast<unsigned>(key >> 32);
#pragma unroll 1
    for (int round = 0; round < 10; round++)
    {
        const unsigned long long product0 = 0xD2511F53ull * c0, product1 = 0xCD9E8D57ull * c2;
        c0 = static_cast<unsigned>(product1 >> 32) ^ c1 ^ k0;
        c2 = static_cast<unsigned>(product0 >> 32) ^ c3 ^ k1;
        c1 = static_cast<unsigned>(product1);
        c3 = static_cast<unsigned>(product0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }

    return {{c0, c1, c2, c3}};
}

// The key of one stream of random numbers; RandomKey in C#.
struct RandomKey
{
    unsigned long long seed;
    unsigned purpose, layer, step;

    __device__ __forceinline__ RandomBlock block(unsigned index) const { return philox(index, purpose, layer, step, seed); }
};

struct Gaussians
{
    float first, second;
};

// Box-Muller: two normal numbers from two words. Not inlined, because it is called in unrolled loops.
__device__ __noinline__ inline Gaussians gaussians(unsigned word0, unsigned word1, float standardDeviation)
{
    const float unit = 1.0f / (1 << 24);
    const float u = static_cast<float>(word0 >> 8) * unit, v = static_cast<float>(word1 >> 8) * unit;
    // 1 - u is in (0, 1], where the logarithm is finite.
    const float radius = standardDeviation * sqrtf(-2.0f * static_cast<float>(log_double(1.0f - u)));
    const SinCos angle = sin_cos(6.2831855f * v);
    return {radius * angle.cos, radius * angle.sin};
}

// Word i of a block, by selects: an index would put the block into local memory.
__device__ __forceinline__ unsigned word_of(const RandomBlock& block, int i)
{
    return i == 0 ? block.word[0] : i == 1 ? block.word[1] : i == 2 ? block.word[2] : block.word[3];
}

enum NoiseKind
{
    NoiseBalanced = 0,
    NoiseGaussian = 1,
    NoiseSign = 2
};

// HadamardMatrix in C#: the Kronecker product of a matrix of Paley's, or a single 1, and Sylvester's.
struct HadamardMatrix
{
    int prime;          // q of Paley's matrix of 2 (q + 1) rows: 5, 13 or 17; 0 for a single 1
    int sylvesterBits;  // log2 of the order of Sylvester's

    __device__ __forceinline__ unsigned order() const { return paley_rows() << sylvesterBits; }

    // The lowest bit says whether the entry is -1. The other bits have no meaning.
    __device__ __forceinline__ unsigned is_negative(unsigned row, unsigned column) const
    {
        // Sylvester's: the parity of the bits that both indices have.
        unsigned sign = static_cast<unsigned>(__popc(row & column & sylvester_mask()));
        if (prime != 0)
        {
            // Paley's consists of (1 1; 1 -1) and its negative, and of (1 -1; -1 -1) on the diagonal.
            row >>= sylvesterBits;
            column >>= sylvesterBits;
            const unsigned i = row >> 1, j = column >> 1;
            if (i == j) sign ^= row | column;
            else
            {
                sign ^= row & column;
                // A bit for each square modulo q; the rest of the differences make a negative block.
                const unsigned squares = prime == 5 ? 0x12u : prime == 13 ? 0x161Au : 0x1A316u;
                if (i != 0 && j != 0) sign ^= ~squares >> (i > j ? i - j : j - i);
            }
        }

        return sign;
    }

    // A keyed permutation of the indices, computed instead of stored.
    __device__ __forceinline__ unsigned permute(unsigned index, unsigned key0, unsigned key1) const
    {
        unsigned paley = index >> sylvesterBits;
        const unsigned sylvester = permute_bits(index & sylvester_mask(), key0 + paley * 0x9E3779B9u, key1);
        if (prime == 0) return sylvester;
        unsigned turn = (sylvester ^ key0) * 0x9E3779B1u;
        turn = (turn ^ turn >> 16) * 0x85EBCA6Bu;
        paley += static_cast<unsigned>(static_cast<unsigned long long>(turn) * paley_rows() >> 32);
        if (paley >= paley_rows()) paley -= paley_rows();
        return paley << sylvesterBits | sylvester;
    }

private:
    __device__ __forceinline__ unsigned paley_rows() const { return prime == 0 ? 1 : 2 * (prime + 1); }

    __device__ __forceinline__ unsigned sylvester_mask() const { return (1u << sylvesterBits) - 1; }

    __device__ static __forceinline__ unsigned rotate_left(unsigned x, int by) { return x << by | x >> (32 - by); }

    __device__ __forceinline__ unsigned permute_bits(unsigned x, unsigned key0, unsigned key1) const
    {
        const unsigned mask = sylvester_mask();
        const int half = (sylvesterBits + 1) / 2;
        x = (x * (key0 | 1) + key1) & mask;
        x ^= x >> half;
        x = (x * (rotate_left(key1, 7) | 1) + rotate_left(key0, 13)) & mask;
        x ^= x >> half;
        x = (x * 0x9E3779B1u + (key0 ^ key1)) & mask;
        x ^= x >> half;
        return x & mask;
    }
};

// The noise of a weight mirror; MirrorNoise in C#. Sample g is a vector that depends on seed, layer and g only.
struct MirrorNoise
{
    unsigned long long seed;
    unsigned layer;
    int kind;
    HadamardMatrix matrix;  // for balanced noise, whose cycles have one sample for each row
    float standardDeviation;

    // What all numbers of a sample share.
    struct Sample
    {
        unsigned sample, cycle, row, columnKey0, columnKey1;
    };

    __device__ __forceinline__ Sample start(long long index) const
    {
        Sample sample = {static_cast<unsigned>(index), 0, 0, 0, 0};
        if (kind == NoiseBalanced)
        {
            // Indices are below 2^32.
            const unsigned order = matrix.order();
            sample.cycle = static_cast<unsigned>(index) / order;
            const RandomBlock keys = RandomKey{seed, MirrorOrder, layer, sample.cycle}.block(0);
            sample.row = matrix.permute(static_cast<unsigned>(index) - sample.cycle * order, keys.word[0], keys.word[1]);
            sample.columnKey0 = keys.word[2];
            sample.columnKey1 = keys.word[3];
        }

        return sample;
    }

    // Numbers i to i + Width - 1 of a sample; Width is 1, 4 or 8, and i is a multiple of it.
    template <int Width>
    __device__ __forceinline__ Lanes<Width> numbers(const Sample& sample, int i) const
    {
        Lanes<Width> result;
        if (kind == NoiseGaussian)
        {
            const RandomKey key = {seed, MirrorNumbers, layer, sample.sample};
            if constexpr (Width == 1)
            {
                const RandomBlock block = key.block(static_cast<unsigned>(i) / 4);
                const bool upper = i & 2;
                const Gaussians pair = gaussians(upper ? block.word[2] : block.word[0], upper ? block.word[3] : block.word[1], standardDeviation);
                result.at[0] = i & 1 ? pair.second : pair.first;
            }
            else
            {
#pragma unroll
                for (int j = 0; j < Width; j += 4)
                {
                    const RandomBlock block = key.block(static_cast<unsigned>(i + j) / 4);
                    const Gaussians first = gaussians(block.word[0], block.word[1], standardDeviation);
                    const Gaussians second = gaussians(block.word[2], block.word[3], standardDeviation);
                    result.at[j] = first.first;
                    result.at[j + 1] = first.second;
                    result.at[j + 2] = second.first;
                    result.at[j + 3] = second.second;
                }
            }
        }
        else
        {
            const bool balanced = kind == NoiseBalanced;
            const RandomKey key = {seed, balanced ? MirrorSigns : MirrorNumbers, layer, balanced ? sample.cycle : sample.sample};
            const unsigned signs = word_of(key.block(static_cast<unsigned>(i) / 128), i / 32 % 4);
#pragma unroll
            for (int j = 0; j < Width; j++)
            {
                unsigned sign = signs >> ((i + j) % 32);
                if (balanced) sign ^= matrix.is_negative(sample.row, matrix.permute(i + j, sample.columnKey0, sample.columnKey1));
                result.at[j] = bits_as<float>(bits_as<unsigned>(standardDeviation) | sign << 31);
            }
        }

        return result;
    }

private:
    static constexpr unsigned MirrorNumbers = 3, MirrorOrder = 4, MirrorSigns = 5;
};
