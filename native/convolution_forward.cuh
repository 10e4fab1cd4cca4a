// What the forward convolutions share: their arguments, and how a result is stored. The statistics of each channel over the rows
// of a tile, which batch_norm_finish merges, are those of y as it is stored, because that is what the batch norm reads.
#pragma once

#include "convolution_epilogue.cuh"

template <class Number, class Result>
struct ConvForwardArguments
{
    ConvShape shape;
    int activation;
    const Number* x;         // [N][H][W][C]
    const Number* w;         // [R][S][C][K]
    Result* y;               // [N][P][Q][K]
    const float* scale;      // [K] or null
    const float* bias;       // [K] or null
    const Result* residual;  // [N][P][Q][K] or null; may be y
    float* partials;         // [row tiles][2][K] or null: mean and sum of squared deviations
};

// Stores results in y: see store_results in product_tile.cuh.
template <class Number, class Result>
struct ForwardResults
{
    const ConvForwardArguments<Number, Result>& arguments;

    __device__ __forceinline__ long long place(int pixel) const { return static_cast<long long>(pixel) * arguments.shape.K; }

    // Returns y as it is stored.
    template <int Width>
    __device__ __forceinline__ Lanes<Width> store(long long place, int k, const Lanes<Width>& sums) const
    {
        Lanes<Width> residual = {};
        if (arguments.residual) residual = load_lanes<Width>(arguments.residual + place + k);
        Lanes<Width> y = Epilogue{arguments.activation, arguments.scale, arguments.bias}.template apply<1>(sums, k, true, residual);
#pragma unroll
        for (int l = 0; l < Width; l++) y.at[l] = to_float(rounded_to<Result>(y.at[l]));

        store_lanes<Width>(arguments.y + place + k, y);
        return y;
    }
};

// Stores the results of a thread's columns and takes their statistics over its rows. Sums are of the deviations from the first
// row: sums of the values and of their squares would lose the digits of a small deviation from a large mean.
template <class Result, int Width>
struct ResultsWithStatistics
{
    const ForwardResults<bf16, Result> results;
    int rows = 0;
    Lanes<Width> shift = {}, sum = {}, squares = {};

    __device__ __forceinline__ long long place(int pixel) const { return results.place(pixel); }

    __device__ __forceinline__ void store(long long place, int k, const Lanes<Width>& sums)
    {
        const Lanes<Width> y = results.store(place, k, sums);
        if (rows++ == 0) shift = y;
#pragma unroll
        for (int l = 0; l < Width; l++)
        {
            const float deviation = y.at[l] - shift.at[l];
            sum.at[l] += deviation;
            squares.at[l] = fmaf(deviation, deviation, squares.at[l]);
        }
    }
};

// Puts the statistics of a thread's columns and rows into shared memory, as those of one group.
template <int Groups, int Columns, class Result, int Width>
__device__ __forceinline__ void put_statistics(
    TileStatistics<Groups, Columns>& shared, const ResultsWithStatistics<Result, Width>& results, int group, int column)
{
    const float share = 1.0f / (results.rows > 0 ? results.rows : 1);
#pragma unroll
    for (int l = 0; l < Width; l++)
    {
        const float mean = results.sum.at[l] * share, squares = fmaf(-mean, results.sum.at[l], results.squares.at[l]);
        shared.mean[group][column + l] = results.shift.at[l] + mean;
        shared.squares[group][column + l] = squares > 0 ? squares : 0;
    }
}
