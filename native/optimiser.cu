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

// SlabSegment in C#: a parameter, and the first of the blocks that update it.
struct SlabSegment
{
    long long offset, length, firstBlock;
    float weightDecay, shrink;
};

// CoupledSegment in C#: forward and feedback weights of a layer, and the first of their blocks.
struct CoupledSegment
{
    long long offset, feedbackOffset, firstBlock;
    int C, K;
    float weightDecay, shrink;
};

struct SgdUpdateSlabArguments
{
    const SlabSegment* segments;
    int count, wide;
    SgdStep step;
    float* values;
    const float* gradients;
    float* velocities;
    bf16* copies;  // or null
};

struct SgdUpdateCoupledSlabArguments
{
    const CoupledSegment* segments;
    int count;
    SgdStep step;
    float* values;              // forward layout
    const float* gradients;     // forward layout
    float* velocities;          // forward layout
    float* feedback;            // feedback layout
    float* feedbackVelocities;  // feedback layout
    bf16* copies;               // forward layout or null
    bf16* feedbackCopies;       // feedback layout or null
};

namespace {

struct Update
{
    const SgdStep step;
    float* values;
    const float* gradients;
    float* velocities;
    bf16* copies;  // or null

    template <int Width>
    __device__ __forceinline__ void run(long long i) const
    {
        Lanes<Width> value = load_lanes<Width>(values + i), velocity = load_lanes<Width>(velocities + i);
        const Lanes<Width> gradient = load_lanes<Width>(gradients + i);
#pragma unroll
        for (int l = 0; l < Width; l++) step.apply(value.at[l], gradient.at[l], velocity.at[l]);
        store_lanes<Width>(values + i, value);
        store_lanes<Width>(velocities + i, velocity);
        if (copies) store_lanes<Width>(copies + i, value);
    }
};

constexpr int SlabBlockElements = 4096;

// The last segment that begins at or before a block.
template <class Segment>
__device__ __forceinline__ const Segment& segment_of_block(const Segment* segments, int count, long long block)
{
    int low = 0, high = count;
    while (high - low > 1)
    {
        const int middle = (low + high) / 2;
        if (segments[middle].firstBlock <= block) low = middle;
        else high = middle;
    }

    return segments[low];
}

template <class Segment>
__device__ __forceinline__ SgdStep step_of(const SgdStep& step, const Segment& segment)
{
    SgdStep own = step.read();
    own.weightDecay = segment.weightDecay;
    own.shrink = segment.shrink;
    return own;
}

}  // namespace

KERNEL(ElementThreads, sgd_update, SgdUpdateArguments)
{
    const Update update = {arguments.step.read(), arguments.parameter, arguments.gradient, arguments.velocity, arguments.copy};
    for_each_run<WideOf<float>>(arguments.length, arguments.wide, update);
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

// One launch updates all parameters of a model: most have a few hundred elements, and a launch takes longer than their update.
KERNEL(ElementThreads, sgd_update_slab, SgdUpdateSlabArguments)
{
    constexpr int Width = WideOf<float>;
    const SlabSegment& segment = segment_of_block(arguments.segments, arguments.count, blockIdx.x);
    const long long first = (blockIdx.x - segment.firstBlock) * SlabBlockElements, left = segment.length - first;
    const int elements = left < SlabBlockElements ? static_cast<int>(left) : SlabBlockElements;
    const int runs = arguments.wide ? elements / Width : 0;
    const long long begin = segment.offset + first;
    const Update update = {
        step_of(arguments.step, segment), arguments.values + begin, arguments.gradients + begin, arguments.velocities + begin,
        arguments.copies ? arguments.copies + begin : nullptr};
    for (int i = threadIdx.x; i < runs; i += ElementThreads) update.run<Width>(i * Width);
    for (int i = runs * Width + threadIdx.x; i < elements; i += ElementThreads) update.run<1>(i);
}

// Kolen-Pollack: W and B take the same step, B with the transposed gradient. A block reads its square of the gradient once.
KERNEL(SquareThreads, sgd_update_coupled_slab, SgdUpdateCoupledSlabArguments)
{
    SHARED(Square, square);
    const CoupledSegment& segment = segment_of_block(arguments.segments, arguments.count, blockIdx.x);
    const SgdStep step = step_of(arguments.step, segment);
    const long long block = blockIdx.x - segment.firstBlock;
    const int squaresK = divide_up(segment.K, SquareSide), squaresC = divide_up(segment.C, SquareSide);
    const SquarePlace place = {
        static_cast<int>(block % squaresK), static_cast<int>(block / squaresK % squaresC), static_cast<int>(block / squaresK / squaresC)};
    walk_transposed(
        square, place, segment.C, segment.K,
        [&](long long i) {
            const long long at = segment.offset + i;
            const float gradient = arguments.gradients[at];
            float w = arguments.values[at];
            step.apply(w, gradient, arguments.velocities[at]);
            store_with_copy(arguments.values, arguments.copies, at, w);
            return gradient;
        },
        [&](long long j, float gradient) {
            const long long at = segment.feedbackOffset + j;
            float b = arguments.feedback[at];
            step.apply(b, gradient, arguments.feedbackVelocities[at]);
            store_with_copy(arguments.feedback, arguments.feedbackCopies, at, b);
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
