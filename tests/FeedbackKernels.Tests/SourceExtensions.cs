using FeedbackKernels.Data;

namespace FeedbackKernels.Tests;

/// <summary>Whole sources as arrays, read through the interface: each use of a property reads all images anew.</summary>
internal static class SourceExtensions
{
    extension(IImageSource source)
    {
        public byte[] Pixels => source.ReadAll([.. Enumerable.Range(0, source.Count)]);

        public int[] Labels => [.. Enumerable.Range(0, source.Count).Select(source.Label)];
    }

    public static ReadOnlySpan<byte> Image(this IImageSource source, int index) => source.ReadAll([index]);

    public static byte[] ReadAll(this IImageSource source, int[] indices)
    {
        var bytes = new byte[indices.Sum(i => (long)source.Length(i))];
        source.Read(indices, bytes);
        return bytes;
    }
}
