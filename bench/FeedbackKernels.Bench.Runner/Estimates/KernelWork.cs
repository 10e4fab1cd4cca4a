namespace FeedbackKernels.Bench.Estimates;

/// <summary>What one launch of a kernel has to do, whatever the card.</summary>
/// <param name="Kind">The kind of kernel, by which an estimate adds up.</param>
/// <param name="Hbm">Bytes that it reads from memory and writes, each operand once: what is read again comes from the level-2 cache.</param>
/// <param name="HbmShare">The share of the memory's rate that it reaches.</param>
internal readonly record struct KernelWork(string Kind, double Hbm, Figure HbmShare = Figure.StreamHbm)
{
    /// <summary>Bytes between the level-2 cache and the multiprocessors: with each tap, and for each tile, operands are read again.</summary>
    public double L2 { get; init; } = Hbm;

    /// <summary>FLOP of the products; elementwise arithmetic counts as free.</summary>
    public double Flops { get; init; }

    /// <summary>FLOP that are executed: with tiles that are not full.</summary>
    public double Executed { get; init; }

    /// <summary>The share of the peak that its products reach.</summary>
    public Figure Products { get; init; } = Figure.PortableTensor;

    /// <summary>Loads from memory that a thread waits for one after the other: those of a loop, divided by how many of them are in flight.</summary>
    public double Rounds { get; init; } = 1;

    /// <summary>Steps of a tile product in a block, divided by its stages, which are loaded at the same time.</summary>
    public double Steps { get; init; }

    /// <summary>Registers of a thread, which limit the blocks of a multiprocessor.</summary>
    public int Registers { get; init; } = 32;
}
