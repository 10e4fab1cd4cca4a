// The pipelined weight gradient (pipeline.cuh): bf16, channel counts that are multiples of 8. Overwrites dW, or the partial sums
// of its split.
#include "copied_operands.cuh"
#include "convolution_weight_gradient.cuh"

using Bf16Arguments = ConvWeightGradientArguments<bf16>;

namespace {

template <int Rows, int Columns>
__device__ __forceinline__ void conv_weight_gradient_pipelined(const Bf16Arguments& arguments)
{
    using Tile = Pipeline<Rows, Columns, CopiedPatches<Rows>, CopiedErrors<Columns>>;
    DYNAMIC_SHARED(typename Tile::Shared, shared);
    const ConvShape& shape = arguments.shape;
    const int K = shape.K, columnTiles = divide_up(K, Columns);
    const int firstRow = blockIdx.x / columnTiles * Rows, firstColumn = blockIdx.x % columnTiles * Columns;
    const SplitPixels pixels(shape, arguments.split);
    CopiedPatches<Rows> left(arguments.x, shape, firstRow, pixels.first, pixels.end);
    CopiedErrors<Columns> right(arguments.dy, K, firstColumn, pixels.first, pixels.end);
    typename Tile::Sums sums;
    Tile::multiply(shared, left, right, divide_up(pixels.end - pixels.first, PipelineDepth), sums);
    GradientResults results(shape, arguments.split);
    Tile::template Results<WideOf<float>>::store(shared.results, sums, results, firstRow, shape.R * shape.S * shape.C, firstColumn, K);
}

}  // namespace

// Names end in the rows and columns of the tile.
KERNEL(PipelineThreads, conv_weight_gradient_pipelined_128_128, Bf16Arguments) { conv_weight_gradient_pipelined<128, 128>(arguments); }
KERNEL(PipelineThreads, conv_weight_gradient_pipelined_128_64, Bf16Arguments) { conv_weight_gradient_pipelined<128, 64>(arguments); }
KERNEL(PipelineThreads, conv_weight_gradient_pipelined_64_64, Bf16Arguments) { conv_weight_gradient_pipelined<64, 64>(arguments); }
