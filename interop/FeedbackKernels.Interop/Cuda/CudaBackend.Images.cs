using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/images.cu
public sealed unsafe partial class CudaBackend
{
    private const int AugmentThreads = 256, AugmentRun = 1024;

    private static readonly CudaKernelTable<ElementType> AugmentImagesKernels = new(
        "images", (ElementType.Float32, "augment_images_fp32"), (ElementType.BFloat16, "augment_images_bf16"));

    internal override void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x)
    {
        if (augmentation.ImageLength + AugmentRun > int.MaxValue)
        {
            throw new NotSupportedException(
                $"an image of {augmentation.H}x{augmentation.W}x{augmentation.C} has more elements than the CUDA kernels count to, {int.MaxValue}");
        }

        Launch(
            AugmentImagesKernels[ActivationType], new Grid(DivideUp(augmentation.ImageLength, AugmentRun), Math.Min(images, MostImagesOfAGrid)),
            AugmentThreads,
            new AugmentArguments
            {
                N = images,
                H = augmentation.H,
                W = augmentation.W,
                C = augmentation.C,
                Reach = augmentation.Reach,
                Flip = augmentation.Flip ? 1 : 0,
                Key = new NativeRandomKey(augmentation.Key),
                Pixels = pixels.Bytes,
                Numbers = numbers.Ints,
                Table = table.Floats,
                X = x.Pointer,
            },
            augmentation);
    }

    internal struct AugmentArguments
    {
        public int N, H, W, C, Reach, Flip;
        public NativeRandomKey Key;
        public byte* Pixels;
        public int* Numbers;
        public float* Table;
        public void* X;
    }
}
