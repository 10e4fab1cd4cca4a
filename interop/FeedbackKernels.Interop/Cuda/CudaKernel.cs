namespace FeedbackKernels.Interop;

/// <summary>A kernel of native/. Names are written in full, so that a search for one finds who launches it.</summary>
internal sealed class CudaKernel(string file, string name)
{
    /// <summary>Its file, without ".cu".</summary>
    public string File { get; } = file;

    /// <summary>Its entry in the PTX of the file.</summary>
    public string Name { get; } = name;

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>The variants of a kernel: one for each element type, tile or load width.</summary>
/// <typeparam name="TVariant">What tells them apart.</typeparam>
internal sealed class CudaKernelTable<TVariant>(string file, params (TVariant Variant, string Name)[] kernels)
    where TVariant : struct
{
    private readonly Dictionary<TVariant, CudaKernel> _kernels = kernels.ToDictionary(k => k.Variant, k => new CudaKernel(file, k.Name));

    /// <summary>All variants.</summary>
    public IEnumerable<CudaKernel> All => _kernels.Values;

    public CudaKernel this[TVariant variant] => _kernels[variant];
}
