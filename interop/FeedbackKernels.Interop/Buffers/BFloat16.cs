using System.Globalization;

namespace FeedbackKernels.Interop;

/// <summary>
/// The upper half of a binary32: the same range with 8 bits of significand. Operand type of tensor cores, and storage type of
/// activations, errors and copies of weights on backends that use it. It has no arithmetic: convert to float.
/// </summary>
public readonly struct BFloat16 : IEquatable<BFloat16>
{
    private readonly ushort _bits;

    private BFloat16(ushort bits) => _bits = bits;

    /// <summary>The bits: sign, 8 of exponent, 7 of significand.</summary>
    public ushort Bits => _bits;

    /// <summary>The number with these bits.</summary>
    /// <param name="bits">Sign, 8 bits of exponent, 7 bits of fraction.</param>
    public static BFloat16 FromBits(ushort bits) => new(bits);

    /// <summary>The nearest number, ties to even (roundTiesToEven of IEEE 754-2019, section 4.3.1). Overflow gives infinity, and NaN stays
    /// NaN.</summary>
    public static explicit operator BFloat16(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        // A NaN whose payload is in the lower half alone would become an infinity, so its quiet bit is set.
        if (float.IsNaN(value)) return new BFloat16((ushort)(bits >> 16 | 0x40));
        return new BFloat16((ushort)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16));
    }

    /// <summary>The nearest number in one rounding. A conversion through float would round twice.</summary>
    public static explicit operator BFloat16(double value)
    {
        float single = (float)value;
        if (float.IsNaN(single) || single == value) return (BFloat16)single;
        // Truncated, with the last bit set if any bits were cut off, which is enough to tell a tie from its neighbours.
        uint bits = BitConverter.SingleToUInt32Bits(single);
        if (Math.Abs((double)single) > Math.Abs(value)) bits--;
        return (BFloat16)BitConverter.UInt32BitsToSingle(bits | 1);
    }

    /// <summary>The same number.</summary>
    public static implicit operator float(BFloat16 value) => BitConverter.UInt32BitsToSingle((uint)value._bits << 16);

    /// <inheritdoc/>
    public static bool operator ==(BFloat16 left, BFloat16 right) => (float)left == (float)right;

    /// <inheritdoc/>
    public static bool operator !=(BFloat16 left, BFloat16 right) => !(left == right);

    /// <summary>The nearest number, ties to even.</summary>
    /// <param name="value">The number to round.</param>
    public static BFloat16 FromSingle(float value) => (BFloat16)value;

    /// <summary>The nearest number in one rounding.</summary>
    /// <param name="value">The number to round.</param>
    public static BFloat16 FromDouble(double value) => (BFloat16)value;

    /// <summary>The same number.</summary>
    public float ToSingle() => this;

    /// <summary>As <see cref="float.Equals(float)"/>: a NaN equals a NaN.</summary>
    /// <param name="other">The number to compare with.</param>
    public bool Equals(BFloat16 other) => ((float)this).Equals((float)other);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is BFloat16 other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => ((float)this).GetHashCode();

    /// <inheritdoc/>
    public override string ToString() => ((float)this).ToString(CultureInfo.InvariantCulture);
}
