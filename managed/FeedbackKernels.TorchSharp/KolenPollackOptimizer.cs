using System.Reflection;
using FeedbackKernels.Rules;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.optim;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// Kolen-Pollack around any optimiser (Kolen and Pollack 1994; Akrout et al. 2019, eqs. 16-17): B gets each adjustment that the optimiser
/// gives W, and both get the same decay. So B - W shrinks by exactly 1 - lr * decay in each step, whatever the optimiser does.
/// </summary>
/// <remarks>
/// <para>The decay is this optimiser's: W ← (1 - lr * decay) W + ΔW and B ← (1 - lr * decay) B + ΔW, with the learning rate of W's
/// parameter group (decoupled, as in AdamW). It is applied to W and B of the layers under Kolen-Pollack alone; other parameters have the
/// weight_decay of their own parameter group.</para>
/// <para>The wrapped optimiser keeps momentum and the like; save its state as before.</para>
/// </remarks>
public sealed class KolenPollackOptimizer : Optimizer
{
    private readonly Optimizer _inner;
    private readonly List<FeedbackLayer> _layers;
    private readonly double _weightDecay;

    /// <summary>Wraps an optimiser.</summary>
    /// <param name="inner">The optimiser that moves the parameters of the model. Disposed with this one.</param>
    /// <param name="model">The model, with layers under the rule Kolen-Pollack.</param>
    /// <param name="weightDecay">Decay of W and B, times the learning rate; 0 or more. A layer whose rule has a
    /// <see cref="KolenPollack.Decay"/> of its own has that.</param>
    /// <exception cref="ArgumentException">The model has no layer under Kolen-Pollack; or the optimiser does not have the W of such a layer,
    /// or decays it itself, so that B could not get the same decay. The message names the layer.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The decay is negative or not finite.</exception>
    public KolenPollackOptimizer(Optimizer inner, nn.Module model, double weightDecay) : base(nint.Zero)
    {
        ArgumentNullException.ThrowIfNull(inner);
        ArgumentNullException.ThrowIfNull(model);
        if (!(weightDecay >= 0) || !double.IsFinite(weightDecay))
            throw new ArgumentOutOfRangeException(nameof(weightDecay), weightDecay, "wanted a finite number that is not negative");
        List<(string Name, FeedbackLayer Layer)> layers = [.. model.FeedbackLayers().Where(named => named.Layer.Rule is KolenPollack)];
        if (layers.Count == 0) throw new ArgumentException($"has no layer under the rule {KolenPollack.RuleName}", nameof(model));
        (_inner, _weightDecay, _layers) = (inner, weightDecay, [.. layers.Select(named => named.Layer)]);
        foreach ((string name, FeedbackLayer layer) in layers)
        {
            if (Problem(GroupOf(layer)) is { } problem) throw new ArgumentException($"{problem}: '{name}'", nameof(inner));
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<ILearningRateController> ParamGroups => _inner.ParamGroups;

    /// <inheritdoc/>
    public override IEnumerable<Parameter> parameters() => _inner.parameters();

    /// <inheritdoc/>
    public override void add_param_group(ParamGroup param_group) => _inner.add_param_group(param_group);

    /// <inheritdoc/>
    public override void zero_grad() => _inner.zero_grad();

    /// <summary>A step of the wrapped optimiser, then the same adjustment for B and the same decay for both.</summary>
    /// <param name="closure">Evaluates the model, for optimisers that do so several times in a step.</param>
    /// <returns>The loss of the closure; null without one.</returns>
    /// <exception cref="InvalidOperationException">A W is in none of the optimiser's parameter groups any more (the model was moved after
    /// the optimiser was made), or has got a weight_decay there.</exception>
    public override Tensor step(Func<Tensor>? closure = null)
    {
        double[] keep = [.. _layers.Select(Keep)];
        List<Tensor> before = Copies();
        try
        {
            Tensor loss = _inner.step(closure);
            using IDisposable scope = NewDisposeScope(), noGradients = no_grad();
            for (int i = 0; i < keep.Length; i++) Adjust(_layers[i], before[i], keep[i]);
            return loss;
        }
        finally
        {
            before.ForEach(copy => copy.Dispose());
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) _inner?.Dispose();
        base.Dispose(disposing);
    }

    private static void Adjust(FeedbackLayer layer, Tensor before, double keep)
    {
        Parameter w = layer.weight;
        Tensor adjustment = w.sub(before);
        w.add_(before, alpha: keep - 1);
        layer.feedback!.weight.mul_(keep).add_(adjustment);
    }

    private List<Tensor> Copies()
    {
        using IDisposable noGradients = no_grad();
        return [.. _layers.Select(layer => layer.weight.clone().DetachFromDisposeScope())];
    }

    /// <summary>What a step leaves of W, B and their difference.</summary>
    private double Keep(FeedbackLayer layer)
    {
        ParamGroup? group = GroupOf(layer);
        if (Problem(group) is { } problem) throw new InvalidOperationException($"{problem}: {layer.LayerShape}");
        return 1 - group!.LearningRate * (((KolenPollack)layer.Rule).Decay ?? _weightDecay);
    }

    private ParamGroup? GroupOf(FeedbackLayer layer) =>
        _inner.ParamGroups.OfType<ParamGroup>().FirstOrDefault(group => group.Parameters.Any(parameter => parameter.Handle == layer.weight.Handle));

    /// <summary>What is wrong with the parameter group of a layer's W; null if nothing is.</summary>
    private static string? Problem(ParamGroup? group)
    {
        if (group is null) return "the optimiser does not have the weight of a layer under Kolen-Pollack";
        // Every optimiser of TorchSharp that has a decay of its own calls it so; they share no type for it.
        Type options = group.Options.GetType();
        object? found = options.GetField("weight_decay", BindingFlags.Public | BindingFlags.Instance)?.GetValue(group.Options)
            ?? options.GetProperty("weight_decay", BindingFlags.Public | BindingFlags.Instance)?.GetValue(group.Options);
        return found is double decay and not 0
            ? $"the optimiser's own weight_decay is {decay}, wanted 0: B has to get the same decay, so give it to {nameof(KolenPollackOptimizer)}. The layer"
            : null;
    }
}
