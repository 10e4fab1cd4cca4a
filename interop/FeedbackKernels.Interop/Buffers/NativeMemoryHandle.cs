using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>Zeroed host memory on cache-line boundaries. Its owner frees it, or else the finalizer.</summary>
internal sealed unsafe class NativeMemoryHandle : SafeHandle
{
    private const nuint Alignment = 64;
    private static long _inUse;
    private readonly long _bytes;

    public NativeMemoryHandle(long bytes) : base(0, ownsHandle: true)
    {
        Reserve(bytes);
        void* memory;
        try
        {
            memory = NativeMemory.AlignedAlloc(checked((nuint)bytes), Alignment);
        }
        catch (OutOfMemoryException e)
        {
            Interlocked.Add(ref _inUse, -bytes);
            throw new InsufficientMemoryException($"the system gives no {bytes >> 20} MiB of memory", e);
        }

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
        Interlocked.Add(ref _inUse, -_bytes);
        return true;
    }

    // The system grants more memory than the machine has, and ends the process when it is used.
    private static void Reserve(long bytes)
    {
        long inUse = Interlocked.Add(ref _inUse, bytes), there = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (inUse <= there) return;
        Interlocked.Add(ref _inUse, -bytes);
        throw new InsufficientMemoryException($"{bytes >> 20} MiB are wanted and {(inUse - bytes) >> 20} MiB in use; this machine has {there >> 20} MiB");
    }
}
