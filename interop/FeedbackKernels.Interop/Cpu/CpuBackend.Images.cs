namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void AugmentImagesCore(
        in ImageAugmentation augmentation, int images, BufferView pixels, BufferView numbers, BufferView table, BufferView x)
    {
        var job = new AugmentJob
        {
            Augmentation = augmentation,
            Pixels = pixels.Bytes,
            Numbers = numbers.Ints,
            Table = table.Floats,
            X = x.Floats,
        };
        _pool.Run(images, ref job);
    }

    /// <summary>One image.</summary>
    private struct AugmentJob : IParallelJob
    {
        public ImageAugmentation Augmentation;
        public byte* Pixels;
        public int* Numbers;
        public float* Table, X;

        public readonly void Run(int item, int worker)
        {
            (int rows, int columns, int channels, _, _, _) = Augmentation;
            (int down, int right, bool flip) = Augmentation.Draw(Numbers[item]);
            byte* image = Pixels + item * Augmentation.ImageLength;
            float* result = X + item * Augmentation.ImageLength;
            for (int h = 0; h < rows; h++, result += columns * channels)
            {
                int row = h + down;
                if (row < 0 || row >= rows)
                {
                    new Span<float>(result, columns * channels).Clear();
                    continue;
                }

                byte* line = image + (long)row * columns * channels;
                for (int w = 0; w < columns; w++)
                {
                    int column = (flip ? columns - 1 - w : w) + right;
                    float* pixel = result + w * channels;
                    if (column < 0 || column >= columns)
                    {
                        for (int c = 0; c < channels; c++) pixel[c] = 0;
                        continue;
                    }

                    byte* bytes = line + column * channels;
                    for (int c = 0; c < channels; c++) pixel[c] = Table[bytes[c] * channels + c];
                }
            }
        }
    }
}
