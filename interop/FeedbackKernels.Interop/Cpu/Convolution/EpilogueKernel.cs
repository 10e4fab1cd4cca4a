using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>The epilogue of a tile of finished sums; see <see cref="ConvEpilogue"/>. Null pointers are absent operands.</summary>
internal unsafe struct EpilogueArguments
{
    /// <summary>The tile: rows of columns, <see cref="RowStride"/> floats apart.</summary>
    public float* Y;
    public float* Residual;
    public nint RowStride;
    public int Rows, Columns;

    /// <summary>One element for each column.</summary>
    public float* Scale, Bias;
    public Activation Activation;

    /// <summary>Shift, and sums of (y - shift) and (y - shift)², one element for each column. The kernel adds to the sums.</summary>
    public float* Shift, Sum, SquareSum;

    /// <summary>Whether the epilogue changes y.</summary>
    public readonly bool Maps => Scale != null || Bias != null || Residual != null || Activation != Activation.None;
}

internal static unsafe class EpilogueKernel<TVector, TOps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
{
    public static void Run(EpilogueArguments* e)
    {
        int column = 0;
        for (; column + TOps.Count <= e->Columns; column += TOps.Count) RunColumns(e, column);
        for (; column < e->Columns; column++) EpilogueKernel<float, ScalarOps>.RunColumns(e, column);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void RunColumns(EpilogueArguments* e, int column)
    {
        TVector scale = e->Scale != null ? TOps.Load(e->Scale + column) : TOps.Broadcast(1);
        TVector bias = e->Bias != null ? TOps.Load(e->Bias + column) : TOps.Zero;
        bool map = e->Maps;
        bool statistics = e->Sum != null;
        TVector shift = TOps.Zero, sum = TOps.Zero, squareSum = TOps.Zero;
        if (statistics) shift = TOps.Load(e->Shift + column);
        float* y = e->Y + column, residual = e->Residual + column;
        for (int row = 0; row < e->Rows; row++, y += e->RowStride, residual += e->RowStride)
        {
            TVector value = TOps.Load(y);
            if (map)
            {
                value = TOps.MultiplyAdd(value, scale, bias);
                if (e->Residual != null) value = TOps.Add(value, TOps.Load(residual));
                value = Apply(e->Activation, value);
                TOps.Store(value, y);
            }

            if (!statistics) continue;
            TVector deviation = TOps.Subtract(value, shift);
            sum = TOps.Add(sum, deviation);
            squareSum = TOps.MultiplyAdd(deviation, deviation, squareSum);
        }

        if (!statistics) return;
        TOps.Store(TOps.Add(TOps.Load(e->Sum + column), sum), e->Sum + column);
        TOps.Store(TOps.Add(TOps.Load(e->SquareSum + column), squareSum), e->SquareSum + column);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Apply(Activation activation, TVector value) => activation switch
    {
        Activation.Relu => TOps.Relu(value),
        Activation.Sigmoid => Elementwise.Sigmoid<TVector, TOps>(value),
        _ => value,
    };
}
