// The portable forward convolution: y[n,p,q,k] = sum over r,s,c of x[n, p*u-z+r, q*u-z+s, c] * W[r,s,c,k], with the epilogue and
// the statistics of convolution_forward.cuh. Overwrites y.
#include "convolution_forward.cuh"
#include "gather.cuh"

namespace {

// A group is the eight rows of the tile that a thread has results of.
using GroupStatistics = TileStatistics<TileThreads / 8, TileColumns>;

template <class Product>
struct RowsOfGroup
{
    int rows;

    __device__ __forceinline__ int operator()(int group) const { return Product::rows_of_group(group, rows); }
};

template <class Tile>
union ForwardShared
{
    Tile product;
    GroupStatistics statistics;
};

template <class Product>
__device__ void store_statistics(GroupStatistics& shared, const float (&y)[8][8], int rows, int firstColumn, int K, float* partial)
{
    const int group = Product::group(), count = Product::rows_of_group(group, rows);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < 8; j++)
    {
        float sum = 0, squares = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) sum += Product::row(i) < rows ? y[i][j] : 0;
        const float mean = count > 0 ? sum / count : 0;
#pragma unroll
        for (int i = 0; i < 8; i++)
        {
            const float deviation = Product::row(i) < rows ? y[i][j] - mean : 0;
            squares = fmaf(deviation, deviation, squares);
        }

        shared.mean[group][Product::column(j)] = mean;
        shared.squares[group][Product::column(j)] = squares;
    }

    __syncthreads();
    const int column = threadIdx.x;
    if (column >= TileColumns || firstColumn + column >= K) return;
    const Moments moments = shared.merge(RowsOfGroup<Product>{rows}, column);
    partial[firstColumn + column] = moments.mean;
    partial[K + firstColumn + column] = moments.squares;
}

template <class Product, int WidthX, int WidthW, class Result>
__device__ __forceinline__ void conv_forward(const ConvForwardArguments<typename Product::Number, Result>& arguments)
{
    using Images = MemoryImages<typename Product::Number>;
    using Left = GatheredPixels<WidthX, Images>;
    using Right = WeightRows<typename Product::Number, WidthW>;
    using Shared = ForwardShared<ProductTile<Product, Left, Right>>;
    constexpr int Width = WidthW < Product::Neighbours ? WidthW : Product::Neighbours;
    SHARED(Shared, shared);
    const ConvShape& shape = arguments.shape;
    const Gather gather = forward_gather(shape);
    const int K = shape.K, pixels = gather.pixels();
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const Images images = {arguments.x, static_cast<long long>(shape.H) * shape.W * shape.C};
    Left left(images, gather, firstRow);
    Right right(arguments.w, gather, K, firstColumn);
    float sums[8][8];
    multiply_tile(shared.product, left, right, 0, gather.depth(), sums);
    ForwardResults<typename Product::Number, Result> results = {arguments};
    store_results<Product, Width>(sums, results, firstRow, pixels, firstColumn, K);
    if (arguments.partials)
    {
        const int rows = pixels - firstRow < TileRows ? pixels - firstRow : TileRows;
        store_statistics<Product>(shared.statistics, sums, rows, firstColumn, K, arguments.partials + static_cast<long long>(blockIdx.x) * 2 * K);
    }
}

using FloatArguments = ConvForwardArguments<float, float>;
using Bf16Arguments = ConvForwardArguments<bf16, bf16>;
using Bf16ToFloatArguments = ConvForwardArguments<bf16, float>;

}  // namespace

// Names have the type of the operands, and end in the number of elements that a load of x and of W takes; with _to_fp32_ y is
// float.
KERNEL(TileThreads, conv_forward_fp32_4_4, FloatArguments) { conv_forward<FloatProduct, 4, 4>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_4_1, FloatArguments) { conv_forward<FloatProduct, 4, 1>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_1_4, FloatArguments) { conv_forward<FloatProduct, 1, 4>(arguments); }
KERNEL(TileThreads, conv_forward_fp32_1_1, FloatArguments) { conv_forward<FloatProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_8_8, Bf16Arguments) { conv_forward<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_8_1, Bf16Arguments) { conv_forward<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_1_8, Bf16Arguments) { conv_forward<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_1_1, Bf16Arguments) { conv_forward<TensorProduct, 1, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_8_8, Bf16ToFloatArguments) { conv_forward<TensorProduct, 8, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_8_1, Bf16ToFloatArguments) { conv_forward<TensorProduct, 8, 1>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_1_8, Bf16ToFloatArguments) { conv_forward<TensorProduct, 1, 8>(arguments); }
KERNEL(TileThreads, conv_forward_bf16_to_fp32_1_1, Bf16ToFloatArguments) { conv_forward<TensorProduct, 1, 1>(arguments); }
