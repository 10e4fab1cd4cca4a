// Pooling over windows of R by S. The backward passes gather: each input pixel sums over the windows that contain it, in order, so
// that no two threads write the same element and results do not depend on timing. blockIdx.y is the image, so that indices within
// an image fit 32 bits.
#include "shapes.cuh"

constexpr int PoolThreads = 256;

template <class Number>
struct MaxPoolForwardArguments
{
    PoolShape shape;
    const Number* x;  // [N][H][W][C]
    Number* y;        // [N][P][Q][C]
    int* positions;   // [N][P][Q][C]: h*W + w of the maximum
};

template <class Number>
struct MaxPoolBackwardArguments
{
    PoolShape shape;
    const Number* dy;      // [N][P][Q][C]
    const int* positions;  // [N][P][Q][C]
    Number* dx;            // [N][H][W][C]
};

// Forward from x [N][H][W][C] to y [N][P][Q][C], backward from dy to dx.
template <class Number>
struct AveragePoolArguments
{
    PoolShape shape;
    const Number* source;
    Number* result;
};

namespace {

// A half-open range of indices.
struct Range
{
    int first, end;
};

// The input rows in window p, without padding.
__device__ __forceinline__ Range seen_by(int p, int stride, int padding, int window, int size)
{
    const int first = p * stride - padding, end = first + window;
    return {first < 0 ? 0 : first, end > size ? size : end};
}

// The windows that contain input row h.
__device__ __forceinline__ Range windows_over(int h, int stride, int padding, int window, int count)
{
    const int last = (h + padding) / stride, before = h + padding - window;
    return {before < 0 ? 0 : before / stride + 1, last < count ? last + 1 : count};
}

// Calls body(image, row, column, channel, offset) for every element of [N][rows][columns][C].
template <class Body>
__device__ __forceinline__ void for_each_element(const PoolShape& shape, int rows, int columns, const Body& body)
{
    const int C = shape.C, length = rows * columns * C;
    const int i = blockIdx.x * PoolThreads + threadIdx.x;
    if (i >= length) return;
    const int pixel = i / C, row = pixel / columns;
    for (int n = blockIdx.y; n < shape.N; n += gridDim.y)
        body(n, row, pixel - row * columns, i - pixel * C, static_cast<long long>(n) * length + i);
}

// Of equal values the first is the maximum; NaN counts as the largest value.
template <class Number>
__device__ __forceinline__ void max_pool_forward(const MaxPoolForwardArguments<Number>& arguments)
{
    const PoolShape& shape = arguments.shape;
    for_each_element(shape, shape.P, shape.Q, [&](int n, int p, int q, int c, long long place) {
        const Range rows = seen_by(p, shape.stride, shape.padding, shape.R, shape.H);
        const Range columns = seen_by(q, shape.stride, shape.padding, shape.S, shape.W);
        const Number* image = arguments.x + static_cast<long long>(n) * shape.H * shape.W * shape.C + c;
        int best = rows.first * shape.W + columns.first;
        float most = load_number(image + static_cast<long long>(best) * shape.C);
        for (int h = rows.first; h < rows.end; h++)
        {
            for (int w = columns.first; w < columns.end; w++)
            {
                const float value = load_number(image + (static_cast<long long>(h) * shape.W + w) * shape.C);
                if (value <= most || most != most) continue;
                most = value;
                best = h * shape.W + w;
            }
        }

        store_number(arguments.y + place, most);
        arguments.positions[place] = best;
    });
}

template <class Number>
__device__ __forceinline__ void max_pool_backward(const MaxPoolBackwardArguments<Number>& arguments)
{
    const PoolShape& shape = arguments.shape;
    for_each_element(shape, shape.H, shape.W, [&](int n, int h, int w, int c, long long place) {
        const Range rows = windows_over(h, shape.stride, shape.padding, shape.R, shape.P);
        const Range columns = windows_over(w, shape.stride, shape.padding, shape.S, shape.Q);
        float sum = 0;
        for (int p = rows.first; p < rows.end; p++)
        {
            for (int q = columns.first; q < columns.end; q++)
            {
                const long long i = ((static_cast<long long>(n) * shape.P + p) * shape.Q + q) * shape.C + c;
                if (arguments.positions[i] == h * shape.W + w) sum += load_number(arguments.dy + i);
            }
        }

        store_number(arguments.dx + place, sum);
    });
}

template <class Number>
__device__ __forceinline__ void average_pool_forward(const AveragePoolArguments<Number>& arguments)
{
    const PoolShape& shape = arguments.shape;
    for_each_element(shape, shape.P, shape.Q, [&](int n, int p, int q, int c, long long place) {
        const Range rows = seen_by(p, shape.stride, shape.padding, shape.R, shape.H);
        const Range columns = seen_by(q, shape.stride, shape.padding, shape.S, shape.W);
        const Number* image = arguments.source + static_cast<long long>(n) * shape.H * shape.W * shape.C + c;
        float sum = 0;
        for (int h = rows.first; h < rows.end; h++)
        {
            for (int w = columns.first; w < columns.end; w++) sum += load_number(image + (static_cast<long long>(h) * shape.W + w) * shape.C);
        }

        store_number(arguments.result + place, sum / static_cast<float>((rows.end - rows.first) * (columns.end - columns.first)));
    });
}

template <class Number>
__device__ __forceinline__ void average_pool_backward(const AveragePoolArguments<Number>& arguments)
{
    const PoolShape& shape = arguments.shape;
    for_each_element(shape, shape.H, shape.W, [&](int n, int h, int w, int c, long long place) {
        const Range rows = windows_over(h, shape.stride, shape.padding, shape.R, shape.P);
        const Range columns = windows_over(w, shape.stride, shape.padding, shape.S, shape.Q);
        float sum = 0;
        for (int p = rows.first; p < rows.end; p++)
        {
            const Range seenRows = seen_by(p, shape.stride, shape.padding, shape.R, shape.H);
            for (int q = columns.first; q < columns.end; q++)
            {
                const Range seenColumns = seen_by(q, shape.stride, shape.padding, shape.S, shape.W);
                const int pixels = (seenRows.end - seenRows.first) * (seenColumns.end - seenColumns.first);
                const long long i = ((static_cast<long long>(n) * shape.P + p) * shape.Q + q) * shape.C + c;
                sum += load_number(arguments.source + i) / static_cast<float>(pixels);
            }
        }

        store_number(arguments.result + place, sum);
    });
}

}  // namespace

KERNEL(PoolThreads, max_pool_forward_fp32, MaxPoolForwardArguments<float>) { max_pool_forward(arguments); }
KERNEL(PoolThreads, max_pool_forward_bf16, MaxPoolForwardArguments<bf16>) { max_pool_forward(arguments); }
KERNEL(PoolThreads, max_pool_backward_fp32, MaxPoolBackwardArguments<float>) { max_pool_backward(arguments); }
KERNEL(PoolThreads, max_pool_backward_bf16, MaxPoolBackwardArguments<bf16>) { max_pool_backward(arguments); }
KERNEL(PoolThreads, average_pool_forward_fp32, AveragePoolArguments<float>) { average_pool_forward(arguments); }
KERNEL(PoolThreads, average_pool_forward_bf16, AveragePoolArguments<bf16>) { average_pool_forward(arguments); }
KERNEL(PoolThreads, average_pool_backward_fp32, AveragePoolArguments<float>) { average_pool_backward(arguments); }
KERNEL(PoolThreads, average_pool_backward_bf16, AveragePoolArguments<bf16>) { average_pool_backward(arguments); }
