// The portable weight gradient: dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k]. Overwrites dW, or the
// partial sums of its split.
#include "convolution_weight_gradient.cuh"

struct SplitKSumArguments
{
    const float* partials;  // [splits][length]
    float* dw;              // [length]
    long long length;
    int splits;
    int accumulate;
};

constexpr int SumThreads = 256;

namespace {

template <class Product, int WidthX, int WidthDy>
__device__ __forceinline__ void conv_weight_gradient(const ConvWeightGradientArguments<typename Product::Number>& arguments)
{
    using Images = MemoryImages<typename Product::Number>;
    using Tile = GradientTile<Product, WidthX, WidthDy, Images>;
    SHARED(Tile, tile);
    const ConvShape& shape = arguments.shape;
    const Images images = {arguments.x, static_cast<long long>(shape.H) * shape.W * shape.C};
    weight_gradient<Product, WidthX, WidthDy, Images>(tile, shape, images, arguments.dy, arguments.split);
}

}  // namespace

// Names have the type of the operands, and end in the number of elements that a load of x and of dy takes.
KERNEL(TileThreads, conv_weight_gradient_fp32_4_4, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_fp32_4_1, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_fp32_1_4, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_fp32_1_1, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_8_8, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_8_1, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_1_8, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_1_1, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 1, 1>(arguments); }

// dW = the partial sums of all splits, added in order, and dW where it accumulates.
KERNEL(SumThreads, split_k_sum, SplitKSumArguments)
{
    const long long i = static_cast<long long>(blockIdx.x) * SumThreads + threadIdx.x;
    if (i >= arguments.length) return;
    float sum = arguments.accumulate ? arguments.dw[i] : 0;
    // A small filter has hundreds of splits: unrolled, so that several loads are in flight.
#pragma unroll 8
    for (int split = 0; split < arguments.splits; split++) sum += arguments.partials[split * arguments.length + i];
    arguments.dw[i] = sum;
}
