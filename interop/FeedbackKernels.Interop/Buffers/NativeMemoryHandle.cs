using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>Host memory on cache-line boundaries, zeroed. Freed by its owner, or by the finalizer should the owner forget.</summary>
internal sealed unsafe class NativeMemoryHandle : SafeHandle
{
    private const nuint Alignment = 64;
    private readonly long _bytes;

    public NativeMemoryHandle(long bytes) : base(0, ownsHandle: true)
    {
        void* memory = NativeMemory.AlignedAlloc(checked((nuint)bytes), Alignment);
        NativeMemory.Clear(memory, (nuint)bytes);
        SetHandle((nint)memory);
        _bytes = bytes;
        GC.AddMemoryPressure(bytes);
    }

    public override bool IsInvalid => handle == 0;

    protected override bool ReleaseHandle()
    {
        NativeMemory.AlignedFree((void*)handle);
        GC.RemoveMemoryPressure(_bytes);
        return true;
    }
}
