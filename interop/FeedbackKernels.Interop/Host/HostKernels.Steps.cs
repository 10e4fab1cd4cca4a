namespace FeedbackKernels.Interop;

// Steps that are more than one operation of the backend, over views.
public sealed unsafe partial class HostKernels
{
    private static void RequireRate(float rate)
    {
        if (!(rate > 0 && rate <= 1)) throw new ArgumentOutOfRangeException(nameof(rate), rate, "wanted above 0 and up to 1");
    }

    private void MirrorStep(in MirrorStep step, BufferView w, float rate, BufferView correlation, BufferView b)
    {
        // The correlation is written before the operation that would check b.
        CpuBackend.RequireMirrorStep(step);
        OperationScope.RequireLength(b, step.Layer.WeightLength, nameof(b));
        RequireApart(b, w, step.Layer.WeightLength, nameof(w));
        RequireApart(b, correlation, step.Layer.WeightLength, nameof(correlation));
        Backend.MirrorCorrelate(step, w, correlation);
        MirrorMove(step, correlation, rate, b);
    }

    private void MirrorMove(in MirrorStep collected, BufferView correlation, float rate, BufferView b)
    {
        CpuBackend.RequireMirrorStep(collected);
        OperationScope.RequireLength(correlation, collected.Layer.WeightLength, nameof(correlation));
        Backend.TransposedCombine(collected.Layer, (float)(rate / collected.CorrelationGain), correlation, 1 - rate, rate < 1 ? b : default, b);
    }

    private void KolenPollackFollow(in ConvShape shape, BufferView adjustment, float decay, BufferView b)
    {
        OperationScope.RequireLength(adjustment, shape.WeightLength, nameof(adjustment));
        Backend.TransposedCombine(shape, 1, adjustment, 1 - decay, b, b);
    }

    private static void RequireApart(BufferView b, BufferView other, long length, string name)
    {
        long bytes = length * sizeof(float);
        if (b.Address < other.Address + bytes && other.Address < b.Address + bytes) throw new ArgumentException($"overlaps '{name}'", nameof(b));
    }
}
