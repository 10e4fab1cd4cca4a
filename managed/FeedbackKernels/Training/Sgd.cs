using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Training;

/// <summary>Updates everything that training changes: W by SGD with momentum, B as its rule says.</summary>
public sealed class Sgd(Model model, TrainingOptions options)
{
    private readonly BufferView[] _gradients = new BufferView[model.Parameters.Count];

    /// <summary>Makes one update from the gradients of the last backward pass.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="learningRate">Its learning rate.</param>
    public void Update(int step, float learningRate)
    {
        if (options.ClipNorm > 0) Clip();
        var decaying = new SgdStep(
            learningRate, options.Momentum, options.WeightDecay, options.Nesterov,
            GradientFactor: options.ClipNorm > 0 ? model.ClipFactor : default(BufferView));
        SgdStep plain = decaying with { WeightDecay = 0 };
        // By index: an enumerator over the interface would be the one object that a step allocates.
        for (int i = 0; i < model.Layers.Count; i++)
        {
            ConvLayer layer = model.Layers[i];
            Feedback? feedback = layer.Feedback;
            SgdStep update = feedback?.Adjust(decaying, step) ?? decaying;
            if (feedback is null || !feedback.UpdateTogether(update)) Apply(layer.Weight, update);
            feedback?.AfterUpdate(update, step);
            if (layer.Bias is not null) Apply(layer.Bias, plain);
        }

        for (int i = 0; i < model.Norms.Count; i++)
        {
            Apply(model.Norms[i].Gamma, plain);
            Apply(model.Norms[i].Beta, plain);
        }
    }

    private void Apply(Parameter parameter, in SgdStep update) =>
        model.Backend.SgdUpdate(parameter.Length, parameter.Value, parameter.Gradient, parameter.Velocity, update, parameter.Copy);

    private void Clip()
    {
        for (int i = 0; i < _gradients.Length; i++) _gradients[i] = model.Parameters[i].Gradient;
        model.Backend.ClipFactor(_gradients, options.ClipNorm, model.ClipFactor);
    }
}
