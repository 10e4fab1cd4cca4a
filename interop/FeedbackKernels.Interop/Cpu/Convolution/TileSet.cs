namespace FeedbackKernels.Interop;

/// <summary>The micro-kernels of one vector type, by height and width.</summary>
internal unsafe struct TileSet
{
    private const int Tallest = 14, Widest = 3, HalfLength = Tallest * Widest;

    // Two halves: for left operands whose rows are one float apart, and for those whose steps are one float apart.
    private fixed long _kernels[2 * HalfLength];

    private readonly int _registers;

    private TileSet(int lanes, int registers)
    {
        Lanes = lanes;
        _registers = registers;
        Vectors = registers > 16 ? 2 : 3;
    }

    /// <summary>Floats in a vector.</summary>
    public readonly int Lanes;

    /// <summary>Vectors across the widest tile. With few registers there are three, so that a product needs fewer loads.</summary>
    public readonly int Vectors;

    /// <summary>Whether the tiles prefetch in their loops (<see cref="TileArguments.Ahead"/>).</summary>
    public readonly bool FetchesAhead => _registers > 16;

    /// <summary>The panels of a right operand.</summary>
    public readonly PanelLayout Panels(int columns) => new(columns, Lanes, Vectors);

    /// <summary>Height of the tallest tile of a width in columns, for which accumulators, vectors of B and one broadcast fit the
    /// registers.</summary>
    public readonly int MaxRows(int width)
    {
        int across = Across(width);
        return Math.Min(Tallest, (_registers - across - 1) / across);
    }

    /// <summary>Tiles of a number of rows by all panels.</summary>
    public readonly int Count(int rows, in PanelLayout panels)
    {
        int count = 0;
        for (int panel = 0; panel < panels.Count; panel++) count += Rounding.DivideUp32(rows, MaxRows(panels.Width(panel)));
        return count;
    }

    /// <summary>Runs the micro-kernel for a number of rows and a width in columns, one to <see cref="Vectors"/> vectors.</summary>
    public readonly void Run(int rows, int width, TileArguments* arguments)
    {
        int half = arguments->AInner == 1 ? HalfLength : 0;
        ((delegate*<TileArguments*, void>)(nint)_kernels[half + (rows - 1) * Widest + Across(width) - 1])(arguments);
    }

    private readonly int Across(int width) => width <= Lanes ? 1 : width <= 2 * Lanes ? 2 : 3;

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
        Add<TVector, TOps, TRows, Zero>();
        Add<TVector, TOps, TRows, One>();
    }

    private void Add<TVector, TOps, TRows, TUnitSteps>()
        where TVector : unmanaged
        where TOps : unmanaged, IVectorOps<TVector>
        where TRows : unmanaged, IConstant
        where TUnitSteps : unmanaged, IConstant
    {
        int first = TUnitSteps.Value * HalfLength + (TRows.Value - 1) * Widest;
        _kernels[first] = (nint)(delegate*<TileArguments*, void>)&TileKernel<TVector, TOps, TRows, One, TUnitSteps>.Run;
        _kernels[first + 1] = (nint)(delegate*<TileArguments*, void>)&TileKernel<TVector, TOps, TRows, Two, TUnitSteps>.Run;
        _kernels[first + 2] = (nint)(delegate*<TileArguments*, void>)&TileKernel<TVector, TOps, TRows, Three, TUnitSteps>.Run;
    }

    private readonly struct Zero : IConstant { public static int Value => 0; }

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
