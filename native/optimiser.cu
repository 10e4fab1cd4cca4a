// One step of SGD in one pass over parameter, gradient and velocity, and over the bf16 copy of the parameter where there is one;
// and the factor by which a step scales gradients whose norm is too large.
#include "elementwise.cuh"
#include "inner_products.cuh"
#include "sgd.cuh"

struct SgdUpdateArguments
{
    long long length;
    int wide;
    SgdStep step;
    float* parameter;
    const float* gradient;
    float* velocity;
    bf16* copy;  // or null
};

struct ClipFactorArguments
{
    long long blocks;
    const double* partials;  // [blocks][3], of all gradients: compare of each gradient with itself
    float* factor;
    float most;
};

namespace {

struct Update
{
    const SgdUpdateArguments& arguments;
    const SgdStep step;

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        Lanes<Width> parameter = load_lanes<Width>(arguments.parameter + i), velocity = load_lanes<Width>(arguments.velocity + i);
        const Lanes<Width> gradient = load_lanes<Width>(arguments.gradient + i);
#pragma unroll
        for (int l = 0; l < Width; l++) step.apply(parameter.at[l], gradient.at[l], velocity.at[l]);
        store_lanes<Width>(arguments.parameter + i, parameter);
        store_lanes<Width>(arguments.velocity + i, velocity);
        if (arguments.copy) store_lanes<Width>(arguments.copy + i, parameter);
    }
};

}  // namespace

KERNEL(ElementThreads, sgd_update, SgdUpdateArguments)
{
    for_each_run<WideOf<float>>(arguments.length, arguments.wide, Update{arguments, arguments.step.read()});
}

// factor = min(1, most / norm of all gradients).
KERNEL(ProductSumThreads, clip_factor, ClipFactorArguments)
{
    SHARED(ThreadSums, shared);
    const InnerProducts sums = sum_over_block(shared, sum_blocks(arguments.partials, arguments.blocks));
    if (threadIdx.x != 0) return;
    const double norm = sqrt(sums.squaredA);
    *arguments.factor = norm > arguments.most ? static_cast<float>(arguments.most / norm) : 1.0f;
}
