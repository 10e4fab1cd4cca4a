using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>Scratch memory in a workspace of fixed size. Each operation begins at its start and takes one block after the other.</summary>
internal unsafe class WorkspaceScratch(nint workspace, long bytes) : CpuScratch
{
    private const long Alignment = 64;

    private readonly nint[] _blocks = new nint[Uses];
    private readonly long[] _sizes = new long[Uses];

    // The first block is aligned wherever the workspace begins.
    private long _taken = Alignment - 1;

    /// <summary>Bytes that the operation has taken so far.</summary>
    public override long Bytes => _taken;

    public override bool IsLimited => true;

    public override void Begin()
    {
        Array.Clear(_sizes);
        _taken = Alignment - 1;
    }

    public override void Require(long needed)
    {
        if (needed > bytes) throw TooSmall(needed);
    }

    public override void Dispose()
    {
        // The workspace is its owner's.
    }

    protected override void* Block(ScratchUse use, long wanted)
    {
        int i = (int)use;
        if (_sizes[i] < wanted)
        {
            long size = Rounding.RoundUp(checked(wanted + SlackBytes), Alignment), taken = checked(_taken + size);
            _blocks[i] = Take((workspace + (nint)_taken) & ~(nint)(Alignment - 1), size, taken);
            _sizes[i] = wanted;
            _taken = taken;
        }

        return (void*)_blocks[i];
    }

    protected virtual nint Take(nint address, long size, long taken) => taken <= bytes ? address : throw TooSmall(taken);

    private InvalidOperationException TooSmall(long needed) =>
        new($"the workspace has {bytes} bytes and this operation needs {needed}; HostKernels.WorkspaceBytes says how many a shape needs");
}

/// <summary>Scratch memory of an operation whose work is left out: counts what the operation would take.</summary>
internal sealed unsafe class MeasuringScratch() : WorkspaceScratch(0, long.MaxValue)
{
    private readonly List<nint> _memory = [];

    public override bool IsLimited => false;

    public override void Dispose()
    {
        foreach (nint block in _memory) NativeMemory.Free((void*)block);
        _memory.Clear();
        base.Dispose();
    }

    // An operation writes some small blocks itself. The system provides pages that nobody touches in name only.
    protected override nint Take(nint address, long size, long taken)
    {
        var block = (nint)NativeMemory.Alloc(checked((nuint)size));
        _memory.Add(block);
        return block;
    }
}
