// What the feedback convolutions share beside their residue classes (residue_class.cuh): their arguments, and how a result is
// stored.
#pragma once

#include "residue_class.cuh"

template <class Number>
struct ConvFeedbackArguments
{
    ConvShape shape;
    int accumulate;
    const Number* dy;       // [N][P][Q][K]
    const Number* weights;  // [R][S][K][C] or [R][S][C][K]
    Number* dx;             // [N][H][W][C]
};

// Whether a class of pixels stays as it is: zeros would be added to pixels that no tap reaches. Of a 1x1 convolution of stride 2 these
// are three quarters of dx.
template <class Number>
__device__ __forceinline__ bool changes_nothing(const ConvFeedbackArguments<Number>& arguments, const Gather& gather)
{
    return arguments.accumulate && gather.tapRows == 0;
}

// Stores results in dx: see store_results in product_tile.cuh.
template <class Number>
class FeedbackResults
{
public:
    __device__ __forceinline__ FeedbackResults(const ConvFeedbackArguments<Number>& arguments, const FeedbackClass& pixels)
        : arguments(arguments), pixels(pixels), reached(0)
    {
        pixel.start(0, pixels.gather.outputRows, pixels.gather.outputColumns);
    }

    __device__ __forceinline__ long long place(int index)
    {
        pixel.advance(index - reached, pixels.gather.outputRows, pixels.gather.outputColumns);
        reached = index;
        const ConvShape& shape = arguments.shape;
        const long long row = static_cast<long long>(pixel.image) * shape.H + pixels.row + pixel.row * shape.stride;
        return (row * shape.W + pixels.column + pixel.column * shape.stride) * shape.C;
    }

    template <int Width>
    __device__ __forceinline__ Lanes<Width> store(long long place, int c, const Lanes<Width>& sums) const
    {
        return store_sums(arguments.dx + place + c, arguments.accumulate, sums);
    }

private:
    const ConvFeedbackArguments<Number>& arguments;
    const FeedbackClass& pixels;
    PixelCursor pixel;
    int reached;
};
