namespace FeedbackKernels.Interop;

/// <summary>A graph that is built. Its nodes identify those of the executable graph, which it has to outlive.</summary>
internal sealed class CudaGraphTemplate : CudaHandle
{
    public CudaGraphTemplate(CudaContext context) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaException.ThrowIfFailed(DriverApi.GraphCreate(out nint graph, flags: 0), "cuGraphCreate", "recording a step");
        Own(graph);
    }

    private protected override CudaResult Release(nint released) => DriverApi.GraphDestroy(released);
}

/// <summary>An executable graph. It may be destroyed while a launch of it is running.</summary>
internal sealed class CudaGraphExecutable : CudaHandle
{
    public CudaGraphExecutable(CudaContext context, CudaGraphTemplate template, int launches) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaException.ThrowIfFailed(
            DriverApi.GraphInstantiate(out nint executable, template.DangerousGetHandle(), flags: 0), "cuGraphInstantiateWithFlags",
            $"recording a step of {launches} kernels");
        Own(executable);
    }

    private protected override CudaResult Release(nint released) => DriverApi.GraphExecDestroy(released);
}
