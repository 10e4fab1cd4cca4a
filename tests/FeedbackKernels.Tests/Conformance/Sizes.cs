using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Sizes that the tests of operations on single elements and on weights share.</summary>
internal static class Sizes
{
    /// <summary>Every tail length of every vector width, and more than one item of work.</summary>
    public static readonly int[] Lengths = [.. Enumerable.Range(1, 35), 16 * 1024 + 5, 70_001];

    /// <summary>Layers whose weights are smaller and larger than the blocks of a transposition.</summary>
    public static readonly ConvShape[] Layers = [new(1, 3, 3, 5, 7, 3, 3, 1, 1), new(1, 4, 4, 64, 16, 1, 1, 1, 0), new(1, 4, 4, 65, 33, 3, 2, 1, 1)];
}
