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
inline void publish_barriers() { emulated::publish_barriers(); }
inline void barrier_arrive(unsigned long long* barrier) { emulated::barrier_arrive(shared_address(barrier), 0); }

inline void barrier_arrive_expecting(unsigned long long* barrier, int bytes)
{
    emulated::barrier_arrive(shared_address(barrier), bytes);
}

inline void barrier_wait(unsigned long long* barrier, unsigned parity) { emulated::barrier_wait(shared_address(barrier), parity); }

template <int Threads>
inline void first_threads_barrier() { emulated::named_barrier(1, Threads); }

inline void tensor_map_prefetch(const TensorMap* map) { emulated::require_tensor_map(map); }

template <class... Indices>
inline void load_box(void* shared, const TensorMap* map, unsigned long long* barrier, Indices... indices)
{
    const int place[] = {indices...};
    emulated::load_box(shared_address(shared), map, shared_address(barrier), place, sizeof...(indices));
}

inline void products_begin() { emulated::products_begin(); }
inline void products_commit() { emulated::products_commit(); }

template <int Left, int Count>
inline void products_wait(float (&)[Count]) { emulated::products_wait(Left); }

template <int Columns, bool LeftTurned, bool RightTurned>
inline void multiply_add(float (&sums)[Columns / 2], unsigned long long left, unsigned long long right)
{
    emulated::multiply_add(sums, Columns, {left, LeftTurned}, {right, RightTurned});
}
