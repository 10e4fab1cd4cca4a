// dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k] as a product of tiles: rows are the inputs (r,s,c) of a
// filter, columns are k, and the reduction runs over the output pixels. Filters are small and the reduction is long, so it is
// split over blocks (split-K): each split writes partial sums, and split_k_sum adds them in order.
#pragma once

#include "gather.cuh"

struct SplitK
{
    int pixelsPerSplit;  // a multiple of TileDepth
    int accumulate;      // adds to dw; only where there is one split
    float* dw;           // [R][S][C][K], or the partial sums [splits][R][S][C][K]
};

template <class Number>
struct ConvWeightGradientArguments
{
    ConvShape shape;
    const Number* x;   // [N][H][W][C]
    const Number* dy;  // [N][P][Q][K]
    SplitK split;
};

// The output pixels of the calling block's split, blockIdx.z.
struct SplitPixels
{
    int first, end;

    __device__ __forceinline__ SplitPixels(const ConvShape& shape, const SplitK& split)
        : first(blockIdx.z * split.pixelsPerSplit)
    {
        const int pixels = shape.N * shape.P * shape.Q;
        end = pixels - first < split.pixelsPerSplit ? pixels : first + split.pixelsPerSplit;
    }
};

// Stores results in dW or in the partial sums of the split: see store_results in product_tile.cuh.
class GradientResults
{
public:
    __device__ __forceinline__ GradientResults(const ConvShape& shape, const SplitK& split)
        : dw(split.dw + static_cast<long long>(blockIdx.z) * shape.R * shape.S * shape.C * shape.K), columns(shape.K), accumulate(split.accumulate)
    {
    }

    __device__ __forceinline__ long long place(int row) const { return static_cast<long long>(row) * columns; }

    template <int Width>
    __device__ __forceinline__ Lanes<Width> store(long long place, int column, const Lanes<Width>& sums) const
    {
        return store_sums(dw + place + column, accumulate, sums);
    }

private:
    float* dw;
    const int columns;
    const bool accumulate;
};

template <class Product, int WidthX, int WidthDy, class Images>
using GradientTile = ProductTile<Product, InputPatches<WidthX, Images>, PixelErrors<typename Product::Number, WidthDy>>;

template <class Product, int WidthX, int WidthDy, class Images>
__device__ __forceinline__ void weight_gradient(
    GradientTile<Product, WidthX, WidthDy, Images>& tile, const ConvShape& shape, const Images& images, const typename Product::Number* dy,
    const SplitK& split)
{
    constexpr int Width = WidthDy < Product::Neighbours ? WidthDy : Product::Neighbours;
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const SplitPixels pixels(shape, split);
    InputPatches<WidthX, Images> left(images, shape, firstRow, pixels.first, pixels.end);
    PixelErrors<typename Product::Number, WidthDy> right(dy, shape.K, firstColumn, pixels.first, pixels.end);
    float sums[8][8];
    multiply_tile(tile, left, right, pixels.first, pixels.end, sums);
    GradientResults results(shape, split);
    store_results<Product, Width>(sums, results, firstRow, shape.R * shape.S * shape.C, firstColumn, shape.K);
}
