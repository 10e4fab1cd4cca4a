// The epilogue of the convolutions, and the batch norm statistics that are taken of its results.
#pragma once

#include "statistics.cuh"

// y = activation(sum * scale[k] + bias[k] + residual).
struct Epilogue
{
    int activation;
    const float *scale, *bias;  // [K] or null

    // For the columns k to k + Width - 1. A load of scale and bias takes Load elements.
    template <int Load, int Width>
    __device__ __forceinline__ Lanes<Width> apply(Lanes<Width> y, int k, bool hasResidual, const Lanes<Width>& residual) const
    {
        if (scale)
        {
#pragma unroll
            for (int l = 0; l < Width; l += Load)
            {
                const Lanes<Load> factors = load_lanes<Load>(scale + k + l);
#pragma unroll
                for (int i = 0; i < Load; i++) y.at[l + i] *= factors.at[i];
            }
        }

        if (bias)
        {
#pragma unroll
            for (int l = 0; l < Width; l += Load)
            {
                const Lanes<Load> addends = load_lanes<Load>(bias + k + l);
#pragma unroll
                for (int i = 0; i < Load; i++) y.at[l + i] += addends.at[i];
            }
        }

#pragma unroll
        for (int l = 0; l < Width; l++) y.at[l] = activate(activation, hasResidual ? y.at[l] + residual.at[l] : y.at[l]);
        return y;
    }
};

// Mean and sum of squared deviations of each column of a tile, over groups of its rows and then over the tile.
template <int Groups, int Columns>
struct TileStatistics
{
    float mean[Groups][Columns];
    float squares[Groups][Columns];

    // Merges the groups of one column in order. Rows is a function object that says how many rows a group has.
    template <class Rows>
    __device__ __forceinline__ Moments merge(const Rows& rows, int column) const
    {
        Moments merged = {0, 0, 0};
        for (int group = 0; group < Groups; group++) merged.merge(rows(group), mean[group][column], squares[group][column]);
        return merged;
    }
};
