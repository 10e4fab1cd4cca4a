// dx[n,h,w,c] = sum over r,s,k of dy[n,p,q,k] * B[r,s,k,c] with h = p*u-z+r, w = q*u-z+s. Overwrites dx or adds to it.
//
// With stride u the input pixels fall into u*u classes by (h mod u, w mod u), and each class is reached by its own taps
// only: blockIdx.z is the class; its blocks gather the taps that are there and no product with a hole is ever formed. The
// weights are feedback weights [R][S][K][C], or forward weights [R][S][C][K] read transposed, in the same order of sums.
#include "gather.cuh"

template <class Number>
struct ConvFeedbackArguments
{
    ConvShape shape;
    int accumulate;
    const Number* dy;       // [N][P][Q][K]
    const Number* weights;  // [R][S][K][C] or [R][S][C][K]
    Number* dx;             // [N][H][W][C]
};

namespace {

// The taps r = first, first + u, ... reach the pixels h = residue + i*u, from the output pixel i + origin - (tap's number).
struct ClassTaps
{
    int first, count, origin;
};

__device__ __forceinline__ ClassTaps class_taps(int residue, int padding, int stride, int taps)
{
    const int first = (residue + padding) % stride;
    return {first, first < taps ? (taps - first + stride - 1) / stride : 0, (residue + padding - first) / stride};
}

template <class Product, int WidthDy, int WidthC, class Weights>
__device__ __forceinline__ void conv_feedback(const ConvFeedbackArguments<typename Product::Number>& arguments)
{
    using Images = MemoryImages<typename Product::Number>;
    using Left = GatheredPixels<WidthDy, Images>;
    using Tile = ProductTile<Product, Left, Weights>;
    constexpr int Width = WidthC < Product::Neighbours ? WidthC : Product::Neighbours;
    SHARED(Tile, tile);
    const ConvShape& shape = arguments.shape;
    const int u = shape.stride, classColumns = u < shape.W ? u : shape.W, C = shape.C;
    const int classRow = blockIdx.z / classColumns, classColumn = blockIdx.z % classColumns;
    const ClassTaps rows = class_taps(classRow, shape.padding, u, shape.R), columns = class_taps(classColumn, shape.padding, u, shape.S);
    const Gather gather = {
        shape.N, (shape.H - classRow + u - 1) / u, (shape.W - classColumn + u - 1) / u,
        shape.P, shape.Q, shape.K,
        1, rows.origin, columns.origin, -1,
        columns.count > 0 ? rows.count : 0, columns.count > 0 ? columns.count : 1,  // a class that no tap reaches has no rows of taps
        rows.first * shape.S + columns.first, u * shape.S, u};
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    if (firstRow >= gather.pixels()) return;
    const Images images = {arguments.dy, static_cast<long long>(shape.P) * shape.Q * shape.K};
    Left left(images, gather, firstRow);
    Weights right(arguments.weights, gather, C, firstColumn);
    float sums[8][8];
    multiply_tile(tile, left, right, 0, gather.depth(), sums);

#pragma unroll
    for (int i = 0; i < 8; i++)
    {
        const int row = firstRow + Product::row(i);
        if (row >= gather.pixels()) continue;
        PixelCursor pixel;
        pixel.start(row, gather.outputRows, gather.outputColumns);
        const long long place =
            ((static_cast<long long>(pixel.image) * shape.H + classRow + pixel.row * u) * shape.W + classColumn + pixel.column * u) * C;
#pragma unroll
        for (int j = 0; j < 8; j += Width)
        {
            const int c = firstColumn + Product::column(j);
            if (c >= C) continue;
            Lanes<Width> lanes = {};
            if (arguments.accumulate) lanes = load_lanes<Width>(arguments.dx + place + c);
#pragma unroll
            for (int l = 0; l < Width; l++) lanes.at[l] += sums[i][j + l];
            store_lanes<Width>(arguments.dx + place + c, lanes);
        }
    }
}

}  // namespace

// Names say how products are formed, and end in the numbers a load of dy and a store of dx.
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
