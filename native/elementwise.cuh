// A grid-stride loop over arrays of one length, 16 bytes at a time where the addresses allow it.
#pragma once

#include "numbers.cuh"

constexpr int ElementThreads = 256;

// Calls body.run<Width>(i) for i = 0, Width, ... and body.run<1>(i) for the remaining elements; without `wide` only the latter.
template <int Width, class Body>
__device__ __forceinline__ void for_each_run(long long length, bool wide, const Body& body)
{
    const long long thread = static_cast<long long>(blockIdx.x) * ElementThreads + threadIdx.x;
    const long long threads = static_cast<long long>(gridDim.x) * ElementThreads;
    const long long runs = wide ? length / Width : 0;
    for (long long i = thread; i < runs; i += threads) body.template run<Width>(i * Width);
    for (long long i = runs * Width + thread; i < length; i += threads) body.template run<1>(i);
}
