// CUDA C on the host: the compiler's command line includes this before every file of native/. A kernel becomes a function that the
// emulated driver finds by its name; the keywords and functions of CUDA C become those of scheduler.h.
#pragma once

#define FEEDBACK_EMULATED_DEVICE 1

#include <cmath>
#include <cstddef>
#include <cstring>

#include "scheduler.h"
#include "tensor_core.h"

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

using std::fabs;
using std::fma;
using std::rint;
using std::sqrt;

#define threadIdx (emulated::current->index)
#define blockIdx (emulated::current->block->index)
#define gridDim (emulated::current->block->grid)

#define KERNEL(threads, name, Arguments)                                                                          \
    static void name(const Arguments& arguments);                                                                 \
    static const emulated::Registration name##_registration(                                                      \
        #name, threads, sizeof(Arguments), [](const void* a) { name(*static_cast<const Arguments*>(a)); });       \
    static void name(const Arguments& arguments)

#define SHARED(Type, name) Type& name = *static_cast<Type*>(emulated::shared_memory(sizeof(Type), alignof(Type)))
#define DYNAMIC_SHARED(Type, name) Type& name = *static_cast<Type*>(emulated::dynamic_shared_memory(sizeof(Type)))
#define DYNAMIC_SHARED_BYTES(name, bytes) unsigned char* const name = static_cast<unsigned char*>(emulated::dynamic_shared_memory(bytes))

inline void __syncthreads() { emulated::block_barrier(); }
inline unsigned __shfl_xor_sync(unsigned mask, unsigned value, int lanes) { return emulated::shuffle_xor(mask, value, lanes); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline float exp2_approximate(float a) { return std::exp2(a); }

inline void emulated_require_aligned(const void* address, std::size_t alignment)
{
    if (reinterpret_cast<std::size_t>(address) % alignment != 0) emulated::fail_misaligned(address, alignment);
}

// To the nearest bf16, ties to even; a NaN stays one.
inline unsigned emulated_bf16(float value)
{
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return bits >> 16 | 0x40;
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

inline unsigned pack_bf16(float first, float second) { return emulated_bf16(first) | emulated_bf16(second) << 16; }

inline unsigned shared_address(const void* shared) { return emulated::shared_address(shared); }

// Each lane passes its row along, so that no lane reads a row that another has overwritten.
template <bool Transposed>
inline void ldmatrix(unsigned (&fragments)[4], unsigned row)
{
    std::memcpy(fragments, emulated::with_warp(emulated::shared_pointer(row, 16), 16, [](emulated::WarpExchange& warp) {
        unsigned short matrices[4][8][8], result[8];
        std::size_t lane = 0;
        for (; lane < 32; lane++) std::memcpy(matrices[lane / 8][lane % 8], warp.in[lane], 16);
        for (lane = 0; lane < 32; lane++)
        {
            for (std::size_t m = 0; m < 4; m++)
            {
                const std::size_t line = lane / 4, pair = lane % 4 * 2;
                for (std::size_t e = 0; e < 2; e++) result[2 * m + e] = Transposed ? matrices[m][pair + e][line] : matrices[m][line][pair + e];
            }

            std::memcpy(warp.out[lane], result, 16);
        }
    }), 16);
}

// c += a * b. Each lane passes its part of all three; the last one computes for the warp.
inline void mma_bf16(float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    struct Mine
    {
        unsigned operands[6];
        float sums[4];
    };

    const Mine mine = {{a[0], a[1], a[2], a[3], b0, b1}, {c0, c1, c2, c3}};
    float results[4];
    std::memcpy(results, emulated::with_warp(&mine, sizeof mine, [](emulated::WarpExchange& warp) {
        float left[16][16], right[16][8], sums[16][8];
        for (std::size_t lane = 0; lane < 32; lane++)
        {
            Mine its;
            std::memcpy(&its, warp.in[lane], sizeof its);
            const std::size_t row = lane / 4, pair = lane % 4 * 2;
            for (std::size_t e = 0; e < 2; e++)
            {
                for (std::size_t r = 0; r < 6; r++)
                {
                    const unsigned bits = (its.operands[r] >> 16 * e) << 16;
                    float value;
                    std::memcpy(&value, &bits, sizeof value);
                    if (r < 4) left[row + r % 2 * 8][pair + e + r / 2 * 8] = value;
                    else right[pair + e + (r - 4) * 8][row] = value;
                }

                sums[row][pair + e] = its.sums[e];
                sums[row + 8][pair + e] = its.sums[2 + e];
            }
        }

        emulated::multiply_accumulate(emulated::sumRule, sums[0], left[0], right[0], 16, 8);
        for (std::size_t lane = 0; lane < 32; lane++)
        {
            const std::size_t row = lane / 4, pair = lane % 4 * 2;
            const float own[4] = {sums[row][pair], sums[row][pair + 1], sums[row + 8][pair], sums[row + 8][pair + 1]};
            std::memcpy(warp.out[lane], own, sizeof own);
        }
    }), sizeof results);
    c0 = results[0];
    c1 = results[1];
    c2 = results[2];
    c3 = results[3];
}

inline void cp_async(unsigned shared, const void* global, bool inside)
{
    emulated_require_aligned(global, 16);
    emulated::cp_async(shared, global, inside);
}

inline void cp_async_commit_group() { emulated::cp_async_commit_group(); }

template <int Groups>
inline void cp_async_wait_group() { emulated::cp_async_wait_group(Groups); }

template <class To, class From>
inline To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From), "a bit pattern keeps its size");
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}

#include "hopper.h"
