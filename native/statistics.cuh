// Mean and sum of squared deviations of numbers that are seen in parts.
#pragma once

#include "numbers.cuh"

// Of `count` numbers: their mean, and the sum of their squared deviations from it.
struct Moments
{
    int count;
    float mean, squares;

    // Adds other numbers, given by their moments (Chan, Golub and LeVeque 1979). The order of merges is the order of the sums.
    __device__ __forceinline__ void merge(int more, float otherMean, float otherSquares)
    {
        if (more == 0) return;
        const float difference = otherMean - mean, share = static_cast<float>(more) / (count + more);
        mean = fmaf(difference, share, mean);
        squares += otherSquares + difference * difference * share * count;
        count += more;
    }
};
