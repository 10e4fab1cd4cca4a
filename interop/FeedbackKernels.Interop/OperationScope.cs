using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// One call of a backend, from its first check to its end. Until it is disposed the backend belongs to this caller, and the
/// memory of every operand stays where it is, whoever disposes its buffer and whatever the garbage collector finds.
/// Operands are declared one after the other, which checks each; <see cref="RequireApart"/> then compares all results with
/// all operands.
/// </summary>
internal ref struct OperationScope
{
    private readonly Backend _backend;

    // Operands of any number, which are read; the first _listHeld of them are held.
    private ReadOnlySpan<BufferView> _list;
    private string? _listName;
    private int _listHeld;

    private OperandList _operands;
    private int _count;

    // The memory of the operands, each once.
    private MemoryList _held;
    private int _heldCount;

    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="InvalidOperationException">Another caller is inside.</exception>
    public OperationScope(Backend backend)
    {
        backend.Enter();
        _backend = backend;
    }

    /// <summary>An operand that is read. The methods that declare operands return a number for <see cref="Allow"/>, or -1 for an
    /// optional operand that is absent.</summary>
    public int Read(
        BufferView view, long length, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        RequireType(view, type, name);
        return Add(view, length, written: false, name);
    }

    public int ReadIfPresent(
        BufferView view, long length, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(view))] string name = "") =>
        view.IsAbsent ? -1 : Read(view, length, type, name);

    /// <summary>An operand that may be Float32 or what activations are: weights, and what an operation on any numbers takes.</summary>
    public int ReadEither(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        RequireEither(view, name);
        return Add(view, length, written: false, name);
    }

    public int ReadActivations(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "") =>
        Read(view, length, _backend.ActivationType, name);

    public int ReadActivationsIfPresent(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "") =>
        view.IsAbsent ? -1 : Read(view, length, _backend.ActivationType, name);

    /// <summary>Operands of any number and any lengths, Float32, which are read as a whole. At most one such list.</summary>
    public void ReadEach(ReadOnlySpan<BufferView> views, string name)
    {
        _list = views;
        _listName = name;
        foreach (BufferView view in views)
        {
            RequireType(view, ElementType.Float32, name);
            RequireLength(view, 1, name);
            _ = view.Owner?.Hold();
            _listHeld++;
        }
    }

    /// <summary>An operand that is written, or read and written.</summary>
    public int Write(
        BufferView view, long length, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        RequireType(view, type, name);
        return Add(view, length, written: true, name);
    }

    public int WriteIfPresent(
        BufferView view, long length, ElementType type = ElementType.Float32, [CallerArgumentExpression(nameof(view))] string name = "") =>
        view.IsAbsent ? -1 : Write(view, length, type, name);

    public int WriteEither(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        RequireEither(view, name);
        return Add(view, length, written: true, name);
    }

    public int WriteActivations(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "") =>
        Write(view, length, _backend.ActivationType, name);

    public int WriteActivationsIfPresent(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "") =>
        view.IsAbsent ? -1 : Write(view, length, _backend.ActivationType, name);

    /// <summary>The copy of weights that products read, which only another type than the master's makes worth having.</summary>
    public int WriteCopyIfPresent(BufferView copy, long length, [CallerArgumentExpression(nameof(copy))] string name = "")
    {
        if (copy.IsAbsent) return -1;
        if (_backend.ActivationType == ElementType.Float32)
            throw new ArgumentException($"is {copy.Type}, wanted none: this backend's products read the Float32 weights themselves", name);
        return Write(copy, length, _backend.ActivationType, name);
    }

    /// <summary>Where statistics of a batch go.</summary>
    public void WriteStatistics(in BatchStatistics statistics, int channels, string name)
    {
        if (!(statistics.Momentum >= 0 && statistics.Momentum <= 1))
            throw new ArgumentOutOfRangeException(name, statistics.Momentum, "the momentum lies between 0 and 1");
        Write(statistics.Mean, channels);
        Write(statistics.Variance, channels);
        WriteIfPresent(statistics.RunningMean, channels);
        WriteIfPresent(statistics.RunningVariance, channels);
    }

    /// <summary>A step of SGD: its numbers, and the factor that is read with them.</summary>
    public void ReadStep(in SgdStep step)
    {
        Backend.RequireFinite(step.LearningRate);
        Backend.RequireFinite(step.WeightDecay);
        Backend.RequireFinite(step.GradientScale);
        Backend.RequireFinite(step.Shrink);
        if (!(step.Momentum >= 0 && step.Momentum < 1))
            throw new ArgumentOutOfRangeException(nameof(step), step.Momentum, "the momentum lies between 0 and below 1");
        ReadIfPresent(step.GradientFactor, 1);
    }

    /// <summary>Allows a result to be an operand: to have its first element and its type. Other overlaps stay refused.</summary>
    public void Allow(int result, int operand)
    {
        if (result >= 0 && operand >= 0) _operands[result].MayBe |= 1u << operand;
    }

    /// <summary>Refuses results that overlap an operand or each other, where that has not been allowed. To be called once all are
    /// declared.</summary>
    /// <exception cref="ArgumentException">Two overlap.</exception>
    public void RequireApart()
    {
        for (int i = 0; i < _count; i++)
        {
            ref Operand result = ref _operands[i];
            if (!result.Written) continue;
            for (int j = 0; j < _count; j++)
            {
                ref Operand other = ref _operands[j];
                // Of two results the later one is named.
                if (j == i || (other.Written && j > i) || !result.Overlaps(other.Start, other.End)) continue;
                if (result.Start == other.Start && result.Type == other.Type && ((result.MayBe >> j | other.MayBe >> i) & 1) != 0) continue;
                ThrowOverlap(result.Name, other.Name);
            }

            foreach (BufferView view in _list)
            {
                if (result.Overlaps(view.Address, view.Address + view.Length * view.Type.Size())) ThrowOverlap(result.Name, _listName!);
            }
        }
    }

    public void Dispose()
    {
        for (int i = 0; i < _heldCount; i++) _held[i]!.DangerousRelease();
        foreach (BufferView view in _list[.._listHeld]) view.Owner?.Release();
        // The last use of the backend: its own memory, too, stays until here.
        _backend.Leave();
    }

    internal static void RequireType(BufferView view, ElementType type, string name)
    {
        if (view.IsAbsent) throw new ArgumentNullException(name);
        if (view.Type != type) throw new ArgumentException($"holds {view.Type}, wanted {type}", name);
    }

    internal static void RequireLength(BufferView view, long length, string name)
    {
        if (view.Length < length) throw new ArgumentException($"has {view.Length} elements, wanted at least {length}", name);
    }

    private readonly void RequireEither(BufferView view, string name)
    {
        if (view.IsAbsent) throw new ArgumentNullException(name);
        ElementType activations = _backend.ActivationType;
        if (view.Type == ElementType.Float32 || view.Type == activations) return;
        string wanted = activations == ElementType.Float32 ? "Float32" : $"Float32 or {activations}";
        throw new ArgumentException($"holds {view.Type}, wanted {wanted}", name);
    }

    private int Add(BufferView view, long length, bool written, string name)
    {
        RequireLength(view, length, name);
        ref Operand added = ref _operands[_count];
        added.Start = view.Address;
        added.End = view.Address + length * view.Type.Size();
        added.Name = name;
        added.Type = view.Type;
        added.Written = written;
        if (view.Owner is { } owner) Hold(owner);
        return _count++;
    }

    private void Hold(DeviceBuffer owner)
    {
        // Buffers of one arena have the same.
        for (int i = 0; i < _heldCount; i++)
        {
            if (owner.IsIn(_held[i]!)) return;
        }

        _held[_heldCount] = owner.Hold();
        _heldCount++;
    }

    [DoesNotReturn]
    private static void ThrowOverlap(string result, string operand) => throw new ArgumentException($"overlaps '{operand}'", result);

    private struct Operand
    {
        public long Start, End;
        public string Name;
        public ElementType Type;
        public bool Written;

        /// <summary>A bit for each operand that this one may be.</summary>
        public uint MayBe;

        public readonly bool Overlaps(long start, long end) => Start < end && start < End;
    }

    // The backward pass of a batch norm has eleven.
    private const int MostOperands = 12;

    [InlineArray(MostOperands)]
    private struct OperandList
    {
        private Operand _first;
    }

    [InlineArray(MostOperands)]
    private struct MemoryList
    {
        private SafeHandle? _first;
    }
}
