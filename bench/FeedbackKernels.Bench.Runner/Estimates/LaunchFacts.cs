using System.Globalization;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>What a kernel is given, besides its arguments.</summary>
/// <param name="Kernel">Its name.</param>
/// <param name="Operation">The method of the backend that launches it.</param>
/// <param name="Grid">Blocks.</param>
/// <param name="Bytes">Bytes of an activation.</param>
internal readonly record struct LaunchFacts(string Kernel, string Operation, CudaBackend.Grid Grid, int Bytes)
{
    /// <summary>Blocks of the grid.</summary>
    public long Blocks => (long)Grid.X * Grid.Y * Grid.Z;

    /// <summary>Whether operands are bf16, and products on tensor cores.</summary>
    public bool IsBf16 => Bytes == sizeof(ushort);

    /// <summary>The last number of the name: the columns of a tile.</summary>
    public int Columns => NumberFromEnd(1);

    /// <summary>The number before that: the rows of the tile, where the name has both.</summary>
    public int Rows => NumberFromEnd(2);

    private int NumberFromEnd(int place) => int.Parse(Kernel.Split('_')[^place], CultureInfo.InvariantCulture);
}
