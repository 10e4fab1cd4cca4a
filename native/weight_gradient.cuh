// dW[r,s,c,k] = sum over n,p,q of x[n, p*u-z+r, q*u-z+s, c] * dy[n,p,q,k] for one block: a tile of inputs (r,s,c) by
// columns k, over one slice of the pixels. The long reduction is cut into slices so that small filters fill the device;
// each slice writes partial sums and sum_slices adds them in order.
#pragma once

#include "gather.cuh"

struct GradientSlices
{
    int pixelsPerSlice;  // a multiple of TileDepth
    int accumulate;      // adds to dw; with one slice only
    float* dw;           // [R][S][C][K], or [slices][R][S][C][K]
};

template <class Number>
struct ConvWeightGradientArguments
{
    ConvShape shape;
    const Number* x;   // [N][H][W][C]
    const Number* dy;  // [N][P][Q][K]
    GradientSlices slices;
};

// The pixels of the calling block's slice, blockIdx.z.
struct SlicePixels
{
    int first, end;

    __device__ __forceinline__ SlicePixels(const ConvShape& shape, const GradientSlices& slices)
        : first(blockIdx.z * slices.pixelsPerSlice)
    {
        const int pixels = shape.N * shape.P * shape.Q;
        end = pixels - first < slices.pixelsPerSlice ? pixels : first + slices.pixelsPerSlice;
    }
};

// What becomes of the sums: see store_results in product_tile.cuh.
class GradientResults
{
public:
    __device__ __forceinline__ GradientResults(const ConvShape& shape, const GradientSlices& slices)
        : dw(slices.dw + static_cast<long long>(blockIdx.z) * shape.R * shape.S * shape.C * shape.K), columns(shape.K), accumulate(slices.accumulate)
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
    const GradientSlices& slices)
{
    constexpr int Width = WidthDy < Product::Neighbours ? WidthDy : Product::Neighbours;
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const SlicePixels pixels(shape, slices);
    InputPatches<WidthX, Images> left(images, shape, firstRow, pixels.first, pixels.end);
    PixelErrors<typename Product::Number, WidthDy> right(dy, shape.K, firstColumn, pixels.first, pixels.end);
    float sums[8][8];
    multiply_tile(tile, left, right, pixels.first, pixels.end, sums);
    GradientResults results(shape, slices);
    store_results<Product, Width>(sums, results, firstRow, shape.R * shape.S * shape.C, firstColumn, shape.K);
}
