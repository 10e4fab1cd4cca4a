namespace FeedbackKernels.Data;

/// <summary>Scratch memory of a decoder: it grows, and it does not move.</summary>
internal sealed unsafe class DecoderMemory
{
    // An unusually large image must not keep its memory for the rest of the run.
    private const int MostKept = 16 << 20;

    private byte[] _bytes = [];

    /// <summary>At least as many bytes as asked for; what they hold is undefined.</summary>
    public byte* Get(long bytes)
    {
        if (bytes > Array.MaxLength) throw new InvalidDataException($"an image that needs {bytes} bytes while it is decoded; wanted at most {Array.MaxLength}");
        if (_bytes.Length < bytes) _bytes = GC.AllocateUninitializedArray<byte>((int)Math.Max(bytes, Math.Min(2 * _bytes.Length, MostKept)), pinned: true);
        return (byte*)System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(_bytes, 0);
    }

    /// <summary>Gives unusually much memory back.</summary>
    public void Trim()
    {
        if (_bytes.Length > MostKept) _bytes = [];
    }
}
