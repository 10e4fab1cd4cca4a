// The weight gradient on Hopper, by TMA and wgmma (hopper_product.cuh), in bf16. Overwrites dW, or the partial sums of its split.
//
// One stage of the reduction is a box of up to 64 output pixels. In both operands the pixels are rows of a tile: the left tile has
// 64 channels of x under one tap for each warpgroup, the right one the columns of dy. Outside the output the TMA fills in zeros
// of dy, in the padding zeros of x.
#include "hopper_product.cuh"

struct ConvWeightGradientSm90Arguments
{
    TensorMap inputs[InputPlanes];  // [N][H][W][C], or planes of it; boxes of 64 channels
    TensorMap errors;               // [N][P][Q][K], boxes of 64 channels
    ConvShape shape;
    int boxImages, boxRows, boxColumns;  // a multiple of 16 pixels
    int boxes, boxesPerSplit;
    int planes;  // 4, or 1 where inputs[0] is the whole tensor
    float* dw;   // [splits][R][S][C][K]
};

namespace {

template <int Columns>
struct alignas(1024) GradientShared
{
    ProductRing<Columns> ring;
    RingBarriers<StagesOf<Columns>> barriers;
};

// 64 channels of one tap: the 64 rows of dW that a warpgroup computes.
struct TapChannels
{
    int row, column, channel;
    bool exists;

    __device__ __forceinline__ TapChannels(const ConvShape& shape, int number)
    {
        const int parts = divide_up(shape.C, BoxWidth), tap = number / parts;
        row = tap / shape.S;
        column = tap % shape.S;
        channel = number % parts * BoxWidth;
        exists = tap < shape.R * shape.S;
    }
};

template <int Columns>
__device__ __forceinline__ void produce(
    GradientShared<Columns>& shared, const ConvWeightGradientSm90Arguments& arguments, const TensorMap* maps, int firstBox, int endBox, int firstColumn)
{
    const ConvShape& shape = arguments.shape;
    const TapChannels parts[Groups] = {{shape, static_cast<int>(blockIdx.x) * Groups}, {shape, static_cast<int>(blockIdx.x) * Groups + 1}};
    const int boxPixels = arguments.boxImages * arguments.boxRows * arguments.boxColumns;
    const int bytes = ((parts[1].exists ? Groups : 1) * BoxWidth + Columns) * boxPixels * static_cast<int>(sizeof(bf16));
    const int across = divide_up(shape.Q, arguments.boxColumns), down = divide_up(shape.P, arguments.boxRows);
    const TensorMap* const errorMap = &maps[InputPlanes];
    for (int i = 0; i < arguments.planes; i++) tensor_map_prefetch(&maps[i]);
    tensor_map_prefetch(errorMap);
    RingCursor<StagesOf<Columns>> cursor;
    for (int box = firstBox; box < endBox; box++)
    {
        const int above = box / across;
        const int image = above / down * arguments.boxImages, p = above % down * arguments.boxRows, q = box % across * arguments.boxColumns;
        const int stage = claim_stage(shared.barriers, cursor, bytes);
        SharedBarrier* full = &shared.barriers.full[stage];
#pragma unroll
        for (int group = 0; group < Groups; group++)
        {
            const TapChannels& part = parts[group];
            if (!part.exists) continue;
            const PlanePlace place = plane_of(
                arguments.planes, p * shape.stride - shape.padding + part.row, q * shape.stride - shape.padding + part.column);
            tma_load_box(
                &shared.ring.left[stage].at[group * GroupRows], &maps[place.map], full, part.channel, place.column, place.row, image);
        }

#pragma unroll
        for (int column = 0; column < Columns; column += BoxWidth)
            tma_load_box(&shared.ring.right[stage].at[column], errorMap, full, firstColumn + column, q, p, image);
    }
}

// Multiplies `boxes` boxes of `steps` times 16 pixels each; steps is 1 to Most.
template <int Columns, int Most = BoxWidth / StepDepth>
__device__ __forceinline__ void multiply_boxes(GradientShared<Columns>& shared, int boxes, int steps, float (&sums)[Columns / 2])
{
    if constexpr (Most > 1)
    {
        if (steps < Most)
        {
            multiply_boxes<Columns, Most - 1>(shared, boxes, steps, sums);
            return;
        }
    }

    multiply_stages<Columns, true, true, Most>(shared.ring, shared.barriers, boxes, sums);
}

template <int Columns>
__device__ __forceinline__ void conv_weight_gradient(const ConvWeightGradientSm90Arguments& arguments, const TensorMap* maps)
{
    using Shared = GradientShared<Columns>;
    DYNAMIC_SHARED(Shared, shared);
    const ConvShape& shape = arguments.shape;
    const int firstColumn = blockIdx.y * Columns, firstBox = blockIdx.z * arguments.boxesPerSplit;
    const int endBox = arguments.boxes - firstBox < arguments.boxesPerSplit ? arguments.boxes : firstBox + arguments.boxesPerSplit;
    if (threadIdx.x == 0) shared.barriers.start();
    __syncthreads();
    if (threadIdx.x >= ProductThreads)
    {
        if (threadIdx.x == ProductThreads) produce<Columns>(shared, arguments, maps, firstBox, endBox, firstColumn);
        return;
    }

    const int steps = arguments.boxImages * arguments.boxRows * arguments.boxColumns / StepDepth;
    float sums[Columns / 2];
    multiply_boxes<Columns>(shared, endBox - firstBox, steps, sums);

    const TapChannels part(shape, static_cast<int>(blockIdx.x * Groups + threadIdx.x / GroupThreads));
    if (!part.exists) return;
    float* dw = arguments.dw + static_cast<long long>(blockIdx.z) * shape.R * shape.S * shape.C * shape.K;
#pragma unroll
    for (int half = 0; half < 2; half++)
    {
        const int c = part.channel + hopper_row(half) % GroupRows;
        if (c >= shape.C) continue;
        float* row = dw + (static_cast<long long>(part.row * shape.S + part.column) * shape.C + c) * shape.K;
#pragma unroll
        for (int j = 0; j < Columns / 8; j++)
        {
            const int k = firstColumn + hopper_column(j);
            if (k < shape.K) store_lanes<2>(row + k, Lanes<2>{{sums[4 * j + 2 * half], sums[4 * j + 2 * half + 1]}});
        }
    }
}

}  // namespace

// Names end in the columns of the tile.
HOPPER_KERNEL(HopperThreads, 2, conv_weight_gradient_sm90_64, ConvWeightGradientSm90Arguments) { conv_weight_gradient<64>(arguments, maps); }
HOPPER_KERNEL(HopperThreads, 2, conv_weight_gradient_sm90_128, ConvWeightGradientSm90Arguments) { conv_weight_gradient<128>(arguments, maps); }
