// Inner product and squared norms of two tensors in double precision, in a fixed order: a thread adds up its elements, a block
// its threads pairwise, and one block adds the results of all blocks.
#pragma once

#include "numbers.cuh"

constexpr int ProductSumThreads = 256;

struct InnerProducts
{
    double dot, squaredA, squaredB;

    __device__ __forceinline__ void add(double a, double b)
    {
        dot = fma(a, b, dot);
        squaredA = fma(a, a, squaredA);
        squaredB = fma(b, b, squaredB);
    }

    __device__ __forceinline__ void add(const InnerProducts& other)
    {
        dot += other.dot;
        squaredA += other.squaredA;
        squaredB += other.squaredB;
    }
};

struct ThreadSums
{
    InnerProducts at[ProductSumThreads];
};

// The sums of a block of ProductSumThreads threads; only thread 0 gets them.
__device__ __forceinline__ InnerProducts sum_over_block(ThreadSums& shared, const InnerProducts& own)
{
    shared.at[threadIdx.x] = own;
    for (unsigned half = ProductSumThreads / 2; half > 0; half /= 2)
    {
        __syncthreads();
        if (threadIdx.x < half) shared.at[threadIdx.x].add(shared.at[threadIdx.x + half]);
    }

    return threadIdx.x == 0 ? shared.at[0] : own;
}

// Stores the sums of a block in result[0] to result[2].
__device__ __forceinline__ void store_block_sums(ThreadSums& shared, const InnerProducts& own, double* result)
{
    const InnerProducts sums = sum_over_block(shared, own);
    if (threadIdx.x != 0) return;
    result[0] = sums.dot;
    result[1] = sums.squaredA;
    result[2] = sums.squaredB;
}

// One thread's share of the sums of all blocks, whose results are partials[blocks][3].
__device__ __forceinline__ InnerProducts sum_blocks(const double* partials, long long blocks)
{
    InnerProducts sums = {0, 0, 0};
    for (long long block = threadIdx.x; block < blocks; block += ProductSumThreads)
    {
        const double* partial = partials + 3 * block;
        sums.add(InnerProducts{partial[0], partial[1], partial[2]});
    }

    return sums;
}
