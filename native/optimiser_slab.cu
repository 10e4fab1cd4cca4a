// One step of SGD on all parameters of a model at once: a net has many parameters of a few hundred elements, and a launch for each
// would take longer than the update.
#include "elementwise.cuh"
#include "sgd.cuh"
#include "transposed.cuh"

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
    float* values;           // forward layout
    const float* gradients;  // forward layout
    float* velocities;       // forward layout
    float* feedback;            // feedback layout
    float* feedbackVelocities;  // feedback layout
    bf16* copies;          // or null
    bf16* feedbackCopies;  // or null
};

namespace {

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

template <int Width>
__device__ __forceinline__ void update(const SgdUpdateSlabArguments& arguments, const SgdStep& step, long long i)
{
    Lanes<Width> value = load_lanes<Width>(arguments.values + i), velocity = load_lanes<Width>(arguments.velocities + i);
    const Lanes<Width> gradient = load_lanes<Width>(arguments.gradients + i);
#pragma unroll
    for (int l = 0; l < Width; l++) step.apply(value.at[l], gradient.at[l], velocity.at[l]);
    store_lanes<Width>(arguments.values + i, value);
    store_lanes<Width>(arguments.velocities + i, velocity);
    if (arguments.copies) store_lanes<Width>(arguments.copies + i, value);
}

}  // namespace

KERNEL(ElementThreads, sgd_update_slab, SgdUpdateSlabArguments)
{
    constexpr int Width = WideOf<float>;
    const SlabSegment& segment = segment_of_block(arguments.segments, arguments.count, blockIdx.x);
    const SgdStep step = step_of(arguments.step, segment);
    const long long first = (blockIdx.x - segment.firstBlock) * SlabBlockElements, left = segment.length - first;
    const int elements = left < SlabBlockElements ? static_cast<int>(left) : SlabBlockElements;
    const int runs = arguments.wide ? elements / Width : 0;
    const long long begin = segment.offset + first;
    for (int i = threadIdx.x; i < runs; i += ElementThreads) update<Width>(arguments, step, begin + i * Width);
    for (int i = runs * Width + threadIdx.x; i < elements; i += ElementThreads) update<1>(arguments, step, begin + i);
}

// Kolen-Pollack: W and B take the same step, B with the transposed gradient. A block reads its square of the gradient once.
KERNEL(SquareThreads, sgd_update_coupled_slab, SgdUpdateCoupledSlabArguments)
{
    SHARED(Square, square);
    const CoupledSegment& segment = segment_of_block(arguments.segments, arguments.count, blockIdx.x);
    const SgdStep step = step_of(arguments.step, segment);
    const long long block = blockIdx.x - segment.firstBlock;
    const int squaresK = (segment.K + SquareSide - 1) / SquareSide, squaresC = (segment.C + SquareSide - 1) / SquareSide;
    const SquarePlace place = {
        static_cast<int>(block % squaresK), static_cast<int>(block / squaresK % squaresC), static_cast<int>(block / squaresK / squaresC)};
    walk_transposed(
        square, place, segment.C, segment.K,
        [&](long long i) {
            const long long at = segment.offset + i;
            const float gradient = arguments.gradients[at];
            float w = arguments.values[at];
            step.apply(w, gradient, arguments.velocities[at]);
            arguments.values[at] = w;
            if (arguments.copies) store_number(arguments.copies + at, w);
            return gradient;
        },
        [&](long long j, float gradient) {
            const long long at = segment.feedbackOffset + j;
            float b = arguments.feedback[at];
            step.apply(b, gradient, arguments.feedbackVelocities[at]);
            arguments.feedback[at] = b;
            if (arguments.feedbackCopies) store_number(arguments.feedbackCopies + at, b);
        });
}
