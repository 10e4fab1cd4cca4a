using System.Runtime.CompilerServices;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Interop.Operations;

namespace FeedbackKernels.Tests.Interop;

/// <summary>Memory that an operation uses stays valid until the operation ends, even if it is disposed or collected meanwhile.</summary>
public unsafe class MemorySafetyTests
{
    public static TheoryData<string> Cases => [.. OperationCases.All.Where(c => c.Operands.Count > 0).Select(c => c.Name)];

    [Theory, MemberData(nameof(Cases))]
    public void A_buffer_that_is_disposed_within_an_operation_is_freed_at_its_end(string name)
    {
        OperationCase operation = OperationCases.Find(name);
        using var backend = new ProbeBackend(ElementType.BFloat16);
        var arguments = new Arguments();
        var buffers = new List<DeviceBuffer>();
        foreach (Operand operand in operation.Operands)
        {
            buffers.Add(backend.Allocate(operand.Length, operand.Path, operand.TypeOn(backend)!.Value));
            arguments.Set(operand.Path, (BufferView)buffers[^1]);
        }

        foreach (Setting setting in operation.Settings) arguments.Set(setting.Path, setting.Valid);
        int released = -1;
        backend.Within = () =>
        {
            foreach (DeviceBuffer buffer in buffers) buffer.Dispose();
            released = backend.Released;
        };
        operation.Call(backend, arguments);
        Assert.Equal(0, released);
        Assert.Equal(buffers.Count, backend.Released);
    }

    [Fact]
    public void A_buffer_that_is_disposed_while_a_copy_is_queued_is_freed_after_it()
    {
        using var backend = new ProbeBackend(ElementType.Float32);
        using Readback readback = backend.CreateReadback(8, "copy");
        DeviceBuffer x = backend.Allocate(8, "x");
        int released = -1;
        backend.Within = () =>
        {
            x.Dispose();
            released = backend.Released;
        };
        readback.Queue(x, 8);
        Assert.Equal((0, 1), (released, backend.Released));
    }

    [Fact]
    public void A_slice_and_a_view_keep_the_memory_of_a_buffer_that_nobody_else_holds()
    {
        using var backend = new ProbeBackend(ElementType.Float32);
        (DeviceBuffer slice, BufferView[] view) = Make(backend);
        Collect();
        Assert.Equal(0, backend.Released);
        backend.Fill(slice, 1);
        backend.Fill(view[0], 1);
        GC.KeepAlive(slice);
        GC.KeepAlive(view);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static (DeviceBuffer, BufferView[]) Make(ProbeBackend backend) => (backend.Allocate(8, "x").Slice(2, 3), [backend.Allocate(8, "y")]);

        static void Collect()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    [Fact]
    public void A_buffer_that_is_disposed_when_a_call_is_refused_is_freed_too()
    {
        using var backend = new ProbeBackend(ElementType.Float32);
        DeviceBuffer x = backend.Allocate(8, "x"), y = backend.Allocate(7, "y");
        Assert.Throws<ArgumentException>(() => backend.ActivationForward(Activation.Relu, 8, x, y));
        Assert.Throws<ArgumentNullException>(() => backend.ClipFactor([x, x, default], 1, y));
        x.Dispose();
        y.Dispose();
        Assert.Equal(2, backend.Released);
    }

    [Theory, ClassData(typeof(Candidates))]
    public void A_buffer_whose_last_use_is_a_call_outlives_the_call_while_the_collector_runs(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        // More than an allocator caches: freed memory is unmapped, and the next allocation takes its place.
        const int length = 1 << 16;
        using DeviceBuffer y = backend.Allocate(length, "y", backend.ActivationType);
        using var collector = new Collector();
        var result = new float[length];
        int rounds = backend.HostAddressable ? 300 : 20;
        for (int i = 1; i <= rounds; i++)
        {
            Use(backend, y, length, i);
            backend.DownloadFloats(y, result);
            Assert.True(result.AsSpan().IndexOfAnyExcept(i) < 0, $"round {i} has other numbers");
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Use(Backend backend, DeviceBuffer y, int length, int value)
        {
            backend.ActivationForward(Activation.Relu, length, Filled(backend, length, value), y);
        }

        [MethodImpl(MethodImplOptions.NoInlining)]
        static BufferView Filled(Backend backend, int length, int value)
        {
            DeviceBuffer x = backend.Allocate(length, "x", backend.ActivationType);
            backend.Fill(x, value);
            return x;
        }
    }

    [Fact]
    public void A_buffer_that_another_thread_disposes_stays_until_the_operation_has_ended()
    {
        using var backend = new CpuBackend(2);
        const int length = 1 << 20;
        using DeviceBuffer y = backend.Allocate(length, "y");
        for (int i = 1; i <= 50; i++)
        {
            DeviceBuffer x = backend.Allocate(length, "x");
            backend.Fill(x, i);
            var disposer = new Thread(x.Dispose);
            Exception? e = Record.Exception(() =>
            {
                disposer.Start();
                backend.ActivationForward(Activation.Relu, length, x, y);
            });
            disposer.Join();
            // The other thread may have been first.
            if (e is null) Assert.True(y.HostSpan<float>().IndexOfAnyExcept(i) < 0);
            else Assert.IsType<ObjectDisposedException>(e);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(0)]
    public void Memory_that_is_given_back_in_an_open_step_is_there_until_the_step_is_launched(int pools)
    {
        CudaUnderTest.CreateBackend().Dispose();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred(), kind = CudaUnderTest.Set("memory-pools", pools, 1);
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer y = backend.Allocate(100, "y");
        using (StepScope step = backend.BeginStep())
        {
            using (DeviceBuffer x = backend.Allocate(100, "x"))
            {
                for (int i = 1; i <= 10; i++) backend.Fill(x, i);
                backend.ActivationForward(Activation.Relu, 100, x, y);
            }

            step.Complete();
        }

        Assert.All(backend.Download(y), v => Assert.Equal(10, v));
    }

    // Without memory pools, cuMemFree waits for the device. The emulated driver waits for the work of the calling thread, which here
    // is the finalizer.
    [Fact]
    public void Memory_of_the_device_that_nobody_disposes_is_there_until_what_was_queued_has_run()
    {
        CudaUnderTest.CreateBackend().Dispose();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer y = backend.Allocate(100, "y");
        Use(backend, y);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        Assert.All(backend.Download(y), v => Assert.Equal(3, v));

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Use(CudaBackend backend, DeviceBuffer y)
        {
            DeviceBuffer x = backend.Allocate(100, "x");
            backend.Fill(x, 3);
            backend.ActivationForward(Activation.Relu, 100, x, y);
        }
    }

    [Fact]
    public void A_readback_that_nobody_disposes_stays_until_its_copy_has_ended()
    {
        CudaUnderTest.CreateBackend().Dispose();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        Forget(backend, x);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        backend.Synchronize();

        [MethodImpl(MethodImplOptions.NoInlining)]
        static void Forget(CudaBackend backend, DeviceBuffer x) => backend.CreateReadback(100, "forgotten").Queue(x, 100);
    }

    [Fact]
    public void Spans_of_any_length_are_copied_in_parts_of_less_than_2_gib()
    {
        // 2^29 + 1 floats have more bytes than a span can hold. The addresses are never dereferenced.
        const int length = 536_870_913;
        using var backend = new ProbeBackend(ElementType.Float32);
        using DeviceBuffer buffer = backend.Allocate(length, "large");
        nint start = buffer.Address;
        foreach (Action<ProbeBackend> copy in (Action<ProbeBackend>[])[
            b => b.Upload<float>(new ReadOnlySpan<float>((void*)64, length), buffer), b => b.UploadFloats(new ReadOnlySpan<float>((void*)64, length), buffer),
            b => b.Download<float>(buffer, new Span<float>((void*)64, length)), b => b.DownloadFloats(buffer, new Span<float>((void*)64, length))])
        {
            backend.Copies.Clear();
            copy(backend);
            long bytes = 0;
            foreach ((nint address, int count) in backend.Copies)
            {
                Assert.Equal(start + (nint)bytes, address);
                bytes += count;
            }

            Assert.Equal(length * 4L, bytes);
        }

        using DeviceBuffer larger = backend.Allocate((long)Array.MaxLength + 1, "larger");
        Assert.Contains("in parts", Assert.Throws<ArgumentException>(() => backend.Download(larger)).Message);
    }

    [Fact]
    public void Numbers_in_bf16_are_rounded_and_widened_part_by_part()
    {
        const int length = (1 << 20) + 5;
        using var backend = new ReferenceBackend(ElementType.BFloat16);
        using DeviceBuffer x = backend.Allocate(length, "x", ElementType.BFloat16);
        float[] numbers = [.. Enumerable.Range(0, length).Select(i => (float)(i % 251))];
        backend.UploadFloats(numbers, x);
        Assert.Equal(numbers, backend.Download(x));
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Buffers_are_disposed_after_their_backend(string candidate)
    {
        Backend backend = Candidates.Create(candidate);
        DeviceBuffer x = backend.Allocate(100, "x");
        using var arena = new Arena(backend);
        arena.Rent(100, "rented");
        arena.Commit();
        Readback readback = backend.CreateReadback(100, "readback");
        backend.Fill(x, 1);
        backend.Dispose();
        backend.Dispose();
        Assert.Contains($"'{backend.Name}'", Assert.Throws<ObjectDisposedException>(() => readback.Queue(x, 10)).Message);
        Assert.Contains($"'{backend.Name}'", Assert.Throws<ObjectDisposedException>(() => new Arena(backend).Commit()).Message);
        // Reports the error and accesses nothing.
        Assert.NotEmpty(backend.Description);
        readback.Dispose();
        x.Dispose();
    }

    /// <summary>Runs the garbage collector on a separate thread until it is disposed.</summary>
    private sealed class Collector : IDisposable
    {
        private readonly Thread _thread;
        private volatile bool _stop;

        public Collector()
        {
            _thread = new Thread(() =>
            {
                while (!_stop)
                {
                    GC.Collect();
                    GC.WaitForPendingFinalizers();
                }
            });
            _thread.Start();
        }

        public void Dispose()
        {
            _stop = true;
            _thread.Join();
        }
    }
}
