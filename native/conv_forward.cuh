// What forward convolutions share: their arguments, what becomes of a sum (y = activation(y * scale[k] + bias[k] + residual)),
// and each channel's mean and squared deviations over a tile's rows, which batch_norm_finish merges: of y as memory holds it,
// which is what the batch norm will see.
#pragma once

#include "numbers.cuh"

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

// What becomes of the sums: see store_results in product_tile.cuh.
template <class Number, class Result>
struct ForwardResults
{
    const ConvForwardArguments<Number, Result>& arguments;

    __device__ __forceinline__ long long place(int pixel) const { return static_cast<long long>(pixel) * arguments.shape.K; }

    // Gives y back as memory holds it.
    template <int Width>
    __device__ __forceinline__ Lanes<Width> store(long long place, int k, const Lanes<Width>& sums) const
    {
        Lanes<Width> y, residual = {};
        if (arguments.residual) residual = load_lanes<Width>(arguments.residual + place + k);
#pragma unroll
        for (int l = 0; l < Width; l++)
        {
            float value = sums.at[l];
            if (arguments.scale) value *= arguments.scale[k + l];
            if (arguments.bias) value += arguments.bias[k + l];
            y.at[l] = to_float(rounded_to<Result>(activate(arguments.activation, value + residual.at[l])));
        }

        store_lanes<Width>(arguments.y + place + k, y);
        return y;
    }
};

// Statistics of the columns of a tile over the rows of one group of them, and then of the tile.
template <int Groups, int Columns>
struct TileStatistics
{
    float mean[Groups][Columns];
    float squares[Groups][Columns];

    // Chan's merge of one column, groups in order. Rows is a function object: how many rows a group has.
    template <class Rows>
    __device__ __forceinline__ void merge(const Rows& rows, int column, float* tileMean, float* tileSquares) const
    {
        float merged = 0, deviations = 0;
        int count = 0;
        for (int group = 0; group < Groups; group++)
        {
            const int more = rows(group);
            if (more == 0) continue;
            const float difference = mean[group][column] - merged, share = static_cast<float>(more) / (count + more);
            merged = fmaf(difference, share, merged);
            deviations += squares[group][column] + difference * difference * share * count;
            count += more;
        }

        *tileMean = merged;
        *tileSquares = deviations;
    }
};

// Forward results of a thread's columns, and their statistics over its rows: as deviations from the first row, because sums of
// squares of the numbers themselves would lose the digits of a small deviation from a large mean.
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

// The statistics of a thread's columns and rows as those of a group.
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
