using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// One call of a backend, from its first check to its end. Until the scope is disposed, no other caller can enter the backend, and the
/// memory of every operand stays allocated, even if its buffer is disposed or collected meanwhile. Each operand is checked when it is
/// declared. Then <see cref="RequireApart"/> compares all results with all operands.
/// </summary>
internal ref struct OperationScope
{
    private readonly Backend _backend;

    // A list of operands that are read. The first _listHeld of them are held.
    private ReadOnlySpan<BufferView> _list;
    private string? _listName;
    private int _listHeld;

    private OperandList _operands;
    private int _count;

    // The memory blocks of the operands, without duplicates.
    private MemoryList _held;
    private int _heldCount;

    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="InvalidOperationException">Another caller is inside the backend.</exception>
    public OperationScope(Backend backend)
    {
        backend.Enter();
        _backend = backend;
    }

    /// <summary>Declares an operand that is read. The methods that declare operands return an index for <see cref="Allow"/>, or -1 for an
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

    /// <summary>Declares what the forward pass of a batch norm has left.</summary>
    public void ReadState(in BatchNormState state, long channels)
    {
        Read(state.Mean, channels);
        Read(state.Variance, channels);
        Read(state.Scale, channels);
        Read(state.Bias, channels);
    }

    /// <summary>Declares an operand that may be Float32 or the type of activations: weights, or the operand of an operation on any
    /// numbers.</summary>
    public int ReadEither(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        RequireEither(view, name);
        return Add(view, length, written: false, name);
    }

    public int ReadActivations(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "") =>
        Read(view, length, _backend.ActivationType, name);

    public int ReadActivationsIfPresent(BufferView view, long length, [CallerArgumentExpression(nameof(view))] string name = "") =>
        view.IsAbsent ? -1 : Read(view, length, _backend.ActivationType, name);

    /// <summary>Declares a list of Float32 operands, of any number and lengths, that are read as a whole. At most one list for each call.</summary>
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

    /// <summary>Declares an operand that is written, or read and written.</summary>
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

    /// <summary>Declares the copy of weights that products read. Only backends whose activations are not Float32 have copies.</summary>
    public int WriteCopyIfPresent(BufferView copy, long length, [CallerArgumentExpression(nameof(copy))] string name = "")
    {
        if (copy.IsAbsent) return -1;
        if (_backend.ActivationType == ElementType.Float32)
            throw new ArgumentException($"is {copy.Type}, wanted none: this backend's products read the Float32 weights themselves", name);
        return Write(copy, length, _backend.ActivationType, name);
    }

    /// <summary>Declares the buffers for the statistics of a batch.</summary>
    public void WriteStatistics(in BatchStatistics statistics, int channels, string name)
    {
        if (!(statistics.Momentum >= 0 && statistics.Momentum <= 1))
            throw new ArgumentOutOfRangeException(name, statistics.Momentum, "the momentum lies between 0 and 1");
        Write(statistics.Mean, channels);
        Write(statistics.Variance, channels);
        WriteIfPresent(statistics.RunningMean, channels);
        WriteIfPresent(statistics.RunningVariance, channels);
    }

    /// <summary>Checks the numbers of a step of SGD and declares its factor.</summary>
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

    /// <summary>Allows a result to be an operand, with the same first element and type. Other overlaps are still refused.</summary>
    public void Allow(int result, int operand)
    {
        if (result >= 0 && operand >= 0) _operands[result].MayBe |= 1u << operand;
    }

    /// <summary>Refuses results that overlap an operand or each other, unless that has been allowed. Called once all operands are
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
                // The message names the later one of two results.
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
        // The last use of the backend, whose own memory must also stay until here.
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
        // Buffers of one arena share a block.
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

        /// <summary>A bit for each operand that this result may be.</summary>
        public uint MayBe;

        public readonly bool Overlaps(long start, long end) => Start < end && start < End;
    }

    // The backward pass of a batch norm has eleven operands.
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
