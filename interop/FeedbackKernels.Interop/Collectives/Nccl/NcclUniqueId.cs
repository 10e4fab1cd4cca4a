namespace FeedbackKernels.Interop;

/// <summary>ncclUniqueId: what processes need to find each other. NCCL takes it by value, 128 bytes on the stack.</summary>
internal unsafe struct NcclUniqueId
{
    /// <summary>NCCL_UNIQUE_ID_BYTES.</summary>
    public const int Size = 128;

    private fixed byte _bytes[Size];

    /// <summary>The bytes, as they are sent to the other processes.</summary>
    public readonly byte[] ToBytes()
    {
        fixed (byte* bytes = _bytes) return [.. new ReadOnlySpan<byte>(bytes, Size)];
    }

    /// <summary>The id of these bytes.</summary>
    public static NcclUniqueId FromBytes(ReadOnlySpan<byte> bytes)
    {
        var id = default(NcclUniqueId);
        bytes[..Size].CopyTo(new Span<byte>(id._bytes, Size));
        return id;
    }
}
