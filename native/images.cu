// Activations from packed bytes: shifts and flips each image at random and looks its bytes up in a table, in one pass. A block
// computes AugmentRun elements of one image; its first thread draws the random numbers of the image.
#include "random.cuh"

constexpr int AugmentThreads = 256, AugmentRun = 1024;

template <class Number>
struct AugmentArguments
{
    int N, H, W, C, reach, flip;
    RandomKey key;                // the step is the number of the image
    const unsigned char* pixels;  // [N][H][W][C]
    const int* numbers;           // [N]
    const float* table;           // [256][C]
    Number* x;                    // [N][H][W][C]
};

namespace {

struct Draw
{
    int down, right, flip;
};

// A number from 0 to bound - 1, as RandomSequence.NextInt in C# computes it.
__device__ __forceinline__ int below(unsigned word, int bound)
{
    return static_cast<int>(static_cast<unsigned long long>(word) * static_cast<unsigned>(bound) >> 32);
}

template <class Number>
__device__ inline Draw draw(const AugmentArguments<Number>& arguments, int number)
{
    RandomKey key = arguments.key;
    key.step = static_cast<unsigned>(number);
    const RandomBlock block = key.block(0);
    const int reach = arguments.reach, bound = 2 * reach + 1;
    return {below(block.word[0], bound) - reach, below(block.word[1], bound) - reach, below(block.word[2], 2) & arguments.flip};
}

template <class Number>
__device__ __forceinline__ void augment(const AugmentArguments<Number>& arguments, Draw& drawn)
{
    const int H = arguments.H, W = arguments.W, C = arguments.C, length = H * W * C;
    const int first = blockIdx.x * AugmentRun;
    for (int n = blockIdx.y; n < arguments.N; n += gridDim.y)
    {
        if (threadIdx.x == 0) drawn = draw(arguments, arguments.numbers[n]);
        __syncthreads();
        const long long image = static_cast<long long>(n) * length;
        for (int i = first + threadIdx.x; i < length && i < first + AugmentRun; i += AugmentThreads)
        {
            const int pixel = i / C, c = i - pixel * C, h = pixel / W, w = pixel - h * W;
            const int row = h + drawn.down, column = (drawn.flip ? W - 1 - w : w) + drawn.right;
            const bool inside = row >= 0 && row < H && column >= 0 && column < W;
            const float number = inside ? arguments.table[arguments.pixels[image + (row * W + column) * C + c] * C + c] : 0.0f;
            store_number(arguments.x + image + i, number);
        }

        // The draw of the next image overwrites this one.
        __syncthreads();
    }
}

}  // namespace

KERNEL(AugmentThreads, augment_images_fp32, AugmentArguments<float>)
{
    SHARED(Draw, drawn);
    augment(arguments, drawn);
}

KERNEL(AugmentThreads, augment_images_bf16, AugmentArguments<bf16>)
{
    SHARED(Draw, drawn);
    augment(arguments, drawn);
}
