// The residue classes of a feedback convolution. With stride u, the input pixels h with h mod u = residue are reached by every
// u-th tap only. Rows and columns together make min(u, H) * min(u, W) classes, each a gather of its own (gather.cuh) whose
// taps all exist: no multiplication by an inserted zero takes place. ResidueClass in C# is the same arithmetic.
#pragma once

#include "gather.cuh"

// One dimension of a class: its pixels are h = residue + i*u, i = 0, 1, ..., and its taps r = firstTap + j*u, j = 0, 1, ...
// Tap j reaches pixel i from the output pixel p = i + origin - j.
struct ResidueClass
{
    int pixels, firstTap, taps, origin;

    __device__ __forceinline__ ResidueClass(int residue, int size, int padding, int stride, int filter)
        : pixels(divide_up(size - residue, stride)), firstTap((residue + padding) % stride),
          taps(firstTap < filter ? divide_up(filter - firstTap, stride) : 0), origin((residue + padding - firstTap) / stride)
    {
    }
};

// The class that blockIdx.z names.
struct FeedbackClass
{
    int row, column;  // residues
    Gather gather;

    __device__ __forceinline__ FeedbackClass(const ConvShape& shape)
    {
        const int u = shape.stride, classColumns = u < shape.W ? u : shape.W;
        row = blockIdx.z / classColumns;
        column = blockIdx.z % classColumns;
        const ResidueClass rows(row, shape.H, shape.padding, u, shape.R), columns(column, shape.W, shape.padding, u, shape.S);
        gather = {
            shape.N, rows.pixels, columns.pixels,
            shape.P, shape.Q, shape.K,
            1, rows.origin, columns.origin, -1,
            columns.taps > 0 ? rows.taps : 0, columns.taps > 0 ? columns.taps : 1,  // without taps in one dimension there are none
            rows.firstTap * shape.S + columns.firstTap, u * shape.S, u};
    }
};
