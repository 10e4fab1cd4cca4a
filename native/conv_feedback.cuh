// What feedback convolutions share: their arguments, the classes of input pixels, and where sums go. With stride u the input pixels fall into
// u*u classes by (h mod u, w mod u), and each class is reached by its own taps only: blockIdx.z is the class; its blocks gather
// the taps that are there and no product with a hole is ever formed.
#pragma once

#include "gather.cuh"

template <class Number>
struct ConvFeedbackArguments
{
    ConvShape shape;
    int accumulate;
    const Number* dy;       // [N][P][Q][K]
    const Number* weights;  // [R][S][K][C] or [R][S][C][K]
    Number* dx;             // [N][H][W][C]
};

// The taps r = first, first + u, ... reach the pixels h = residue + i*u, from the output pixel i + origin - (tap's number).
struct ClassTaps
{
    int first, count, origin;

    __device__ __forceinline__ ClassTaps(int residue, int padding, int stride, int taps)
        : first((residue + padding) % stride), count(first < taps ? (taps - first + stride - 1) / stride : 0),
          origin((residue + padding - first) / stride)
    {
    }
};

// The calling block's class.
struct FeedbackClass
{
    int row, column;
    Gather gather;

    __device__ __forceinline__ FeedbackClass(const ConvShape& shape)
    {
        const int u = shape.stride, classColumns = u < shape.W ? u : shape.W;
        row = blockIdx.z / classColumns;
        column = blockIdx.z % classColumns;
        const ClassTaps rows(row, shape.padding, u, shape.R), columns(column, shape.padding, u, shape.S);
        gather = {
            shape.N, (shape.H - row + u - 1) / u, (shape.W - column + u - 1) / u,
            shape.P, shape.Q, shape.K,
            1, rows.origin, columns.origin, -1,
            columns.count > 0 ? rows.count : 0, columns.count > 0 ? columns.count : 1,  // a class that no tap reaches has no rows of taps
            rows.first * shape.S + columns.first, u * shape.S, u};
    }
};

// What becomes of the sums: see store_results in product_tile.cuh.
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
