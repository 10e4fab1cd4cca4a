// dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k]: see weight_gradient.cuh. Overwrites dW.
#include "weight_gradient.cuh"

struct ConvWeightGradientArguments
{
    ConvShape shape;
    const float* x;   // [N][H][W][C]
    const float* dy;  // [N][P][Q][K]
    GradientSlices slices;
};

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

template <int WidthX, int WidthDy>
__device__ __forceinline__ void conv_weight_gradient(const ConvWeightGradientArguments& arguments)
{
    SHARED(ProductTile, tile);
    const ConvShape& shape = arguments.shape;
    const MemoryImages images = {arguments.x, static_cast<long long>(shape.H) * shape.W * shape.C};
    weight_gradient<WidthX, WidthDy>(tile, shape, images, arguments.dy, arguments.slices);
}

}  // namespace

// Names end in the floats a load of x and of dy.
KERNEL(TileThreads, conv_weight_gradient_4_4, ConvWeightGradientArguments) { conv_weight_gradient<4, 4>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_4_1, ConvWeightGradientArguments) { conv_weight_gradient<4, 1>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_1_4, ConvWeightGradientArguments) { conv_weight_gradient<1, 4>(arguments); }
KERNEL(TileThreads, conv_weight_gradient_1_1, ConvWeightGradientArguments) { conv_weight_gradient<1, 1>(arguments); }

// dW = sum of the slices in order (+ dW).
KERNEL(SumThreads, sum_slices, SumSlicesArguments)
{
    const long long i = static_cast<long long>(blockIdx.x) * SumThreads + threadIdx.x;
    if (i >= arguments.length) return;
    float sum = arguments.accumulate ? arguments.dw[i] : 0;
    for (int slice = 0; slice < arguments.slices; slice++) sum += arguments.partials[slice * arguments.length + i];
    arguments.dw[i] = sum;
}
