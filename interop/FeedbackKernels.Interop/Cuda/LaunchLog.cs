using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>A launch: the kernel, its grid, and where its arguments are in the log.</summary>
internal readonly unsafe struct LoggedLaunch
{
    public required nint Function { get; init; }

    public required (uint X, uint Y, uint Z) Grid { get; init; }

    public required uint Threads { get; init; }

    public required uint SharedBytes { get; init; }

    public required int Arguments { get; init; }

    public required int ArgumentBytes { get; init; }

    /// <summary>For errors: names, where the sizes are in the log, and a function that formats them.</summary>
    public required string Kernel { get; init; }

    public required string Operation { get; init; }

    public required int Sizes { get; init; }

    public required delegate*<byte*, string> Describe { get; init; }

    /// <summary>Whether both launches are the same but for their arguments, so that one node of a graph can make either.</summary>
    public bool HasStructureOf(in LoggedLaunch other) =>
        Function == other.Function && Grid == other.Grid && Threads == other.Threads && SharedBytes == other.SharedBytes
        && ArgumentBytes == other.ArgumentBytes;
}

/// <summary>The launches of a step, in order, with their arguments. Its memory is kept when it is cleared.</summary>
internal sealed unsafe class LaunchLog : IDisposable
{
    // The largest alignment of a kernel's struct: that of a tensor map.
    private const int Alignment = 64, FirstBytes = 1 << 16;

    private readonly List<LoggedLaunch> _launches = [];
    private byte* _bytes;
    private int _used, _room;

    ~LaunchLog() => Free();

    public int Count => _launches.Count;

    /// <summary>A hash of kernels and grids, without arguments.</summary>
    public ulong Structure { get; private set; }

    public ref readonly LoggedLaunch this[int i] => ref CollectionsMarshal.AsSpan(_launches)[i];

    /// <summary>Records a launch.</summary>
    public void Add<TArguments, TSizes>(
        nint function, (uint X, uint Y, uint Z) grid, uint threads, uint sharedBytes, in TArguments arguments, string kernel, string operation,
        in TSizes sizes)
        where TArguments : unmanaged
        where TSizes : unmanaged
    {
        _launches.Add(new LoggedLaunch
        {
            Function = function,
            Grid = grid,
            Threads = threads,
            SharedBytes = sharedBytes,
            Arguments = Put(arguments),
            ArgumentBytes = sizeof(TArguments),
            Kernel = kernel,
            Operation = operation,
            Sizes = Put(sizes),
            Describe = &TextOf<TSizes>,
        });
        Structure = Mix(Mix(Structure, (ulong)function ^ (ulong)threads << 48), (ulong)grid.X << 32 ^ grid.Y << 16 ^ grid.Z);
    }

    /// <summary>The arguments of a launch; valid until the next launch is added.</summary>
    public byte* ArgumentsOf(in LoggedLaunch launch) => _bytes + launch.Arguments;

    /// <summary>Describes a launch in an error.</summary>
    public string Describe(int i)
    {
        ref readonly LoggedLaunch launch = ref this[i];
        string operation = launch.Operation.Replace("Core", "", StringComparison.Ordinal);
        return $"{operation} of {launch.Describe(_bytes + launch.Sizes)}, kernel {launch.Kernel}, launch {i + 1} of {Count} of a step";
    }

    /// <summary>Whether both have the same kernels and grids in the same order.</summary>
    public bool HasStructureOf(LaunchLog other)
    {
        if (Structure != other.Structure || Count != other.Count) return false;
        for (int i = 0; i < Count; i++)
        {
            if (!this[i].HasStructureOf(other[i])) return false;
        }

        return true;
    }

    /// <summary>Whether the arguments of a launch are the same, of two logs of one structure.</summary>
    public bool HasArgumentsOf(LaunchLog other, int i)
    {
        ref readonly LoggedLaunch mine = ref this[i];
        ref readonly LoggedLaunch theirs = ref other[i];
        return new ReadOnlySpan<byte>(ArgumentsOf(mine), mine.ArgumentBytes)
            .SequenceEqual(new ReadOnlySpan<byte>(other.ArgumentsOf(theirs), theirs.ArgumentBytes));
    }

    public void Clear()
    {
        _launches.Clear();
        _used = 0;
        Structure = 0;
    }

    public void Dispose()
    {
        Free();
        GC.SuppressFinalize(this);
    }

    private void Free()
    {
        NativeMemory.AlignedFree(_bytes);
        _bytes = null;
        _used = _room = 0;
    }

    private int Put<T>(in T value) where T : unmanaged
    {
        int at = _used, end = checked(at + Rounding.DivideUp32(sizeof(T), Alignment) * Alignment);
        if (end > _room)
        {
            _room = Math.Max(FirstBytes, checked(2 * end));
            _bytes = (byte*)NativeMemory.AlignedRealloc(_bytes, (nuint)_room, Alignment);
        }

        // Bytes, not fields: gaps between fields count when logs are compared.
        Unsafe.CopyBlockUnaligned(ref _bytes[at], ref Unsafe.As<T, byte>(ref Unsafe.AsRef(in value)), (uint)sizeof(T));
        _used = end;
        return at;
    }

    private static string TextOf<T>(byte* at) where T : unmanaged => Unsafe.ReadUnaligned<T>(at).ToString() ?? "";

    private static ulong Mix(ulong hash, ulong value) => (System.Numerics.BitOperations.RotateLeft(hash, 23) ^ value) * 0x9E37_79B9_7F4A_7C15;
}
