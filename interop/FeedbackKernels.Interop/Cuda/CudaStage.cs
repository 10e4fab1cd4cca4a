namespace FeedbackKernels.Interop;

/// <summary>
/// A ring of page-locked blocks for copies between host and device. An upload fills blocks and queues their copies. It adds blocks while
/// all are in use, and waits only when there are <see cref="MostBlocks"/>. In a download the device copies to one block while the host
/// copies from another.
/// </summary>
internal sealed class CudaStage(CudaContext context, nint stream) : IDisposable
{
    public const int BlockBytes = 4 << 20, MostBlocks = 16;

    // In the order of use; the least recently used block is at _next.
    private readonly List<Block> _blocks = [];
    private int _next;

    /// <summary>Queues a copy to the device; the source may be overwritten when this returns.</summary>
    public void Upload(ReadOnlySpan<byte> source, nint destination)
    {
        int bytes = source.Length;
        using CudaContext.Scope scope = context.Enter();
        while (!source.IsEmpty)
        {
            int count = Math.Min(source.Length, BlockBytes);
            Block block = Take(bytes, "upload");
            source[..count].CopyTo(block.Bytes);
            Check(DriverApi.MemcpyHtoDAsync(destination, block.Address, (nuint)count, stream), "cuMemcpyHtoDAsync", bytes, "upload");
            Check(DriverApi.EventRecord(block.Copied.DangerousGetHandle(), stream), "cuEventRecord", bytes, "upload");
            source = source[count..];
            destination += count;
        }
    }

    /// <summary>Copies from the device, after everything queued before.</summary>
    public void Download(nint source, Span<byte> destination)
    {
        int bytes = destination.Length;
        using CudaContext.Scope scope = context.Enter();
        // The device copies to one while the host copies from the other.
        while (_blocks.Count < 2) Add();
        Block? last = null;
        int lastCount = 0, done = 0;
        for (int queued = 0; queued < bytes;)
        {
            int count = Math.Min(bytes - queued, BlockBytes);
            Block block = Take(bytes, "download");
            Check(DriverApi.MemcpyDtoHAsync(block.Address, source + queued, (nuint)count, stream), "cuMemcpyDtoHAsync", bytes, "download");
            Check(DriverApi.EventRecord(block.Copied.DangerousGetHandle(), stream), "cuEventRecord", bytes, "download");
            queued += count;
            if (last is not null) Collect(last, destination.Slice(done, lastCount));
            done += lastCount;
            (last, lastCount) = (block, count);
        }

        Collect(last!, destination[done..]);

        void Collect(Block block, Span<byte> part)
        {
            Check(DriverApi.EventSynchronize(block.Copied.DangerousGetHandle()), "cuEventSynchronize", bytes, "download");
            block.Bytes[..part.Length].CopyTo(part);
        }
    }

    /// <summary>Frees the blocks; no queued work may use them.</summary>
    public void Dispose()
    {
        foreach (Block block in _blocks) block.Dispose();
        _blocks.Clear();
    }

    /// <summary>A block that no copy uses any more.</summary>
    private Block Take(int bytes, string operation)
    {
        if (_blocks.Count == 0) Add();
        CudaResult result = DriverApi.EventQuery(_blocks[_next].Copied.DangerousGetHandle());
        if (result == CudaResult.NotReady && _blocks.Count < MostBlocks) Add();
        else if (result == CudaResult.NotReady)
            Check(DriverApi.EventSynchronize(_blocks[_next].Copied.DangerousGetHandle()), "cuEventSynchronize", bytes, operation);
        else Check(result, "cuEventQuery", bytes, operation);
        Block taken = _blocks[_next];
        _next = (_next + 1) % _blocks.Count;
        return taken;
    }

    private void Add() => _blocks.Insert(_next, new Block(context));

    private static void Check(CudaResult result, string call, int bytes, string operation)
    {
        if (result != CudaResult.Success) throw new CudaException(call, result, $"{operation} of {bytes} bytes");
    }

    private sealed class Block : IDisposable
    {
        private readonly CudaHostMemory _memory;

        public Block(CudaContext context)
        {
            _memory = new CudaHostMemory(context, BlockBytes, "copies between host and device");
            try
            {
                Copied = new CudaEventHandle(context, "a copy between host and device");
            }
            catch
            {
                _memory.Dispose();
                throw;
            }
        }

        /// <summary>Reached when the last copy from or to this block has ended, and before the first copy.</summary>
        public CudaEventHandle Copied { get; }

        public nint Address => _memory.DangerousGetHandle();

        public unsafe Span<byte> Bytes => new((void*)Address, BlockBytes);

        public void Dispose()
        {
            Copied.Dispose();
            _memory.Dispose();
        }
    }
}
