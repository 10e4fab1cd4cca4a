// The functions of native/hopper.cuh on the host.
#pragma once

#include "hopper_unit.h"

struct TensorMap;

#define HOPPER_KERNEL(threads, blocks, name, Arguments)                                           \
    static void name##_body(const Arguments& arguments, const TensorMap* maps);                   \
    KERNEL(threads, name, Arguments)                                                              \
    {                                                                                             \
        name##_body(arguments, reinterpret_cast<const TensorMap*>(&arguments));                   \
    }                                                                                             \
    static void name##_body(const Arguments& arguments, const TensorMap* maps)

inline void barrier_init(unsigned long long* barrier, int arrivals) { emulated::barrier_init(shared_address(barrier), arrivals); }
inline void fence_barrier_init() { emulated::fence_barrier_init(); }
inline void barrier_arrive(unsigned long long* barrier) { emulated::barrier_arrive(shared_address(barrier), 0); }

inline void barrier_arrive_expect_tx(unsigned long long* barrier, int bytes)
{
    emulated::barrier_arrive(shared_address(barrier), bytes);
}

inline void barrier_wait(unsigned long long* barrier, unsigned parity) { emulated::barrier_wait(shared_address(barrier), parity); }

template <int Threads>
inline void named_barrier_sync() { emulated::named_barrier(1, Threads); }

inline void tensor_map_prefetch(const TensorMap* map) { emulated::require_tensor_map(map); }

template <class... Indices>
inline void tma_load_box(void* shared, const TensorMap* map, unsigned long long* barrier, Indices... indices)
{
    const int place[] = {indices...};
    emulated::tma_load_box(shared_address(shared), map, shared_address(barrier), place, sizeof...(indices));
}

inline int warp_uniform(int value) { return value; }

inline void wgmma_fence() { emulated::wgmma_fence(); }
inline void wgmma_commit_group() { emulated::wgmma_commit_group(); }

template <int Left, int Count>
inline void wgmma_wait_group(float (&)[Count]) { emulated::wgmma_wait_group(Left); }

template <int Columns, bool LeftMnMajor, bool RightMnMajor>
inline void wgmma_bf16(float (&sums)[Columns / 2], unsigned long long left, unsigned long long right)
{
    emulated::wgmma_bf16(sums, Columns, {left, LeftMnMajor}, {right, RightMnMajor});
}
