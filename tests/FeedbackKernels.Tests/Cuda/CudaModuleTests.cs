using System.Buffers.Binary;
using System.Text;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>How files of kernels are loaded: which image the driver is given, and what is kept of what its compiler says.</summary>
public class CudaModuleTests
{
    [Theory]
    [InlineData(8, "sm_80", false, "sm_80/fill.cubin, sm_80/fill.ptx")]
    [InlineData(9, "sm_90a", false, "sm_90a/fill.cubin, sm_90a/fill.ptx")]
    // Machine code of 8.0 runs on no other first number.
    [InlineData(10, "sm_80", false, "sm_80/fill.ptx")]
    [InlineData(9, "sm_90a", true, "sm_90a/fill.ptx")]
    [InlineData(8, "sm_80", true, "sm_80/fill.ptx")]
    public void The_cubin_of_the_device_comes_before_its_PTX(int major, string architecture, bool onlyPtx, string expected) =>
        Assert.Equal(expected, string.Join(", ", CudaImage.For(major, architecture, onlyPtx).Select(image => image.EntryOf("fill"))));

    [Fact]
    [EmulatedOnly("sets which images the driver takes")]
    public void A_cubin_that_the_driver_takes_is_used()
    {
        using EmulatedDriver.Setting cubins = EmulatedDriver.With("cubins", 1, 0);
        using var device = new Opened();
        using CudaKernels kernels = device.Kernels(name => name.EndsWith("cubin", StringComparison.Ordinal) ? Cubin(80, accelerated: false, "fill_fp32") : null);
        Assert.NotEqual(0, kernels.Get(new CudaKernel("fill", "fill_fp32"), 0));
        CudaKernelFile file = Assert.Single(kernels.Loaded);
        Assert.Equal(("native/fill.cu", "sm_80", false, null, ""), (file.Name, file.Architecture, file.Compiled, file.Refusal, file.Log));
        Assert.Equal("sm_80 (cubins)", kernels.Image);
    }

    [Fact]
    [EmulatedOnly("sets which images the driver takes")]
    public void Where_the_driver_refuses_the_cubin_it_compiles_the_PTX_and_the_reason_is_kept()
    {
        using EmulatedDriver.Setting cubins = EmulatedDriver.With("cubins", 1, 0);
        using var device = new Opened();
        // That of another architecture, as a build for it would have.
        using CudaKernels kernels = device.Kernels(
            name => name.EndsWith("cubin", StringComparison.Ordinal) ? Cubin(90, accelerated: true, "fill_fp32") : CudaArchive.Read(name));
        Assert.NotEqual(0, kernels.Get(new CudaKernel("fill", "fill_fp32"), 0));
        CudaKernelFile file = Assert.Single(kernels.Loaded);
        Assert.True(file.Compiled);
        Assert.Equal("cuModuleLoadDataEx: CUDA_ERROR_NO_BINARY_FOR_GPU (209); the cubin is for sm_90", file.Refusal);
        Assert.Contains("Compiling entry function 'fill_fp32' for 'sm_80'", file.Log);
        Assert.Equal("sm_80 (PTX)", kernels.Image);
    }

    [Fact]
    [EmulatedOnly("sets results of the driver")]
    public void Where_both_are_refused_the_error_has_both_reasons()
    {
        using var device = new Opened();
        using CudaKernels kernels = device.Kernels(
            name => name.EndsWith("cubin", StringComparison.Ordinal) ? Cubin(80, accelerated: false, "fill_fp32") : CudaArchive.Read(name));
        using EmulatedDriver.Setting machine = EmulatedDriver.With("module-result", 218, 0);
        var e = Assert.Throws<CudaException>(() => kernels.Get(new CudaKernel("fill", "fill_fp32"), 0));
        Assert.Contains("compiling native/fill.cu for sm_80", e.Message);
        Assert.Contains("its compiler says: the test has set this result; the cubin was refused before: cuModuleLoadDataEx: CUDA_ERROR_INVALID_PTX (218)", e.Message);
        Assert.Empty(kernels.Loaded);
    }

    [Theory]
    [InlineData("sm_80", 8)]
    [InlineData("sm_90a", 9)]
    [EmulatedOnly("sets which images the driver takes")]
    public void The_cubins_of_this_build_have_the_kernels_of_its_PTX(string architecture, int major)
    {
        Assert.SkipWhen(CudaArchive.Files(architecture, ".cubin").Count == 0, $"this build has no cubins: {CudaBackend.KernelBuild}");
        Assert.Equal(CudaArchive.Files(architecture, ".ptx"), CudaArchive.Files(architecture, ".cubin"));
        using EmulatedDriver.Setting machine = EmulatedDriver.With("compute-major", major, 8), cubins = EmulatedDriver.With("cubins", 1, 0);
        using var device = new Opened();
        using CudaKernels kernels = device.Kernels(read: null);
        foreach ((string file, string kernel) in CudaKernels.EntriesOf(architecture)) Assert.NotEqual(0, kernels.Get(new CudaKernel(file, kernel), 0));
        Assert.All(kernels.Loaded, file => Assert.False(file.Compiled, file.Refusal));
    }

    [Theory]
    [InlineData(0, null)]
    [InlineData(1, "wgmma.mma_async instructions are serialized due to")]
    [InlineData(2, "^activation_[a-z_0-9]+: 0 bytes stack frame, 8 bytes spill stores")]
    [EmulatedOnly("sets what the compiler of the driver says")]
    public void Warnings_are_those_of_products_one_after_another_and_of_spills(int said, string? expected)
    {
        using EmulatedDriver.Setting warnings = EmulatedDriver.With("module-warnings", said, 0);
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer buffer = backend.Allocate(10, "values");
        backend.ActivationForward(Activation.Relu, 10, buffer, buffer);
        CudaKernelFile file = Assert.Single(backend.LoadedKernels, f => f.Name == "native/activation.cu");
        Assert.Contains("Used 32 registers", file.Log);
        if (expected is null) Assert.Empty(file.Warnings);
        else Assert.Matches(expected, Assert.Single(file.Warnings));
    }

    [Fact]
    public void Warnings_of_a_real_compiler_are_found()
    {
        // Of ptxas 12.4, from a kernel of ours that spills, and from the CUTLASS issue on C7510.
        const string log =
            """
            ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to non wgmma instructions defining accumulator registers of a wgmma between start and end of the pipeline stage in the function 'one'
            ptxas info    : Compiling entry function 'average_pool_forward_bf16' for 'sm_80'
            ptxas info    : Function properties for average_pool_forward_bf16
                96 bytes stack frame, 96 bytes spill stores, 48 bytes spill loads
            ptxas info    : Used 40 registers, 384 bytes cmem[0]
            ptxas info    : Function properties for fine
                0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
            """;
        string[] warnings = [.. CudaKernelFile.WarningsOf(log)];
        Assert.Equal(2, warnings.Length);
        Assert.EndsWith("in the function 'one'", warnings[0]);
        Assert.Equal("average_pool_forward_bf16: 96 bytes stack frame, 96 bytes spill stores, 48 bytes spill loads", warnings[1]);
    }

    [Fact]
    public void All_files_can_be_loaded_at_once()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        Assert.Equal(["native/fill.cu"], backend.LoadedKernels.Select(file => file.Name));
        backend.LoadKernels();
        Assert.Equal(
            CudaBackend.AllKernels.Select(k => $"native/{k.File}.cu").Where(name => backend.Architecture == "sm_90a" || !name.Contains("_sm90", StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal),
            backend.LoadedKernels.Select(file => file.Name).Order(StringComparer.Ordinal));
        Assert.All(backend.LoadedKernels, file => Assert.Equal(backend.Architecture, file.Architecture));
    }

    /// <summary>As much of a cubin as the emulated driver reads: an ELF file with a section for each kernel.</summary>
    private static byte[] Cubin(uint architecture, bool accelerated, params string[] kernels)
    {
        const int headerBytes = 64, sectionBytes = 64;
        var names = new MemoryStream();
        int[] places = [.. ((string[])[".shstrtab", .. kernels.Select(kernel => ".text." + kernel)]).Select(name =>
        {
            int place = (int)names.Position;
            names.Write(Encoding.ASCII.GetBytes(name + '\0'));
            return place;
        })];
        byte[] file = new byte[headerBytes + names.Length + places.Length * sectionBytes];
        ((ReadOnlySpan<byte>)[0x7F, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1]).CopyTo(file);
        int sections = headerBytes + (int)names.Length;
        BinaryPrimitives.WriteInt64LittleEndian(file.AsSpan(40), sections);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(48), architecture | (accelerated ? 0x800u : 0));
        BinaryPrimitives.WriteInt16LittleEndian(file.AsSpan(60), (short)places.Length);
        names.ToArray().CopyTo(file, headerBytes);
        for (int i = 0; i < places.Length; i++)
        {
            Span<byte> section = file.AsSpan(sections + i * sectionBytes);
            BinaryPrimitives.WriteInt32LittleEndian(section, places[i]);
            BinaryPrimitives.WriteInt64LittleEndian(section[24..], headerBytes);
        }

        return file;
    }

    /// <summary>The emulated device.</summary>
    private sealed class Opened : IDisposable
    {
        private readonly CudaDevice _device = CudaDevice.Open(0, CudaUnderTest.Path);
        private readonly CudaContext _context;

        public Opened() => _context = new CudaContext(_device.Handle);

        public CudaKernels Kernels(Func<string, byte[]?>? read) => new(_context, _device, read);

        public void Dispose() => _context.Dispose();
    }
}
