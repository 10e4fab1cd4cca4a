using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The kernels of one SIMD level, as function pointers. Jobs refer to the table by pointer, so that a job is an unmanaged struct. The
/// tables are never freed.
/// </summary>
internal unsafe struct CpuKernels
{
    public SimdLevel Level;
    public TileSet Tiles;
    public delegate*<EpilogueArguments*, void> Epilogue;
    public delegate*<StripArguments*, void> CopyStrip;

    /// <summary>See <see cref="TransposeKernel{TVector, TOps}.Run"/>.</summary>
    public delegate*<float*, nint, int, int, float*, nint, void> Transpose, TransposeNonTemporal;
    public delegate*<ChannelArguments*, long, long, void> Statistics, Affine, BackwardSums, BackwardApply;
    public delegate*<MapArguments*, long, void> Add, Copy, CopyNonTemporal, Fill, FillNonTemporal, ScaleTo, Combine, Sign, Sgd, Relu, ReluBackward, Sigmoid, SigmoidBackward;
    public delegate*<WinogradArguments*, void> WinogradWeights, WinogradGradient;
    public TransformSet WinogradInput, WinogradOutput, WinogradError;
    public delegate*<PoolArguments*, void> MaxPool, AveragePool, SpreadAverage;

    private static readonly Lock Gate = new();
    private static readonly nint[] Tables = new nint[Enum.GetValues<SimdLevel>().Length];

    /// <summary>The table of a level.</summary>
    public static CpuKernels* For(SimdLevel level)
    {
        lock (Gate)
        {
            ref nint table = ref Tables[(int)level];
            if (table == 0) table = (nint)Create(level);
            return (CpuKernels*)table;
        }
    }

    private static CpuKernels* Create(SimdLevel level)
    {
        var table = (CpuKernels*)NativeMemory.AllocZeroed((nuint)sizeof(CpuKernels));
        *table = level switch
        {
            SimdLevel.Avx512 => Of<System.Runtime.Intrinsics.Vector512<float>, Avx512Ops>(level),
            SimdLevel.Avx2 => Of<System.Runtime.Intrinsics.Vector256<float>, Avx2Ops>(level),
            SimdLevel.Vector128 => Of<System.Runtime.Intrinsics.Vector128<float>, Vector128Ops>(level),
            _ => Of<float, ScalarOps>(level),
        };
        return table;
    }

    private static CpuKernels Of<TVector, TOps>(SimdLevel level)
        where TVector : unmanaged
        where TOps : unmanaged, IVectorOps<TVector> => new()
        {
            Level = level,
            Tiles = TileSet.For<TVector, TOps>(),
            Transpose = &TransposeKernel<TVector, TOps>.Run,
            TransposeNonTemporal = &TransposeKernel<TVector, TOps>.RunNonTemporal,
            CopyStrip = &StripKernel<TVector, TOps>.Copy,
            Epilogue = &EpilogueKernel<TVector, TOps>.Run,
            Statistics = &ChannelKernel<TVector, TOps, ChannelPasses.Statistics>.Run,
            Affine = &ChannelKernel<TVector, TOps, ChannelPasses.Affine>.Run,
            BackwardSums = &ChannelKernel<TVector, TOps, ChannelPasses.BackwardSums>.Run,
            BackwardApply = &ChannelKernel<TVector, TOps, ChannelPasses.BackwardApply>.Run,
            Add = &MapKernel<TVector, TOps, Maps.Add>.Run,
            Copy = &MapKernel<TVector, TOps, Maps.Copy>.Run,
            CopyNonTemporal = &MapKernel<TVector, TOps, Maps.CopyNonTemporal>.Run,
            Fill = &MapKernel<TVector, TOps, Maps.Fill>.Run,
            FillNonTemporal = &MapKernel<TVector, TOps, Maps.FillNonTemporal>.Run,
            ScaleTo = &MapKernel<TVector, TOps, Maps.ScaleTo>.Run,
            Combine = &MapKernel<TVector, TOps, Maps.Combine>.Run,
            Sign = &MapKernel<TVector, TOps, Maps.Sign>.Run,
            Sgd = &MapKernel<TVector, TOps, Maps.Sgd>.Run,
            Relu = &MapKernel<TVector, TOps, Maps.Relu>.Run,
            ReluBackward = &MapKernel<TVector, TOps, Maps.ReluBackward>.Run,
            Sigmoid = &MapKernel<TVector, TOps, Maps.Sigmoid>.Run,
            SigmoidBackward = &MapKernel<TVector, TOps, Maps.SigmoidBackward>.Run,
            WinogradInput = WinogradKernels<TVector, TOps>.InputSet,
            WinogradWeights = &WinogradKernels<TVector, TOps>.Weights,
            WinogradOutput = WinogradKernels<TVector, TOps>.OutputSet,
            WinogradError = WinogradKernels<TVector, TOps>.ErrorSet,
            WinogradGradient = &WinogradKernels<TVector, TOps>.Gradient,
            MaxPool = &PoolKernel<TVector, TOps, PoolPasses.Max>.Run,
            AveragePool = &PoolKernel<TVector, TOps, PoolPasses.Average>.Run,
            SpreadAverage = &PoolKernel<TVector, TOps, PoolPasses.SpreadAverage>.Run,
        };
}
