using FeedbackKernels.Interop;
using static TorchSharp.torch;
using static TorchSharp.torch.autograd;

namespace FeedbackKernels.TorchSharp;

/// <summary>What a call of <see cref="ConvFunction"/> computes.</summary>
internal sealed class ConvCall(TensorBackend backend, ConvShape shape, bool channelsLast, long[] inputSizes, long[] outputSizes)
{
    public TensorBackend Backend { get; } = backend;

    public ConvShape Shape { get; } = shape;

    /// <summary>Memory format of the results.</summary>
    public bool ChannelsLast { get; } = channelsLast;

    public long[] InputSizes { get; } = inputSizes;

    public long[] OutputSizes { get; } = outputSizes;

    public bool IsLinear { get; init; }

    /// <summary>The forward pass's own handle of the output, which nobody else would release before a garbage collection.</summary>
    public Tensor? Output { get; set; }

    public bool NeedsInput { get; set; }

    public bool NeedsWeight { get; set; }

    public bool NeedsBias { get; set; }
}

/// <summary>
/// The convolution as a function of autograd: the gradient of the input goes through B, the gradient of the weights is the exact one.
/// Arguments: x, W, bias or null, B or null for W itself, <see cref="ConvCall"/>.
/// </summary>
internal sealed class ConvFunction : SingleTensorFunction<ConvFunction>
{
    private const string CallKey = "call";

    // libtorch copies the handles of the gradients after backward() has returned, when nothing else keeps them alive. So they are
    // released by the next call on the thread.
    [ThreadStatic]
    private static List<Tensor>? t_returned;

    public override string Name => "FeedbackKernels convolution";

    /// <summary>Applies the function.</summary>
    public static Tensor Apply(ConvCall call, Tensor x, Tensor w, Tensor? bias, Tensor? b)
    {
        Tensor y = apply(x, w, bias!, b!, call);
        call.Output?.Dispose();
        call.Output = null;
        return y;
    }

    public override Tensor forward(AutogradContext ctx, params object[] vars)
    {
        (var x, var w, var bias, var b, var call) = ((Tensor)vars[0], (Tensor)vars[1], (Tensor?)vars[2], (Tensor?)vars[3], (ConvCall)vars[4]);
        Tensor y = TensorMemory.NewMap(call.OutputSizes, call.ChannelsLast, x.device);
        call.Backend.Forward(call.Shape, x, w, bias, y);
        (call.NeedsInput, call.NeedsWeight, call.NeedsBias) = (x.requires_grad, w.requires_grad, bias is { requires_grad: true });
        ctx.save_for_backward([call.NeedsWeight ? x : null!, call.NeedsInput ? b ?? w : null!]);
        ctx.save_data(CallKey, call);
        call.Output = y;
        return y;
    }

    public override List<Tensor> backward(AutogradContext ctx, Tensor grad_output)
    {
        t_returned?.ForEach(tensor => tensor?.Dispose());
        t_returned = null;
        var call = (ConvCall)ctx.get_data(CallKey);
        try
        {
            return t_returned = Gradients(ctx, call, grad_output);
        }
#pragma warning disable CA1031 // Any exception that leaves this method ends the process: native code has called it.
        catch (Exception problem)
#pragma warning restore CA1031
        {
            return t_returned = Refuse(call, problem);
        }
        finally
        {
            grad_output.Dispose();
        }
    }

    private static List<Tensor> Gradients(AutogradContext ctx, ConvCall call, Tensor dy)
    {
        // Autograd records while it goes back only where the gradients are to be differentiated in their turn (create_graph).
        if (is_grad_enabled()) throw new NotSupportedException("feedback layers have no second derivative (create_graph is not supported)");
        List<Tensor> saved = ctx.get_saved_variables();
        try
        {
            dy.RequireFloat32("the gradient of the output of a feedback layer");
            Tensor? dx = null, dw = null, db = null;
            if (call.NeedsInput)
            {
                dx = TensorMemory.NewMap(call.InputSizes, call.ChannelsLast, dy.device).DetachFromDisposeScope();
                call.Backend.Feedback(call.Shape, dy, saved[1], dx);
            }

            if (call.NeedsWeight) dw = NewWeights(call, dy.device);
            if (call.NeedsBias) db = empty(call.Shape.K, dtype: ScalarType.Float32, device: dy.device).DetachFromDisposeScope();
            if (call.NeedsWeight || call.NeedsBias) call.Backend.Gradients(call.Shape, saved[0], dy, dw, db);
            return [dx!, dw!, db!, null!, null!];
        }
        finally
        {
            foreach (Tensor tensor in saved) tensor?.Dispose();
        }
    }

    private static Tensor NewWeights(ConvCall call, Device device)
    {
        ConvShape shape = call.Shape;
        long[] sizes = call.IsLinear ? [shape.K, shape.C] : [shape.K, shape.C, shape.R, shape.S];
        return empty(sizes, dtype: ScalarType.Float32, device: device).DetachFromDisposeScope();
    }

    /// <summary>Makes the call of backward() fail: gradients on no device are refused by autograd with an exception that TorchSharp
    /// translates. It cannot carry the cause, which is printed.</summary>
    private static List<Tensor> Refuse(ConvCall call, Exception problem)
    {
        Console.Error.WriteLine($"The backward pass of a feedback layer ({call.Shape}) failed: {problem}");
        Tensor Invalid() => empty(1, device: META).DetachFromDisposeScope();
        return
        [
            call.NeedsInput ? Invalid() : null!, call.NeedsWeight ? Invalid() : null!, call.NeedsBias ? Invalid() : null!, null!, null!,
        ];
    }
}
