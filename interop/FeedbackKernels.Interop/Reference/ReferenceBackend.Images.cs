namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x)
    {
        (int height, int width, int channels, _, _, _) = augmentation;
        for (int n = 0; n < images; n++)
        {
            (int down, int right, bool flip) = augmentation.Draw(numbers.Ints[n]);
            byte* image = pixels.Bytes + n * augmentation.ImageLength;
            long first = n * augmentation.ImageLength;
            for (int h = 0; h < height; h++)
            {
                for (int w = 0; w < width; w++)
                {
                    int row = h + down, column = (flip ? width - 1 - w : w) + right;
                    bool inside = row >= 0 && row < height && column >= 0 && column < width;
                    for (int c = 0; c < channels; c++)
                    {
                        float number = inside ? table.Floats[image[((long)row * width + column) * channels + c] * channels + c] : 0;
                        x.Write(first + ((long)h * width + w) * channels + c, number);
                    }
                }
            }
        }
    }
}
