// The pipelined forward convolution (pipeline.cuh): bf16, channel counts that are multiples of 8. Overwrites y.
#include "convolution_forward.cuh"
#include "copied_operands.cuh"

namespace {

// How many rows of a tile belong to a group: row group, group + Groups, ...
template <int Groups>
struct RowsOfGroup
{
    int rows;

    __device__ __forceinline__ int operator()(int group) const { return rows > group ? divide_up(rows - group, Groups) : 0; }
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
    const int K = arguments.shape.K, pixels = gather.pixels(), columnTiles = divide_up(K, Columns);
    // Neighbouring blocks share their pixels, which are then read from memory once; the weights stay in the cache.
    const int rowTile = blockIdx.x / columnTiles, firstRow = rowTile * Rows, firstColumn = blockIdx.x % columnTiles * Columns;
    CopiedPixels<Rows> left(arguments.x, gather, firstRow);
    CopiedWeightRows<Columns> right(arguments.w, gather, K, firstColumn);
    typename Tile::Sums sums;
    Tile::multiply(shared.product, left, right, divide_up(gather.depth(), PipelineDepth), sums);
    ResultsWithStatistics<Result, Width> results = {{arguments}};
    Tile::template Results<Width>::store(shared.product.results, sums, results, firstRow, pixels, firstColumn, K);
    if (!arguments.partials) return;

    __syncthreads();
    put_statistics(shared.statistics, results, Tile::template Results<Width>::group(), Tile::template Results<Width>::first_column());
    __syncthreads();
    const int column = threadIdx.x;
    if (column >= Columns || firstColumn + column >= K) return;
    const RowsOfGroup<Groups> rowsOf = {pixels - firstRow < Rows ? pixels - firstRow : Rows};
    float* partial = arguments.partials + static_cast<long long>(rowTile) * 2 * K + firstColumn + column;
    const Moments moments = shared.statistics.merge(rowsOf, column);
    partial[0] = moments.mean;
    partial[K] = moments.squares;
}

using Bf16Arguments = ConvForwardArguments<bf16, bf16>;
using Bf16ToFloatArguments = ConvForwardArguments<bf16, float>;

}  // namespace

// Names end in the rows and columns of the tile; with _to_fp32_ y is float.
KERNEL(PipelineThreads, conv_forward_pipelined_128_128, Bf16Arguments) { conv_forward_pipelined<128, 128>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_128_64, Bf16Arguments) { conv_forward_pipelined<128, 64>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_64_64, Bf16Arguments) { conv_forward_pipelined<64, 64>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_to_fp32_128_128, Bf16ToFloatArguments) { conv_forward_pipelined<128, 128>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_to_fp32_128_64, Bf16ToFloatArguments) { conv_forward_pipelined<128, 64>(arguments); }
KERNEL(PipelineThreads, conv_forward_pipelined_to_fp32_64_64, Bf16ToFloatArguments) { conv_forward_pipelined<64, 64>(arguments); }
