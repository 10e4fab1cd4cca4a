// The language of native/*.cu on the host: included before every kernel file by the compiler's command line. A kernel
// becomes a function that the emulated driver finds by its name; the words of CUDA C become what scheduler.h offers.
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

#define SHARED(Type, name) Type& name = *static_cast<Type*>(emulated::shared_memory(sizeof(Type)))

inline void __syncthreads() { emulated::block_barrier(); }
inline unsigned __shfl_xor_sync(unsigned mask, unsigned value, int lanes) { return emulated::shuffle_xor(mask, value, lanes); }
inline int __popc(unsigned a) { return __builtin_popcount(a); }
inline float exp2_approximate(float a) { return std::exp2(a); }

inline void emulated_require_aligned(const void* address, std::size_t alignment)
{
    if (reinterpret_cast<std::size_t>(address) % alignment != 0) emulated::fail_misaligned(address, alignment);
}

template <class To, class From>
inline To bits_as(From from)
{
    static_assert(sizeof(To) == sizeof(From), "a bit pattern keeps its size");
    To to;
    std::memcpy(&to, &from, sizeof(To));
    return to;
}
