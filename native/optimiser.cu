// One step of SGD in one pass over parameter, gradient and velocity, and over the bf16 copy of the parameter where there is one:
// of forward weights and other parameters, and of feedback weights by the transposed gradient (Kolen-Pollack). And the factor by
// which a step scales gradients whose norm is too large.
#include "elementwise.cuh"
#include "inner_products.cuh"
#include "sgd.cuh"
#include "transposed.cuh"

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

struct SgdUpdateTransposedArguments
{
    TransposedShape shape;
    SgdStep step;
    float* b;          // feedback layout
    const float* dw;   // forward layout
    float* velocity;   // feedback layout
    bf16* copy;        // feedback layout or null
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

// Kolen-Pollack: the step of SGD on feedback weights with the transposed forward gradient.
KERNEL(SquareThreads, sgd_update_transposed, SgdUpdateTransposedArguments)
{
    SHARED(Square, square);
    const SgdStep step = arguments.step.read();
    walk_transposed(
        square, arguments.shape, [&](long long i) { return arguments.dw[i]; },
        [&](long long j, float gradient) {
            float b = arguments.b[j];
            step.apply(b, gradient, arguments.velocity[j]);
            store_with_copy(arguments.b, arguments.copy, j, b);
        });
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
