using System.Numerics;

namespace FeedbackKernels.Interop;

/// <summary>Checks indices that are data.</summary>
internal static class IndexRange
{
    /// <summary>Position of the first index outside [0, <paramref name="end"/>); -1 if there is none.</summary>
    public static int FirstOutside(ReadOnlySpan<int> indices, int end)
    {
        // As an unsigned number, a negative index is a large one.
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
