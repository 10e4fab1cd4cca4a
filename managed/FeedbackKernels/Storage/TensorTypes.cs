namespace FeedbackKernels.Storage;

/// <summary>Element types of the safetensors format.</summary>
internal static class TensorTypes
{
    /// <summary>The type that models are stored in.</summary>
    public const string Float32 = "F32";

    /// <summary>Half precision and bfloat16, which weights from other programs may have.</summary>
    public const string Float16 = "F16", BFloat16 = "BF16";

    /// <summary>The type of counters.</summary>
    public const string Int64 = "I64";

    private static readonly Dictionary<string, int> BitsOf = new()
    {
        ["BOOL"] = 8,
        ["F4"] = 4,
        ["F6_E2M3"] = 6,
        ["F6_E3M2"] = 6,
        ["U8"] = 8,
        ["I8"] = 8,
        ["F8_E5M2"] = 8,
        ["F8_E4M3"] = 8,
        ["F8_E8M0"] = 8,
        ["F8_E4M3FNUZ"] = 8,
        ["F8_E5M2FNUZ"] = 8,
        ["I16"] = 16,
        ["U16"] = 16,
        [Float16] = 16,
        [BFloat16] = 16,
        ["I32"] = 32,
        ["U32"] = 32,
        [Float32] = 32,
        ["C64"] = 64,
        ["F64"] = 64,
        [Int64] = 64,
        ["U64"] = 64,
    };

    /// <summary>All names.</summary>
    public static IReadOnlyCollection<string> Names => BitsOf.Keys;

    /// <summary>Bits of an element; null for a type that the format does not have.</summary>
    public static int? Bits(string name) => BitsOf.TryGetValue(name, out int bits) ? bits : null;
}
