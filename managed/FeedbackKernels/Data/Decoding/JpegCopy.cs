using System.Runtime.InteropServices;

namespace FeedbackKernels.Data;

/// <summary>
/// A copy of an encoded JPEG that is followed by markers of its end (EOI), as many as the longest segment takes. Skia ends the process if
/// the data of a JPEG are over where entropy-coded data should begin; and libjpeg decodes what there is of an image that has an end, and
/// makes the rest grey. One marker is not enough: a segment that has been cut off takes it for its own bytes.
/// </summary>
internal sealed unsafe class JpegCopy
{
    /// <summary>Bytes behind the image. The length of a segment has 16 bits; one more marker follows it.</summary>
    public const int EndBytes = (1 << 16) + 2;

    // An unusually large image must not keep its memory for the rest of the run.
    private const int MostKept = 16 << 20;
    private const ushort EndOfImage = 0xFFD9;

    private byte[] _bytes = [];

    /// <summary>Copies an image. It lies right before the markers, which are written once.</summary>
    /// <param name="encoded">The image.</param>
    /// <param name="length">Its bytes.</param>
    /// <returns>The first of <paramref name="length"/> + <see cref="EndBytes"/> bytes.</returns>
    public byte* Of(byte* encoded, int length)
    {
        long needed = (long)length + EndBytes;
        if (needed > Array.MaxLength) throw new InvalidDataException($"JPEG: an image of {length} bytes; wanted at most {Array.MaxLength - EndBytes}");
        if (_bytes.Length < needed) Allocate((int)Math.Max(needed, Math.Min(2L * _bytes.Length, MostKept)));
        Span<byte> place = _bytes.AsSpan(_bytes.Length - (int)needed, length);
        new ReadOnlySpan<byte>(encoded, length).CopyTo(place);
        return (byte*)Marshal.UnsafeAddrOfPinnedArrayElement(_bytes, _bytes.Length - (int)needed);
    }

    /// <summary>Gives unusually much memory back.</summary>
    public void Trim()
    {
        if (_bytes.Length > MostKept) _bytes = [];
    }

    private void Allocate(int bytes)
    {
        _bytes = GC.AllocateUninitializedArray<byte>(bytes, pinned: true);
        for (int i = bytes - EndBytes; i < bytes; i += 2) (_bytes[i], _bytes[i + 1]) = (EndOfImage >> 8, EndOfImage & 0xFF);
    }
}
