using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Computes the loss and the accuracy of a model.</summary>
public sealed class Evaluator(Model model)
{
    /// <summary>Evaluates with running statistics and without smoothing.</summary>
    /// <param name="images">At least one image of the model's size and classes.</param>
    /// <param name="normalisation">The one that the model was trained with.</param>
    /// <param name="cancel">Stops the evaluation.</param>
    /// <exception cref="ArgumentException">The images or the normalisation do not fit the model; the message names both.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Evaluation Run(IImageSource images, Normalisation normalisation, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(normalisation);
        RequireFit(images, model.Spec, "images", nameof(images));
        if (normalisation.Channels != images.Channels)
            throw new ArgumentException($"has {normalisation.Channels} channels, the images have {images.Channels}", nameof(normalisation));
        double loss = 0;
        int top1 = 0, top5 = 0;
        using ImageFeed feed = ImageFeed.Evaluate(model.Backend, images, normalisation, model.MaxBatch);
        using var results = new StepResults(model);
        while (feed.Next() is { } batch)
        {
            cancel.ThrowIfCancellationRequested();
            feed.Load(batch, model);
            using (StepScope scope = model.Backend.BeginStep())
            {
                model.Forward(Pass.Evaluate(batch.Count));
                model.Loss(batch.Count, smoothing: 0, gradient: false);
                scope.Complete();
            }

            // Reads the results of the previous batch while the device computes this one.
            Add();
            results.Queue(batch);
        }

        Add();
        return new Evaluation(loss / images.Count, (double)top1 / images.Count, (double)top5 / images.Count, images.Count);

        void Add()
        {
            if (results.Images == 0) return;
            (double sum, int first, int five) = results.Read();
            (loss, top1, top5) = (loss + sum, top1 + first, top5 + five);
        }
    }

    /// <summary>Checks that a model can take the images.</summary>
    internal static void RequireFit(IImageSource images, ModelSpec spec, string what, string argument)
    {
        if (!images.Fits(spec.Input, spec.Classes))
            throw new ArgumentException($"{what} of {images.Describe()}, the model takes {spec.Input} in {spec.Classes} classes", argument);
        if (images.Count == 0) throw new ArgumentException($"there are no {what}", argument);
    }
}
