// The arithmetic of tensor cores: an instruction multiplies bf16 operands over 16 depths and adds the products to fp32 sums.
#pragma once

#include <cstddef>

namespace emulated {

constexpr std::size_t InstructionDepth = 16;

// How the products of an instruction are added.
struct SumRule
{
    // Depths that are added at once in fixed point. 0: the 16 products are added in binary32, their sum to the sum before, and each
    // addition rounds to nearest.
    int block = 0;
    // Bits of the fixed point below the largest exponent, and the least value of this exponent.
    int fraction = 0, leastExponent = 0;
};

// The rule of a device that truncates, by the major number of its compute capability, with a number of bits fewer than it has.
//
// The products of a block are exact. They and the sum before are aligned to the largest exponent among them, where a product has the sum
// of the exponents of its factors (its significand is in [1, 4)). What lies below the fraction is cut off each of them; their sum is
// exact, and is cut off to binary32. The order within a block does not matter. Up to Ada a block has 8 depths, so that an instruction
// adds two blocks one after the other, and the fraction 24 bits, one more than binary32; from Hopper on they are 16 and 25, for mma.sync
// and for wgmma.
//
// Sources: M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, Numerical behavior of NVIDIA tensor cores, PeerJ Computer Science 7:e330, 2021
// (truncation, the block of 8 and the extra bit of the A100); F. A. Khattak, M. Mikaitis, Accurate Models of NVIDIA Tensor Cores,
// arXiv:2512.07004, 2025, and P. Xie, Y. Wang, F. Yang, M. Yang, MMA-Sim, arXiv:2511.10909, 2025 (both: 8 and 24 for Ampere, 16 and 25 for
// Hopper, bit by bit). With these numbers the 15,000 results measured on an A100, an H100 and an H200 which the second publishes come out
// bit for bit; with one bit more or less they do not (KnownAnswers/make_tensor_cores.py has the check).
constexpr long long MostLostBits = 10;

SumRule truncating_rule(long long computeMajor, long long lostBits);

// The rule of the kernels that this thread runs.
extern thread_local SumRule sumRule;

// sums += left * right: [rows][16] by [16][columns] in bf16, widened; columns are a multiple of 8.
void multiply_accumulate(const SumRule& rule, float* sums, const float* left, const float* right, std::size_t rows, std::size_t columns);

}  // namespace emulated
