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

template <class Product, int WidthX, int WidthDy, class Images>
using GradientTile = ProductTile<Product, InputPatches<WidthX, Images>, PixelErrors<typename Product::Number, WidthDy>>;

template <class Product, int WidthX, int WidthDy, class Images>
__device__ __forceinline__ void weight_gradient(
    GradientTile<Product, WidthX, WidthDy, Images>& tile, const ConvShape& shape, const Images& images, const typename Product::Number* dy,
    const GradientSlices& slices)
{
    constexpr int Width = WidthDy < Product::Neighbours ? WidthDy : Product::Neighbours;
    const int K = shape.K, inputs = shape.R * shape.S * shape.C, pixels = shape.N * shape.P * shape.Q;
    const int firstRow = blockIdx.x * TileRows, firstColumn = blockIdx.y * TileColumns;
    const int firstPixel = blockIdx.z * slices.pixelsPerSlice;
    const int endPixel = pixels - firstPixel < slices.pixelsPerSlice ? pixels : firstPixel + slices.pixelsPerSlice;
    InputPatches<WidthX, Images> left(images, shape, firstRow, firstPixel, endPixel);
    PixelErrors<typename Product::Number, WidthDy> right(dy, K, firstColumn, firstPixel, endPixel);
    float sums[8][8];
    multiply_tile(tile, left, right, firstPixel, endPixel, sums);

    float* dw = slices.dw + static_cast<long long>(blockIdx.z) * inputs * K;
#pragma unroll
    for (int i = 0; i < 8; i++)
    {
        const int row = firstRow + Product::row(i);
#pragma unroll
        for (int j = 0; j < 8; j += Width)
        {
            const int k = firstColumn + Product::column(j);
            if (row >= inputs || k >= K) continue;
            const long long place = static_cast<long long>(row) * K + k;
            Lanes<Width> lanes = {};
            if (slices.accumulate) lanes = load_lanes<Width>(dw + place);
#pragma unroll
            for (int l = 0; l < Width; l++) lanes.at[l] += sums[i][j + l];
            store_lanes<Width>(dw + place, lanes);
        }
    }
}
