// dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k]: see weight_gradient.cuh. Overwrites dW.
#include "weight_gradient.cuh"

struct SumSlicesArguments
{
    const float* partials;  // [slices][length]
    float* dw;              // [length]
    long long length;
    int slices;
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
    weight_gradient<Product, WidthX, WidthDy, Images>(tile, shape, images, arguments.dy, arguments.slices);
}

}  // namespace

// Names say how products are formed, and end in the numbers a load of x and of dy.
KERNEL(TileThreads, conv_weight_gradient_fp32_4_4, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_fp32_4_1, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_fp32_1_4, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_fp32_1_1, ConvWeightGradientArguments<float>) { conv_weight_gradient<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_8_8, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_8_1, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_1_8, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_bf16_1_1, ConvWeightGradientArguments<bf16>) { conv_weight_gradient<TensorProduct, 1, 1>(arguments); }

// dW = sum of the slices in order (+ dW).
KERNEL(SumThreads, sum_slices, SumSlicesArguments)
{
    const long long i = static_cast<long long>(blockIdx.x) * SumThreads + threadIdx.x;
    if (i >= arguments.length) return;
    float sum = arguments.accumulate ? arguments.dw[i] : 0;
    // Of a small filter there are hundreds: several loads on their way at a time, added in order.
#pragma unroll 8
    for (int slice = 0; slice < arguments.slices; slice++) sum += arguments.partials[slice * arguments.length + i];
    arguments.dw[i] = sum;
}
