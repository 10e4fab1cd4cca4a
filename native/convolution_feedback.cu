// The portable feedback convolution: dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] * B[r,s,k,c] with h = p*u-z+r, w = q*u-z+s.
// Overwrites dx or adds to it. The weights are feedback weights [R][S][K][C], or forward weights [R][S][C][K] read transposed;
// the order of the sums is the same.
#include "convolution_feedback.cuh"

namespace {

template <class Product, int WidthDy, int WidthC, class Weights>
__device__ __forceinline__ void conv_feedback(const ConvFeedbackArguments<typename Product::Number>& arguments)
{
    using Images = MemoryImages<typename Product::Number>;
    using Left = GatheredPixels<WidthDy, Images>;
    using Tile = ProductTile<Product, Left, Weights>;
    constexpr int Width = WidthC < Product::Neighbours ? WidthC : Product::Neighbours;
    SHARED(Tile, tile);
    const ConvShape& shape = arguments.shape;
    const FeedbackClass pixels(shape);
    const Gather& gather = pixels.gather;
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    if (firstRow >= gather.pixels() || changes_nothing(arguments, gather)) return;
    const Images images = {arguments.dy, static_cast<long long>(shape.P) * shape.Q * shape.K};
    Left left(images, gather, firstRow);
    Weights right(arguments.weights, gather, shape.C, firstColumn);
    float sums[8][8];
    multiply_tile(tile, left, right, 0, gather.depth(), sums);
    FeedbackResults<typename Product::Number> results(arguments, pixels);
    store_results<Product, Width>(sums, results, firstRow, gather.pixels(), firstColumn, shape.C);
}

}  // namespace

// Names have the type of the operands, and end in the number of elements that a load of dy and a store of dx take.
KERNEL(TileThreads, conv_feedback_fp32_4_4, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 4, 4, WeightRows<float, 4>>(arguments); }
KERNEL(TileThreads, conv_feedback_fp32_4_1, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 4, 1, WeightRows<float, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_fp32_1_4, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 1, 4, WeightRows<float, 4>>(arguments); }
KERNEL(TileThreads, conv_feedback_fp32_1_1, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 1, 1, WeightRows<float, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_bf16_8_8, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 8, 8, WeightRows<bf16, 8>>(arguments); }
KERNEL(TileThreads, conv_feedback_bf16_8_1, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 8, 1, WeightRows<bf16, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_bf16_1_8, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 1, 8, WeightRows<bf16, 8>>(arguments); }
KERNEL(TileThreads, conv_feedback_bf16_1_1, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 1, 1, WeightRows<bf16, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_fp32_4_4, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 4, 4, WeightColumns<float, 4>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_fp32_4_1, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 4, 1, WeightColumns<float, 4>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_fp32_1_4, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 1, 4, WeightColumns<float, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_fp32_1_1, ConvFeedbackArguments<float>) { conv_feedback<FloatProduct, 1, 1, WeightColumns<float, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_bf16_8_8, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 8, 8, WeightColumns<bf16, 8>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_bf16_8_1, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 8, 1, WeightColumns<bf16, 8>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_bf16_1_8, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 1, 8, WeightColumns<bf16, 1>>(arguments); }
KERNEL(TileThreads, conv_feedback_transposed_bf16_1_1, ConvFeedbackArguments<bf16>) { conv_feedback<TensorProduct, 1, 1, WeightColumns<bf16, 1>>(arguments); }
