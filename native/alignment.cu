// Inner product and squared norms of two tensors: of one layout (compare), or forward weights W and feedback weights B, one
// transposed (align). Each block writes its sums, and alignment_finish adds them.
#include "inner_products.cuh"
#include "transposed.cuh"

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

namespace {

struct AlignShared
{
    Square square;
    ThreadSums sums;
};

static_assert(SquareThreads == ProductSumThreads, "align sums over the threads of a square");

template <class Number>
__device__ __forceinline__ void compare(ThreadSums& shared, const CompareArguments<Number>& arguments)
{
    const long long first = blockIdx.x * arguments.elementsPerBlock, left = arguments.length - first;
    const long long end = left < arguments.elementsPerBlock ? arguments.length : first + arguments.elementsPerBlock;
    InnerProducts sums = {0, 0, 0};
    for (long long i = first + threadIdx.x; i < end; i += ProductSumThreads)
        sums.add(load_number(arguments.a + i), load_number(arguments.b + i));
    store_block_sums(shared, sums, arguments.partials + 3ll * blockIdx.x);
}

}  // namespace

KERNEL(ProductSumThreads, compare_fp32, CompareArguments<float>)
{
    SHARED(ThreadSums, shared);
    compare(shared, arguments);
}

KERNEL(ProductSumThreads, compare_bf16, CompareArguments<bf16>)
{
    SHARED(ThreadSums, shared);
    compare(shared, arguments);
}

KERNEL(SquareThreads, align, AlignArguments)
{
    SHARED(AlignShared, shared);
    InnerProducts sums = {0, 0, 0};
    walk_transposed(
        shared.square, arguments.shape, [&](long long i) { return arguments.w[i]; },
        [&](long long j, float w) { sums.add(w, arguments.b[j]); });
    const long long block = (static_cast<long long>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    store_block_sums(shared.sums, sums, arguments.partials + 3 * block);
}

KERNEL(ProductSumThreads, alignment_finish, AlignmentFinishArguments)
{
    SHARED(ThreadSums, shared);
    store_block_sums(shared, sum_blocks(arguments.partials, arguments.blocks), arguments.result);
}
