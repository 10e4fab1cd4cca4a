namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy) =>
        MapTransposed(
            beta == 0 ? _kernels->ScaleTo : _kernels->Combine,
            shape, w, new MapArguments { Y = b.Floats, Z = r.Floats, Alpha = alpha, Beta = beta });

    internal override void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy) =>
        MapTransposed(_kernels->Sign, shape, w, new MapArguments { Y = b.Floats, Z = magnitudes.Floats, Alpha = scale });

    private void MapTransposed(delegate*<MapArguments*, long, void> kernel, in ConvShape shape, BufferView forward, in MapArguments arguments, in MapArguments forwardArguments = default)
    {
        var job = new TransposedMapJob
        {
            Kernels = _kernels,
            Kernel = kernel,
            Arguments = arguments,
            ForwardArguments = forwardArguments,
            Forward = forward.Floats,
            Taps = shape.R * shape.S,
            C = shape.C,
            K = shape.K,
        };
        _pool.Run(job.Items, ref job);
    }
}
