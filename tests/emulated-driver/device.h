// CUDA C on the host: the compiler's command line includes this before every file of native/. A kernel becomes a function that the
// emulated driver finds by its name; the keywords and functions of CUDA C become those of scheduler.h.
#pragma once

#define FEEDBACK_EMULATED_DEVICE 1

#include <cmath>
#include <cstddef>
#include <cstring>

#include "scheduler.h"

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

// c += a * b: 16 exact products are summed in binary32, and the sum is added to c.
inline void mma_bf16(float& c0, float& c1, float& c2, float& c3, const unsigned (&a)[4], unsigned b0, unsigned b1)
{
    const unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    float products[4];
    std::memcpy(products, emulated::with_warp(mine, sizeof mine, [](emulated::WarpExchange& warp) {
        float left[16][16], right[16][8], result[16][8] = {};
        for (std::size_t lane = 0; lane < 32; lane++)
        {
            unsigned registers[6];
            std::memcpy(registers, warp.in[lane], sizeof registers);
            for (std::size_t r = 0; r < 6; r++)
            {
                for (std::size_t e = 0; e < 2; e++)
                {
                    const unsigned bits = (registers[r] >> 16 * e) << 16;
                    float value;
                    std::memcpy(&value, &bits, sizeof value);
                    const std::size_t pair = lane % 4 * 2 + e;
                    if (r < 4) left[lane / 4 + r % 2 * 8][pair + r / 2 * 8] = value;
                    else right[pair + (r - 4) * 8][lane / 4] = value;
                }
            }
        }

        for (std::size_t m = 0; m < 16; m++)
        {
            for (std::size_t k = 0; k < 16; k++)
            {
                for (std::size_t n = 0; n < 8; n++) result[m][n] += left[m][k] * right[k][n];
            }
        }

        for (std::size_t lane = 0; lane < 32; lane++)
        {
            const std::size_t row = lane / 4, pair = lane % 4 * 2;
            const float own[4] = {result[row][pair], result[row][pair + 1], result[row + 8][pair], result[row + 8][pair + 1]};
            std::memcpy(warp.out[lane], own, sizeof own);
        }
    }), sizeof products);
    c0 += products[0];
    c1 += products[1];
    c2 += products[2];
    c3 += products[3];
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
