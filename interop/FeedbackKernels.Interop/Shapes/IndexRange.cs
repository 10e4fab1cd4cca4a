using System.Numerics;

namespace FeedbackKernels.Interop;

/// <summary>Indices that come as data, checked before they are used.</summary>
internal static class IndexRange
{
    /// <summary>Place of the first index that is negative or not below <paramref name="end"/>; -1 where all are good.</summary>
    public static int FirstOutside(ReadOnlySpan<int> indices, int end)
    {
        // A negative number is a large one without its sign.
        var limit = new Vector<uint>((uint)end);
        int i = 0;
        while (i + Vector<int>.Count <= indices.Length && Vector.LessThanAll(Vector.AsVectorUInt32(new Vector<int>(indices[i..])), limit))
            i += Vector<int>.Count;
        for (; i < indices.Length; i++)
        {
            if ((uint)indices[i] >= (uint)end) return i;
        }

        return -1;
    }
}
