// The operands of a pipeline (pipeline.cuh). They are the operands of gather.cuh, copied from bf16 tensors 8 channels at a time.
// The address of every copy is computed once, before the main loop, and then only moved by additions: the loop has no division.
#pragma once

#include "gather.cuh"
#include "pipeline.cuh"

// A bit for each tap of a row or column that lies inside the image.
__device__ __forceinline__ unsigned taps_inside(int origin, int direction, int taps, int size)
{
    int first = direction > 0 ? -origin : origin - size + 1, end = direction > 0 ? size - origin : origin + 1;
    first = first < 0 ? 0 : first;
    end = end > taps ? taps : end;
    return first < end ? (1u << end) - (1u << first) : 0;
}

// A position in the reduction (tap and channel) that advances by PipelineDepth, and its distance in memory from the first one.
class TapWalk
{
public:
    __device__ __forceinline__ TapWalk(const Gather& gather, int depth, int rowMove, int columnMove, int channelMove)
        : gather(gather), rowMove(rowMove), columnMove(columnMove), channelMove(channelMove)
    {
        TapCursor tap;
        tap.start(gather, depth);
        row = tap.row;
        column = tap.column;
        channel = tap.channel;
        distance = row * rowMove + column * columnMove + channel * channelMove;
    }

    __device__ __forceinline__ void advance()
    {
        channel += PipelineDepth;
        distance += PipelineDepth * channelMove;
        // More than once only where there are fewer channels than PipelineDepth.
        while (channel >= gather.channels)
        {
            channel -= gather.channels;
            distance += columnMove - gather.channels * channelMove;
            if (++column < gather.tapColumns) continue;
            column = 0;
            row++;
            distance += rowMove - gather.tapColumns * columnMove;
        }
    }

    __device__ __forceinline__ bool inside() const { return row < gather.tapRows; }

    // The row and column of the tap as bits, 16 for each. In the last step the row may be beyond the filter; the host accepts only
    // filters for which it still fits in 16 bits.
    __device__ __forceinline__ unsigned bits() const { return 1u << row | 0x10000u << column; }

    int distance;

private:
    const Gather& gather;
    const int rowMove, columnMove, channelMove;
    int row, column, channel;
};

// Left operand of a gather: rows are output pixels, a piece is 8 channels of a tap.
template <int Lines>
class CopiedPixels
{
    using Operand = PipelineOperand<Lines, Runs::AlongDepth>;

public:
    static constexpr Runs Order = Runs::AlongDepth;

    __device__ __forceinline__ CopiedPixels(const bf16* images, const Gather& gather, int firstPixel)
        : walk(gather, Operand::copied_depth(), gather.direction * gather.inputColumns * gather.channels, gather.direction * gather.channels, 1)
    {
#pragma unroll
        for (int i = 0; i < Lines / 32; i++)
        {
            const int index = firstPixel + Operand::copied_line() + 32 * i;
            const bool real = index < gather.pixels();
            PixelCursor pixel;
            pixel.start(real ? index : 0, gather.outputRows, gather.outputColumns);
            const int row = pixel.row * gather.step + gather.originRow, column = pixel.column * gather.step + gather.originColumn;
            taps[i] = taps_inside(row, gather.direction, gather.tapRows, gather.inputRows)
                      | taps_inside(column, gather.direction, gather.tapColumns, gather.inputColumns) << 16;
            if (!real) taps[i] = 0;
            pixels[i] = images + ((static_cast<long long>(pixel.image) * gather.inputRows + row) * gather.inputColumns + column) * gather.channels;
        }
    }

    __device__ __forceinline__ void copy(unsigned operand)
    {
        const unsigned tap = walk.bits();
#pragma unroll
        for (int i = 0; i < Lines / 32; i++) cp_async(operand + Operand::copied_place(i), pixels[i] + walk.distance, (taps[i] & tap) == tap);
        walk.advance();
    }

private:
    TapWalk walk;
    const bf16* pixels[Lines / 32];
    unsigned taps[Lines / 32];
};

// Right operand of a gather: weights [tap][channel][columns], a piece is 8 columns.
template <int Lines>
class CopiedWeightRows
{
    using Operand = PipelineOperand<Lines, Runs::AlongLines>;

public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ CopiedWeightRows(const bf16* weights, const Gather& gather, int columns, int firstColumn)
        : walk(gather, Operand::copied_depth(), gather.tapRowStep * gather.channels, gather.tapColumnStep * gather.channels, 1),
          first(weights + static_cast<long long>(gather.firstTap) * gather.channels * columns + firstColumn + Operand::copied_line()),
          columns(columns), left(columns - firstColumn - Operand::copied_line())
    {
    }

    __device__ __forceinline__ void copy(unsigned operand)
    {
        const bf16* row = first + static_cast<long long>(walk.distance) * columns;
        const bool inside = walk.inside();
#pragma unroll
        for (int i = 0; i < Lines / 32; i++) cp_async(operand + Operand::copied_place(i), row + 32 * i, inside && 32 * i < left);
        walk.advance();
    }

private:
    TapWalk walk;
    const bf16* first;
    const int columns, left;
};

// The same operand from weights [tap][columns][channel], which are forward weights read transposed: a piece is 8 channels.
template <int Lines>
class CopiedWeightColumns
{
    using Operand = PipelineOperand<Lines, Runs::AlongDepth>;

public:
    static constexpr Runs Order = Runs::AlongDepth;

    __device__ __forceinline__ CopiedWeightColumns(const bf16* weights, const Gather& gather, int columns, int firstColumn)
        : walk(gather, Operand::copied_depth(), gather.tapRowStep * columns * gather.channels, gather.tapColumnStep * columns * gather.channels, 1),
          first(weights + (static_cast<long long>(gather.firstTap) * columns + firstColumn + Operand::copied_line()) * gather.channels),
          channels(gather.channels), left(columns - firstColumn - Operand::copied_line())
    {
    }

    __device__ __forceinline__ void copy(unsigned operand)
    {
        const bf16* column = first + walk.distance;
        const bool inside = walk.inside();
#pragma unroll
        for (int i = 0; i < Lines / 32; i++)
            cp_async(operand + Operand::copied_place(i), column + static_cast<long long>(32 * i) * channels, inside && 32 * i < left);
        walk.advance();
    }

private:
    TapWalk walk;
    const bf16* first;
    const int channels, left;
};

// Left operand of a weight gradient: rows are the inputs (tap, c) of a filter, a piece is 8 channels, and the reduction runs over
// output pixels. In a step a thread copies from one pixel, and each of its pieces has a tap of its own.
template <int Lines>
class CopiedPatches
{
    using Operand = PipelineOperand<Lines, Runs::AlongLines>;

public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ CopiedPatches(const bf16* x, const ConvShape& shape, int firstRow, int firstPixel, int endPixel)
        : shape(shape), left(endPixel - firstPixel - Operand::copied_depth())
    {
        const int u = shape.stride;
        PixelCursor pixel;
        pixel.start(firstPixel + Operand::copied_depth(), shape.P, shape.Q);
        row = pixel.row * u - shape.padding;
        column = pixel.column * u - shape.padding;
        place = x + ((static_cast<long long>(pixel.image) * shape.H + row) * shape.W + column) * shape.C;

        const Gather gather = forward_gather(shape);
#pragma unroll
        for (int i = 0; i < Lines / 32; i++)
        {
            TapCursor tap;
            tap.start(gather, firstRow + Operand::copied_line() + 32 * i);
            // Rows after the last input get a tap so far outside that it misses every image.
            tapRow[i] = tap.inside(gather) ? tap.row : 1 << 30;
            tapColumn[i] = tap.column;
            distance[i] = (tap.row * shape.W + tap.column) * shape.C + tap.channel;
        }

        PixelCursor step;
        step.start(PipelineDepth, shape.P, shape.Q);
        rowMove = step.row * u;
        columnMove = step.column * u;
        move = ((step.image * shape.H + rowMove) * shape.W + columnMove) * shape.C;
        rowCarry = (shape.W - shape.Q) * u * shape.C;
        imageCarry = (shape.H - shape.P * u) * shape.W * shape.C;
    }

    __device__ __forceinline__ void copy(unsigned operand)
    {
#pragma unroll
        for (int i = 0; i < Lines / 32; i++)
        {
            const bool inside = left > 0 && static_cast<unsigned>(row + tapRow[i]) < static_cast<unsigned>(shape.H)
                                && static_cast<unsigned>(column + tapColumn[i]) < static_cast<unsigned>(shape.W);
            cp_async(operand + Operand::copied_place(i), place + distance[i], inside);
        }

        advance();
    }

private:
    __device__ __forceinline__ void advance()
    {
        left -= PipelineDepth;
        row += rowMove;
        column += columnMove;
        place += move;
        if (column >= shape.Q * shape.stride - shape.padding)
        {
            column -= shape.Q * shape.stride;
            row += shape.stride;
            place += rowCarry;
        }

        if (row >= shape.P * shape.stride - shape.padding)
        {
            row -= shape.P * shape.stride;
            place += imageCarry;
        }
    }

    const ConvShape& shape;
    int left, row, column, rowMove, columnMove;
    const bf16* place;
    // Distances: of a step, and what is added at the end of a row and of an image. The host checks that they fit in 32 bits.
    int move, rowCarry, imageCarry;
    int tapRow[Lines / 32], tapColumn[Lines / 32], distance[Lines / 32];
};

// Right operand of a weight gradient: the errors [pixel][K], a piece is 8 columns.
template <int Lines>
class CopiedErrors
{
    using Operand = PipelineOperand<Lines, Runs::AlongLines>;

public:
    static constexpr Runs Order = Runs::AlongLines;

    __device__ __forceinline__ CopiedErrors(const bf16* dy, int columns, int firstColumn, int firstPixel, int endPixel)
        : place(dy + static_cast<long long>(firstPixel + Operand::copied_depth()) * columns + firstColumn + Operand::copied_line()),
          columns(columns), left(endPixel - firstPixel - Operand::copied_depth()), columnsLeft(columns - firstColumn - Operand::copied_line())
    {
    }

    __device__ __forceinline__ void copy(unsigned operand)
    {
#pragma unroll
        for (int i = 0; i < Lines / 32; i++) cp_async(operand + Operand::copied_place(i), place + 32 * i, left > 0 && 32 * i < columnsLeft);
        left -= PipelineDepth;
        place += static_cast<long long>(PipelineDepth) * columns;
    }

private:
    const bf16* place;
    const int columns;
    int left;
    const int columnsLeft;
};
