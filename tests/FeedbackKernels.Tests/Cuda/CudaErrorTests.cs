using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>What goes wrong with a driver, a device or a kernel: one message that names what was looked for, and where.</summary>
public class CudaErrorTests
{
    private static readonly ConvShape Shape = new(2, 5, 5, 3, 4, 3, 3, 1, 1);

    [Theory]
    [InlineData("init-result", 100, 0, "no NVIDIA GPU")]
    [InlineData("init-result", 34, 0, "stub")]
    [InlineData("init-result", 3, 0, "CUDA_ERROR_NOT_INITIALIZED (3)")]
    [InlineData("device-count", 0, 1, "no NVIDIA GPU")]
    [InlineData("driver-version", 11080, 12040, "CUDA 11.8; the kernels need one for CUDA 12.0 or newer")]
    [InlineData("compute-major", 7, 8, "compute capability 7.0; the CUDA kernels need 8.0")]
    [EmulatedOnly("sets results of the driver, and the kind of device")]
    public void A_machine_that_cannot_run_the_kernels_is_described(string setting, long value, long usual, string expected)
    {
        CudaUnderTest.CreateBackend().Dispose();
        using EmulatedDriver.Setting machine = EmulatedDriver.With(setting, value, usual);
        string message = Assert.Throws<PlatformNotSupportedException>(() => CudaUnderTest.CreateBackend()).Message;
        Assert.Contains(expected, message);
        if (setting != "compute-major") Assert.Contains(EmulatedDriver.Path, message);
    }

    [Fact]
    public void A_device_that_is_not_there_is_named_with_those_that_are()
    {
        CudaUnderTest.Require();
        string message = Assert.Throws<PlatformNotSupportedException>(() => new CudaBackend(device: 1000, driver: CudaUnderTest.Path)).Message;
        Assert.Matches("no device 1000: there are [1-9][0-9]*, numbered from 0", message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new CudaBackend(device: -1));
    }

    [Fact]
    [EmulatedOnly("sets the compute capability of the device")]
    public void Hopper_gets_its_own_kernels_and_what_is_newer_the_portable_ones()
    {
        foreach ((int major, string architecture) in ((int, string)[])[(8, "sm_80"), (9, "sm_90a"), (10, "sm_80")])
        {
            using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", major, 8);
            using CudaBackend backend = CudaUnderTest.CreateBackend();
            Assert.Contains($"kernels for {architecture}", backend.Description);
            using DeviceBuffer buffer = backend.Allocate(10, "values");
            backend.Fill(buffer, 2);
            Assert.All(backend.Download(buffer), v => Assert.Equal(2, v));
        }
    }

    [Fact]
    public void A_second_driver_is_refused()
    {
        CudaUnderTest.Require();
        CudaUnderTest.CreateBackend().Dispose();
        string message = Assert.Throws<InvalidOperationException>(() => new CudaBackend(driver: "/another/libcuda.so.1")).Message;
        Assert.Contains("/another/libcuda.so.1", message);
        Assert.Contains(CudaUnderTest.Path, message);
        // Here a driver is named for the process.
        if (!CudaUnderTest.IsEmulated) return;

        // What the machine has by itself is then no backend that could be had: auto goes on to the next.
        Assert.Contains(EmulatedDriver.Path, Assert.Throws<PlatformNotSupportedException>(() => new CudaBackend()).Message);
    }

    [Theory]
    [InlineData(1, "cuMemAllocAsync")]
    [InlineData(0, "cuMemAlloc")]
    [EmulatedOnly("sets the memory of the device, and whether it has pools")]
    public void Out_of_memory_says_how_much_was_wanted_and_how_much_is_free(int pools, string call)
    {
        using EmulatedDriver.Setting kind = EmulatedDriver.With("memory-pools", pools, 1);
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using EmulatedDriver.Setting machine = EmulatedDriver.With("memory-limit", 1 << 20, 16L << 30);
        var e = Assert.Throws<CudaException>(() => backend.Allocate(1 << 20, "large"));
        Assert.Equal((2, call), (e.Result, e.Call));
        Assert.Contains("CUDA_ERROR_OUT_OF_MEMORY", e.Message);
        Assert.Contains("4194304 bytes (4 MiB) for buffer 'large'", e.Message);
        Assert.Contains("of 1 MiB are free", e.Message);
        Assert.Equal(pools == 1, e.Message.Contains("that this process's pool holds", StringComparison.Ordinal));
    }

    [Fact]
    public void More_memory_than_any_device_has_is_refused_and_the_backend_goes_on()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        // 4 TiB, the most that a buffer may have.
        var e = Assert.Throws<CudaException>(() => backend.Allocate(1L << 40, "large"));
        Assert.Equal(2, e.Result);
        Assert.Contains("4398046511104 bytes (4194304 MiB) for buffer 'large'; ", e.Message);
        Assert.Contains(" MiB are free", e.Message);
        using DeviceBuffer small = backend.Allocate(10, "small");
        backend.Fill(small, 2);
        Assert.All(backend.Download(small), v => Assert.Equal(2, v));
    }

    [Theory]
    // Of the release notes of the PTX ISA.
    [InlineData(12000, "8.0")]
    [InlineData(12050, "8.5")]
    [InlineData(12060, "8.5")]
    [InlineData(12080, "8.7")]
    [InlineData(12090, "8.8")]
    [InlineData(13000, "9.0")]
    [EmulatedOnly("sets the version of the driver")]
    public void A_driver_compiles_PTX_up_to_the_version_of_its_CUDA(int driver, string expected)
    {
        using EmulatedDriver.Setting version = EmulatedDriver.With("driver-version", driver, 12040), machine = EmulatedDriver.With("module-result", 222, 0);
        Assert.Contains($" compiles PTX up to {expected};", Assert.Throws<PlatformNotSupportedException>(() => CudaUnderTest.CreateBackend()).Message);
    }

    [Theory]
    [InlineData(222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)")]
    [InlineData(209, "CUDA_ERROR_NO_BINARY_FOR_GPU (209)")]
    [EmulatedOnly("sets results of the driver")]
    public void A_driver_that_is_too_old_for_the_kernels_is_found_out_when_the_backend_is_opened(int result, string name)
    {
        using EmulatedDriver.Setting machine = EmulatedDriver.With("module-result", result, 0);
        string message = Assert.Throws<PlatformNotSupportedException>(() => CudaUnderTest.CreateBackend()).Message;
        Assert.Contains($"'{EmulatedDriver.Path}' is for CUDA 12.4 and compiles PTX up to 8.4", message);
        Assert.Matches("native/fill.cu for sm_80 is PTX [0-9]+[.][0-9]+, ", message);
        Assert.Contains(name, message);
    }

    [Fact]
    [EmulatedOnly("sets results of the driver")]
    public void Ptx_that_the_driver_refuses_is_named_by_its_file_with_what_its_compiler_says()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer buffer = backend.Allocate(10, "values");
        using EmulatedDriver.Setting machine = EmulatedDriver.With("module-result", 218, 0);
        var e = Assert.Throws<CudaException>(() => backend.ActivationForward(Activation.Relu, 10, buffer, buffer));
        Assert.Equal("cuModuleLoadDataEx", e.Call);
        Assert.Contains("native/activation.cu for sm_80", e.Message);
        Assert.Contains("CUDA_ERROR_INVALID_PTX (218)", e.Message);
        Assert.Contains("its compiler says: the test has set this result", e.Message);
    }

    [Fact]
    [EmulatedOnly("plants a fault, which on a real device ends the whole process")]
    public void A_kernel_that_leaves_its_memory_is_named_with_its_operation_and_sizes()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(Shape.InputLength / 2, "too short");
        using DeviceBuffer w = backend.Allocate(Shape.WeightLength, "w"), y = backend.Allocate(Shape.OutputLength, "y");
        // The caller lies about the length, so that no check of the arguments helps.
        var e = Assert.Throws<CudaException>(() => backend.ConvForward(Shape, BufferView.FromPointer(x.Address, Shape.InputLength), w, y));
        Assert.Equal(700, e.Result);
        Assert.Contains($"ConvForward of {Shape}", e.Message);
        Assert.Contains("kernel conv_forward_fp32_1_4", e.Message);
        Assert.Contains("beyond the end of an allocation", e.Message);

        // The device is as good as before.
        using DeviceBuffer good = backend.Allocate(Shape.InputLength, "x");
        backend.ConvForward(Shape, good, w, y);
        Assert.All(backend.Download(y), v => Assert.Equal(0, v));
    }

    [Theory]
    [InlineData(8, "ConvForward", ElementType.BFloat16, "conv_forward_pipelined_64_64")]
    [InlineData(8, "ConvFeedback", ElementType.BFloat16, "conv_feedback_pipelined_64_64")]
    [InlineData(8, "ConvWeightGradient", ElementType.BFloat16, "conv_weight_gradient_pipelined")]
    [InlineData(9, "ConvForward", ElementType.BFloat16, "conv_gather_sm90_64")]
    [InlineData(9, "ConvForward", ElementType.Float32, "conv_forward_pipelined_to_fp32_64_64")]
    [InlineData(9, "ConvFeedback", ElementType.BFloat16, "conv_gather_sm90_64")]
    [EmulatedOnly("plants a fault, which on a real device ends the whole process")]
    public void A_kernel_of_tensor_cores_is_named_with_the_operation_that_was_called(int major, string operation, ElementType y, string kernel)
    {
        using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", major, 8);
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
        var shape = new ConvShape(2, 6, 6, 64, 64, 3, 3, 1, 1);
        using DeviceBuffer map = backend.Allocate(shape.InputLength, "map", ElementType.BFloat16);
        using DeviceBuffer room = backend.Allocate(64, "too short", y);
        using DeviceBuffer weights = backend.Allocate(shape.WeightLength, "weights", ElementType.BFloat16), dw = backend.Allocate(shape.WeightLength, "dW");
        // The caller lies about the length, so that no check of the arguments helps.
        BufferView lie = BufferView.FromPointer(room.Address, shape.InputLength, y);
        var e = Assert.Throws<CudaException>(() =>
        {
            if (operation == "ConvForward") backend.ConvForward(shape, map, weights, lie);
            else if (operation == "ConvFeedback") backend.ConvFeedback(shape, map, weights, FeedbackLayout.Feedback, lie);
            else backend.ConvWeightGradient(shape, lie, map, dw);
        });
        Assert.Contains($"{operation} of {shape}, kernel {kernel}", e.Message);
    }

    [Fact]
    public void Shapes_beyond_32_bits_are_refused()
    {
        CudaUnderTest.Require();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        var shape = new ConvShape(1, 50_000, 50_000, 2, 1, 1, 1, 50_000, 0);
        nint terabyte = (nint)1 << 40;
        BufferView w = BufferView.FromPointer(terabyte, 100), y = BufferView.FromPointer(2 * terabyte, 100);
        BufferView x = BufferView.FromPointer(64, shape.InputLength);
        Assert.Contains("N*H*W + a tile", Assert.Throws<NotSupportedException>(() => backend.ConvForward(shape, x, w, y)).Message);
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend hopper = CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
        // 2^33 pixels, and channels that its tables would take.
        var many = new ConvShape(1 << 11, 1 << 11, 1 << 11, 64, 64, 1, 1, 1, 0);
        foreach (ConvPass pass in Enum.GetValues<ConvPass>())
            Assert.Contains("of the convolution", Assert.Throws<NotSupportedException>(() => hopper.Explain(many, pass)).Message);
    }

    [Fact]
    [EmulatedOnly("passes handles that do not exist, which a real driver need not survive")]
    public void The_emulated_driver_refuses_calls_without_a_context()
    {
        CudaUnderTest.CreateBackend().Dispose();
        Assert.Equal(CudaResult.Success, DriverApi.CtxGetCurrent(out nint current));
        Assert.Equal(0, current);
        Assert.Equal(CudaResult.InvalidContext, DriverApi.ModuleGetFunction(out _, 0, "fill"));
        Assert.Equal(CudaResult.InvalidContext, DriverApi.ModuleUnload(0));
        Assert.Equal(CudaResult.InvalidContext, DriverApi.StreamDestroy(0));
    }

    [Fact]
    [EmulatedOnly("sets results of the driver")]
    public void A_handle_whose_context_cannot_be_entered_lets_go_of_it_and_throws_nothing()
    {
        CudaUnderTest.CreateBackend().Dispose();
        var context = new CudaContext(0);
        CudaMemory memory = new CudaHeap(context, CudaDevice.Open(0, EmulatedDriver.Path), stream: null).Allocate(64, "a test");
        context.Dispose();
        Assert.False(context.IsClosed);
        long releases = EmulatedDriver.Get("releases");
        using (EmulatedDriver.With("push-result", 201, 0)) memory.Dispose();
        Assert.Equal(releases, EmulatedDriver.Get("releases"));
        Assert.True(context.IsClosed);
    }
}
