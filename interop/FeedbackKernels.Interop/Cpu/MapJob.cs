namespace FeedbackKernels.Interop;

/// <summary>An elementwise operation, divided into runs of elements.</summary>
internal unsafe struct MapJob : IParallelJob
{
    // 64 KiB of one operand. Two or three operands stay in L2.
    public const int ItemFloats = 16 * 1024;

    public delegate*<MapArguments*, long, void> Kernel;
    public MapArguments Arguments;
    public long Length;

    public readonly int Items => WorkItems.Checked(Rounding.DivideUp(Length, ItemFloats));

    public readonly void Run(int item, int worker)
    {
        long first = (long)item * ItemFloats;
        MapArguments part = Arguments.From(first);
        Kernel(&part, Math.Min(ItemFloats, Length - first));
    }
}
