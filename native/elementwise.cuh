// One pass over arrays of one length: a thread takes four numbers at a time where the addresses allow it, the rest singly,
// and strides over the grid.
#pragma once

#include "numbers.cuh"

constexpr int ElementThreads = 256;

// Calls body.run<4>(i) for i = 0, 4, ... and body.run<1>(i) for what is left; all of it singly where fours is false.
template <class Body>
__device__ __forceinline__ void for_each_run(long long length, bool fours, const Body& body)
{
    const long long thread = static_cast<long long>(blockIdx.x) * ElementThreads + threadIdx.x;
    const long long threads = static_cast<long long>(gridDim.x) * ElementThreads;
    const long long runs = fours ? length / 4 : 0;
    for (long long i = thread; i < runs; i += threads) body.template run<4>(i * 4);
    for (long long i = runs * 4 + thread; i < length; i += threads) body.template run<1>(i);
}
