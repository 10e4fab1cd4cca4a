// The weight mirror (Akrout et al. 2019, eq. 7): noise goes through a layer, response = noise * W, and the correlation of noise and
// response estimates W. Both products make the noise in registers, so it is never stored; the response is stored, rounded to the
// type of the operands. A patch mirror is a 1x1 convolution with R*S*C inputs, a full-map mirror the convolution of the layer.
#include "convolution_weight_gradient.cuh"

template <class Number>
struct MirrorRespondArguments
{
    ConvShape shape;
    int relu;               // the response goes through a ReLU
    long long firstSample;
    MirrorNoise noise;
    const Number* w;        // [R][S][C][K]
    Number* response;       // [N][P][Q][K]
};

template <class Number>
struct MirrorCorrelateArguments
{
    ConvShape shape;
    long long firstSample;
    MirrorNoise noise;
    const Number* response;  // [N][P][Q][K]
    SplitK split;
};

namespace {

// Stores responses: see store_results in product_tile.cuh.
template <class Number>
struct MirrorResponses
{
    const MirrorRespondArguments<Number>& arguments;

    __device__ __forceinline__ long long place(int pixel) const { return static_cast<long long>(pixel) * arguments.shape.K; }

    template <int Width>
    __device__ __forceinline__ Lanes<Width> store(long long place, int k, Lanes<Width> sums) const
    {
#pragma unroll
        for (int l = 0; l < Width; l++) sums.at[l] = arguments.relu ? relu(sums.at[l]) : sums.at[l];
        store_lanes<Width>(arguments.response + place + k, sums);
        return sums;
    }
};

template <class Product, int WidthX, int WidthW>
__device__ __forceinline__ void mirror_respond(const MirrorRespondArguments<typename Product::Number>& arguments)
{
    using Images = NoiseImages<typename Product::Number>;
    using Left = GatheredPixels<WidthX, Images>;
    using Right = WeightRows<typename Product::Number, WidthW>;
    using Tile = ProductTile<Product, Left, Right>;
    constexpr int Width = WidthW < Product::Neighbours ? WidthW : Product::Neighbours;
    SHARED(Tile, tile);
    const Gather gather = forward_gather(arguments.shape);
    const int K = arguments.shape.K, firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const Images images = {arguments.noise, arguments.firstSample};
    Left left(images, gather, firstRow);
    Right right(arguments.w, gather, K, firstColumn);
    float sums[8][8];
    multiply_tile(tile, left, right, 0, gather.depth(), sums);
    MirrorResponses<typename Product::Number> results = {arguments};
    store_results<Product, Width>(sums, results, firstRow, gather.pixels(), firstColumn, K);
}

template <class Product, int WidthX, int WidthW>
__device__ __forceinline__ void mirror_correlate(const MirrorCorrelateArguments<typename Product::Number>& arguments)
{
    using Images = NoiseImages<typename Product::Number>;
    using Tile = GradientTile<Product, WidthX, WidthW, Images>;
    SHARED(Tile, tile);
    const Images images = {arguments.noise, arguments.firstSample};
    weight_gradient<Product, WidthX, WidthW, Images>(tile, arguments.shape, images, arguments.response, arguments.split);
}

}  // namespace

// Names have the type of the operands, and end in the number of noise values that are made at a time and the number of elements
// that a load of W or of the response takes.
KERNEL(TileThreads, mirror_respond_fp32_4_4, MirrorRespondArguments<float>) { mirror_respond<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, mirror_respond_fp32_4_1, MirrorRespondArguments<float>) { mirror_respond<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, mirror_respond_fp32_1_4, MirrorRespondArguments<float>) { mirror_respond<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, mirror_respond_fp32_1_1, MirrorRespondArguments<float>) { mirror_respond<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, mirror_respond_bf16_8_8, MirrorRespondArguments<bf16>) { mirror_respond<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, mirror_respond_bf16_8_1, MirrorRespondArguments<bf16>) { mirror_respond<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, mirror_respond_bf16_1_8, MirrorRespondArguments<bf16>) { mirror_respond<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, mirror_respond_bf16_1_1, MirrorRespondArguments<bf16>) { mirror_respond<TensorProduct, 1, 1>(arguments); }
KERNEL(TileThreads, mirror_correlate_fp32_4_4, MirrorCorrelateArguments<float>) { mirror_correlate<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, mirror_correlate_fp32_4_1, MirrorCorrelateArguments<float>) { mirror_correlate<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, mirror_correlate_fp32_1_4, MirrorCorrelateArguments<float>) { mirror_correlate<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, mirror_correlate_fp32_1_1, MirrorCorrelateArguments<float>) { mirror_correlate<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, mirror_correlate_bf16_8_8, MirrorCorrelateArguments<bf16>) { mirror_correlate<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, mirror_correlate_bf16_8_1, MirrorCorrelateArguments<bf16>) { mirror_correlate<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, mirror_correlate_bf16_1_8, MirrorCorrelateArguments<bf16>) { mirror_correlate<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, mirror_correlate_bf16_1_1, MirrorCorrelateArguments<bf16>) { mirror_correlate<TensorProduct, 1, 1>(arguments); }
