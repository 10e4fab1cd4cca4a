// The forward convolution of conv_forward.cu as a pipeline (pipeline.cuh), for tensors of bf16 and channel counts that are
// multiples of 8. Overwrites y.
#include "conv_forward.cuh"
#include "copied_operands.cuh"

namespace {

// Forward results of a thread's columns, and their statistics over its rows: as deviations from the first row, because sums of
// squares of the numbers themselves would lose the digits of a small deviation from a large mean.
template <class Result, int Width>
struct ResultsWithStatistics
{
    const ForwardResults<bf16, Result> results;
    int rows = 0;
    Lanes<Width> shift = {}, sum = {}, squares = {};

    __device__ __forceinline__ long long place(int pixel) const { return results.place(pixel); }

    __device__ __forceinline__ void store(long long place, int k, const Lanes<Width>& sums)
    {
        const Lanes<Width> y = results.store(place, k, sums);
        if (rows++ == 0) shift = y;
#pragma unroll
        for (int l = 0; l < Width; l++)
        {
            const float deviation = y.at[l] - shift.at[l];
            sum.at[l] += deviation;
            squares.at[l] = fmaf(deviation, deviation, squares.at[l]);
        }
    }
};

// How many of a tile's rows belong to a group.
template <int Groups>
struct RowsOfGroup
{
    int rows;

    __device__ __forceinline__ int operator()(int group) const { return rows > group ? (rows - group + Groups - 1) / Groups : 0; }
};

template <int Rows, int Columns, class Result>
__device__ __forceinline__ void conv_forward_pipelined(const ConvForwardArguments<bf16, Result>& arguments)
{
    using Tile = Pipeline<Rows, Columns, CopiedPixels<Rows>, CopiedWeightRows<Columns>>;
    constexpr int Width = WideOf<Result>, Groups = Tile::template Results<Width>::Groups;
    union Shared
    {
        typename Tile::Shared product;
        TileStatistics<Groups, Columns> statistics;
    };
    DYNAMIC_SHARED(Shared, shared);
    const Gather gather = forward_gather(arguments.shape);
    const int K = arguments.shape.K, pixels = gather.pixels(), columnTiles = (K + Columns - 1) / Columns;
    // Blocks that share pixels run side by side: pixels come from memory once, weights stay in the cache.
    const int rowTile = blockIdx.x / columnTiles, firstRow = rowTile * Rows, firstColumn = blockIdx.x % columnTiles * Columns;
    CopiedPixels<Rows> left(arguments.x, gather, firstRow);
    CopiedWeightRows<Columns> right(arguments.w, gather, K, firstColumn);
    typename Tile::Sums sums;
    Tile::multiply(shared.product, left, right, (gather.depth() + PipelineDepth - 1) / PipelineDepth, sums);
    ResultsWithStatistics<Result, Width> results = {{arguments}};
    Tile::template Results<Width>::store(shared.product, sums, results, firstRow, pixels, firstColumn, K);
    if (!arguments.partials) return;

    const int group = Tile::template Results<Width>::group(), column = Tile::template Results<Width>::first_column();
    const float share = 1.0f / (results.rows > 0 ? results.rows : 1);
    __syncthreads();
#pragma unroll
    for (int l = 0; l < Width; l++)
    {
        const float mean = results.sum.at[l] * share, squares = fmaf(-mean, results.sum.at[l], results.squares.at[l]);
        shared.statistics.mean[group][column + l] = results.shift.at[l] + mean;
        shared.statistics.squares[group][column + l] = squares > 0 ? squares : 0;
    }

    __syncthreads();
    const int merged = threadIdx.x;
    if (merged >= Columns || firstColumn + merged >= K) return;
    const RowsOfGroup<Groups> rowsOf = {pixels - firstRow < Rows ? pixels - firstRow : Rows};
    float* partial = arguments.partials + static_cast<long long>(rowTile) * 2 * K + firstColumn + merged;
    shared.statistics.merge(rowsOf, merged, partial, partial + K);
}

using Bf16Arguments = ConvForwardArguments<bf16, bf16>;
using Bf16ToFloatArguments = ConvForwardArguments<bf16, float>;

}  // namespace

// Names end in the tile's rows and columns; _to_fp32_ stores y as float.
KERNEL(PipelineThreads, conv_forward_pipelined_128_128, Bf16Arguments) { conv_forward_pipelined<128, 128>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_128_64, Bf16Arguments) { conv_forward_pipelined<128, 64>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_64_64, Bf16Arguments) { conv_forward_pipelined<64, 64>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_to_fp32_128_128, Bf16ToFloatArguments) { conv_forward_pipelined<128, 128>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_to_fp32_128_64, Bf16ToFloatArguments) { conv_forward_pipelined<128, 64>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_to_fp32_64_64, Bf16ToFloatArguments) { conv_forward_pipelined<64, 64>(arguments); }
