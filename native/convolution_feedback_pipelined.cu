// The pipelined feedback convolution (pipeline.cuh): bf16, channel counts that are multiples of 8. Overwrites dx or adds to it.
#include "convolution_feedback.cuh"
#include "copied_operands.cuh"

using Bf16Arguments = ConvFeedbackArguments<bf16>;

namespace {

template <int Rows, int Columns, class Weights>
__device__ __forceinline__ void conv_feedback_pipelined(const Bf16Arguments& arguments)
{
    using Tile = Pipeline<Rows, Columns, CopiedPixels<Rows>, Weights>;
    DYNAMIC_SHARED(typename Tile::Shared, shared);
    const ConvShape& shape = arguments.shape;
    const FeedbackClass pixels(shape);
    const Gather& gather = pixels.gather;
    const int C = shape.C, columnTiles = divide_up(C, Columns);
    // Neighbouring blocks share their pixels, which are then read from memory once; the weights stay in the cache.
    const int firstRow = blockIdx.x / columnTiles * Rows, firstColumn = blockIdx.x % columnTiles * Columns;
    if (firstRow >= gather.pixels() || changes_nothing(arguments, gather)) return;
    CopiedPixels<Rows> left(arguments.dy, gather, firstRow);
    Weights right(arguments.weights, gather, C, firstColumn);
    typename Tile::Sums sums;
    Tile::multiply(shared, left, right, divide_up(gather.depth(), PipelineDepth), sums);
    FeedbackResults<bf16> results(arguments, pixels);
    Tile::template Results<WideOf<bf16>>::store(shared.results, sums, results, firstRow, gather.pixels(), firstColumn, C);
}

}  // namespace

// Names end in the rows and columns of the tile.
KERNEL(PipelineThreads, conv_feedback_pipelined_128_128, Bf16Arguments) { conv_feedback_pipelined<128, 128, CopiedWeightRows<128>>(arguments); }
KERNEL(PipelineThreads, conv_feedback_pipelined_128_64, Bf16Arguments) { conv_feedback_pipelined<128, 64, CopiedWeightRows<64>>(arguments); }
KERNEL(PipelineThreads, conv_feedback_pipelined_64_64, Bf16Arguments) { conv_feedback_pipelined<64, 64, CopiedWeightRows<64>>(arguments); }
KERNEL(PipelineThreads, conv_feedback_transposed_pipelined_128_128, Bf16Arguments)
{
    conv_feedback_pipelined<128, 128, CopiedWeightColumns<128>>(arguments);
}
KERNEL(PipelineThreads, conv_feedback_transposed_pipelined_128_64, Bf16Arguments)
{
    conv_feedback_pipelined<128, 64, CopiedWeightColumns<64>>(arguments);
}
KERNEL(PipelineThreads, conv_feedback_transposed_pipelined_64_64, Bf16Arguments)
{
    conv_feedback_pipelined<64, 64, CopiedWeightColumns<64>>(arguments);
}
