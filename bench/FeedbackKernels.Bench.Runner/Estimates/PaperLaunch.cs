namespace FeedbackKernels.Bench.Estimates;

/// <summary>A launch of a step.</summary>
/// <param name="Kernel">Name of the kernel.</param>
/// <param name="Subject">What it is applied to: a layer, or sizes.</param>
/// <param name="Blocks">Blocks of the grid.</param>
/// <param name="Threads">Threads of a block.</param>
/// <param name="SharedBytes">Dynamic shared memory of a block.</param>
/// <param name="Work">What it does.</param>
internal readonly record struct PaperLaunch(string Kernel, string Subject, long Blocks, int Threads, int SharedBytes, KernelWork Work);
