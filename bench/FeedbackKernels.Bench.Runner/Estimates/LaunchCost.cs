namespace FeedbackKernels.Bench.Estimates;

/// <summary>What limits a launch.</summary>
internal enum Limit
{
    /// <summary>Bytes from and to memory.</summary>
    Memory,

    /// <summary>Bytes from the level-2 cache.</summary>
    L2,

    /// <summary>Products.</summary>
    Products,

    /// <summary>Loads that wait for each other.</summary>
    Latency,

    /// <summary>The gap before the kernel and its first load, which are longer than the rest.</summary>
    Launch,
}

/// <summary>The time of a launch on a card: the longest of four times, each of which would be all if the others were free, and the time
/// to start.</summary>
/// <param name="Memory">Seconds for the bytes from and to memory.</param>
/// <param name="L2">Seconds for the bytes from the level-2 cache.</param>
/// <param name="Products">Seconds for the products.</param>
/// <param name="Latency">Seconds for loads that wait for each other.</param>
/// <param name="Start">Seconds before that.</param>
internal readonly record struct LaunchCost(double Memory, double L2, double Products, double Latency, double Start)
{
    // Of every compute capability from 8.0 on: threads, blocks and registers of a multiprocessor, and shared memory that a block takes
    // besides its own.
    private const int MostThreads = 2048, MostBlocks = 32, AllRegisters = 65_536, ReservedBytes = 1024;

    /// <summary>Seconds of the whole launch.</summary>
    public double Seconds => Busy + Start;

    /// <summary>What limits it.</summary>
    public Limit Limit =>
        Start > Busy ? Limit.Launch : Busy == Memory ? Limit.Memory : Busy == L2 ? Limit.L2 : Busy == Products ? Limit.Products : Limit.Latency;

    private double Busy => Math.Max(Math.Max(Memory, L2), Math.Max(Products, Latency));

    /// <summary>The time of a launch.</summary>
    public static LaunchCost Of(in PaperLaunch launch, Card card)
    {
        KernelWork work = launch.Work;
        double latency = card[Figure.LoadLatency], unevenness = Unevenness(launch, card);
        // Where some multiprocessors have nothing to do, the others do not take what memory and cache could deliver.
        double taken = card[Figure.Multiprocessors] * card[Figure.SmBytes] / unevenness;
        return new LaunchCost(
            work.Hbm / Math.Min(card[Figure.HbmBytes] * card[work.HbmShare], taken),
            work.L2 / Math.Min(card[Figure.L2Bytes], taken),
            work.Executed == 0 ? 0 : unevenness * work.Executed / (PeakOf(work.Products, card) * card[work.Products]),
            (work.Rounds * latency + work.Steps * card[Figure.StepLatency]) * Math.Ceiling(launch.Blocks / PlacesOf(launch, card)),
            card[Figure.LaunchGap] + latency);
    }

    /// <summary>Blocks that the card holds at once.</summary>
    public static double PlacesOf(in PaperLaunch launch, Card card)
    {
        int threads = Math.Min(MostThreads / launch.Threads, AllRegisters / (launch.Threads * launch.Work.Registers));
        int shared = (int)(card[Figure.SharedBytes] / (launch.SharedBytes + ReservedBytes));
        return card[Figure.Multiprocessors] * Math.Clamp(Math.Min(threads, shared), 1, MostBlocks);
    }

    /// <summary>How much longer the last wave makes a launch: 1 where it is full. In a wave that is not, the fullest multiprocessor counts,
    /// and a block has the rate of those that are missing beside it.</summary>
    public static double Unevenness(in PaperLaunch launch, Card card)
    {
        double places = PlacesOf(launch, card), multiprocessors = card[Figure.Multiprocessors], whole = Math.Floor(launch.Blocks / places);
        double rest = launch.Blocks - whole * places, last = Math.Ceiling(rest / multiprocessors) / (places / multiprocessors);
        return (whole + last) * places / launch.Blocks;
    }

    private static double PeakOf(Figure products, Card card) =>
        card[products is Figure.PortableVector or Figure.MirrorVector ? Figure.VectorFlops : Figure.TensorFlops];
}
