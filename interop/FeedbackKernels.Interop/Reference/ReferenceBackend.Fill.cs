namespace FeedbackKernels.Interop;

public sealed unsafe partial class ReferenceBackend
{
    internal override void FillCore(long length, BufferView values, float value)
    {
        for (long i = 0; i < length; i++) values.Write(i, value);
    }

    internal override void FillGaussianCore(BufferView values, in RandomKey key, float standardDeviation)
    {
        // Numbers filled at a time: a multiple of the four numbers of a block.
        const int part = 1 << 20;
        for (long first = 0; first < values.Length; first += part)
            key.FillGaussian(new Span<float>(values.Floats + first, (int)Math.Min(part, values.Length - first)), standardDeviation, (uint)(first / 4));
    }

    internal override void ConvertCore(long length, BufferView source, BufferView result)
    {
        for (long i = 0; i < length; i++) result.Write(i, source.Read(i));
    }
}
