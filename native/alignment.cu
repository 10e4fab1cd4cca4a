// Inner product and squared norms of two tensors, of one layout or transposed to each other, in double precision: each
// block adds up its part in a fixed order, and alignment_finish the blocks. clip_factor makes of the norm of all gradients
// what updates multiply them by.
#include "transposed.cuh"

constexpr int CompareThreads = 256, FinishThreads = 256;

template <class Number>
struct CompareArguments
{
    long long length, elementsPerBlock;
    const Number *a, *b;
    double* partials;  // [blocks][3]
};

struct AlignArguments
{
    TransposedShape shape;
    const float* w;    // forward layout
    const float* b;    // feedback layout
    double* partials;  // [blocks][3]
};

struct AlignmentFinishArguments
{
    long long blocks;
    const double* partials;  // [blocks][3]
    double* result;          // [3]
};

struct ClipFactorArguments
{
    long long blocks;
    const double* partials;  // [blocks][3], of all gradients
    float* factor;
    float most;
};

namespace {

struct Sums
{
    double dot, squaredA, squaredB;

    __device__ __forceinline__ void add(double a, double b)
    {
        dot = fma(a, b, dot);
        squaredA = fma(a, a, squaredA);
        squaredB = fma(b, b, squaredB);
    }

    __device__ __forceinline__ void add(const Sums& other)
    {
        dot += other.dot;
        squaredA += other.squaredA;
        squaredB += other.squaredB;
    }
};

struct BlockSums
{
    Sums at[256];
};

// Adds the threads' sums pairwise, in one order; thread 0 gets them.
__device__ __forceinline__ Sums sum_over_block(BlockSums& shared, const Sums& own)
{
    shared.at[threadIdx.x] = own;
    for (unsigned half = 128; half > 0; half /= 2)
    {
        __syncthreads();
        if (threadIdx.x < half) shared.at[threadIdx.x].add(shared.at[threadIdx.x + half]);
    }

    return threadIdx.x == 0 ? shared.at[0] : own;
}

__device__ __forceinline__ void finish_block(BlockSums& shared, const Sums& own, double* result)
{
    const Sums sums = sum_over_block(shared, own);
    if (threadIdx.x != 0) return;
    result[0] = sums.dot;
    result[1] = sums.squaredA;
    result[2] = sums.squaredB;
}

// A thread's part of the sums of all blocks.
__device__ __forceinline__ Sums sum_blocks(const double* partials, long long blocks)
{
    Sums sums = {0, 0, 0};
    for (long long block = threadIdx.x; block < blocks; block += FinishThreads)
    {
        const double* partial = partials + 3 * block;
        sums.add(Sums{partial[0], partial[1], partial[2]});
    }

    return sums;
}

struct AlignShared
{
    Square square;
    BlockSums sums;
};

template <class Number>
__device__ __forceinline__ void compare(BlockSums& shared, const CompareArguments<Number>& arguments)
{
    const long long first = blockIdx.x * arguments.elementsPerBlock, left = arguments.length - first;
    const long long end = left < arguments.elementsPerBlock ? arguments.length : first + arguments.elementsPerBlock;
    Sums sums = {0, 0, 0};
    for (long long i = first + threadIdx.x; i < end; i += CompareThreads)
        sums.add(load_number(arguments.a + i), load_number(arguments.b + i));
    finish_block(shared, sums, arguments.partials + 3ll * blockIdx.x);
}

}  // namespace

KERNEL(CompareThreads, compare_fp32, CompareArguments<float>)
{
    SHARED(BlockSums, shared);
    compare(shared, arguments);
}

KERNEL(CompareThreads, compare_bf16, CompareArguments<bf16>)
{
    SHARED(BlockSums, shared);
    compare(shared, arguments);
}

KERNEL(SquareThreads, align, AlignArguments)
{
    SHARED(AlignShared, shared);
    Sums sums = {0, 0, 0};
    walk_transposed(
        shared.square, arguments.shape, [&](long long i) { return arguments.w[i]; },
        [&](long long j, float w) { sums.add(w, arguments.b[j]); });
    const long long block = (static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    finish_block(shared.sums, sums, arguments.partials + 3 * block);
}

KERNEL(FinishThreads, alignment_finish, AlignmentFinishArguments)
{
    SHARED(BlockSums, shared);
    finish_block(shared, sum_blocks(arguments.partials, arguments.blocks), arguments.result);
}

KERNEL(FinishThreads, clip_factor, ClipFactorArguments)
{
    SHARED(BlockSums, shared);
    const Sums sums = sum_over_block(shared, sum_blocks(arguments.partials, arguments.blocks));
    if (threadIdx.x != 0) return;
    const double norm = sqrt(sums.squaredA);
    *arguments.factor = norm > arguments.most ? static_cast<float>(arguments.most / norm) : 1.0f;
}
