namespace FeedbackKernels.Interop;

/// <summary>The tile kernels of one vector type, by height and width.</summary>
internal unsafe struct TileSet
{
    private const int Tallest = 14, Widest = 2;

    private fixed long _kernels[Tallest * Widest];

    private TileSet(int lanes, int registers)
    {
        Lanes = lanes;
        // Accumulators, the vectors of B, and one broadcast have to fit the registers.
        MaxRows = Math.Min(Tallest, (registers - 3) / 2);
        MaxRowsOneVector = Math.Min(Tallest, registers - 2);
    }

    /// <summary>Floats in a vector.</summary>
    public readonly int Lanes;

    /// <summary>Height of the tallest tile that is two vectors wide.</summary>
    public readonly int MaxRows;

    /// <summary>Height of the tallest tile that is one vector wide.</summary>
    public readonly int MaxRowsOneVector;

    /// <summary>Height of the tallest tile of a width in columns.</summary>
    public readonly int MaxRowsFor(int width) => width > Lanes ? MaxRows : MaxRowsOneVector;

    /// <summary>Runs the tile of so many rows by so many columns (one or two vectors of them).</summary>
    public readonly void Run(int rows, int width, TileArguments* arguments) =>
        ((delegate*<TileArguments*, void>)(nint)_kernels[(rows - 1) * Widest + (width > Lanes ? 1 : 0)])(arguments);

    public static TileSet For<TVector, TOps>()
        where TVector : unmanaged
        where TOps : unmanaged, IVectorOps<TVector>
    {
        var set = new TileSet(TOps.Count, TOps.Registers);
        set.Add<TVector, TOps, One>();
        set.Add<TVector, TOps, Two>();
        set.Add<TVector, TOps, Three>();
        set.Add<TVector, TOps, Four>();
        set.Add<TVector, TOps, Five>();
        set.Add<TVector, TOps, Six>();
        set.Add<TVector, TOps, Seven>();
        set.Add<TVector, TOps, Eight>();
        set.Add<TVector, TOps, Nine>();
        set.Add<TVector, TOps, Ten>();
        set.Add<TVector, TOps, Eleven>();
        set.Add<TVector, TOps, Twelve>();
        set.Add<TVector, TOps, Thirteen>();
        set.Add<TVector, TOps, Fourteen>();
        return set;
    }

    private void Add<TVector, TOps, TRows>()
        where TVector : unmanaged
        where TOps : unmanaged, IVectorOps<TVector>
        where TRows : unmanaged, IConstant
    {
        int first = (TRows.Value - 1) * Widest;
        _kernels[first] = (nint)(delegate*<TileArguments*, void>)&TileKernel<TVector, TOps, TRows, One>.Run;
        _kernels[first + 1] = (nint)(delegate*<TileArguments*, void>)&TileKernel<TVector, TOps, TRows, Two>.Run;
    }

    private readonly struct One : IConstant { public static int Value => 1; }

    private readonly struct Two : IConstant { public static int Value => 2; }

    private readonly struct Three : IConstant { public static int Value => 3; }

    private readonly struct Four : IConstant { public static int Value => 4; }

    private readonly struct Five : IConstant { public static int Value => 5; }

    private readonly struct Six : IConstant { public static int Value => 6; }

    private readonly struct Seven : IConstant { public static int Value => 7; }

    private readonly struct Eight : IConstant { public static int Value => 8; }

    private readonly struct Nine : IConstant { public static int Value => 9; }

    private readonly struct Ten : IConstant { public static int Value => 10; }

    private readonly struct Eleven : IConstant { public static int Value => 11; }

    private readonly struct Twelve : IConstant { public static int Value => 12; }

    private readonly struct Thirteen : IConstant { public static int Value => 13; }

    private readonly struct Fourteen : IConstant { public static int Value => 14; }
}
