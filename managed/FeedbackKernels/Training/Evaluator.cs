using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>Runs a model over images and counts what it gets right.</summary>
public sealed class Evaluator(Model model)
{
    /// <summary>Evaluates with running statistics and without smoothing.</summary>
    /// <param name="images">At least one image of the model's size and classes.</param>
    /// <param name="normalisation">The one that the model was trained with.</param>
    /// <param name="cancel">Stops the evaluation.</param>
    /// <exception cref="ArgumentException">The images or the normalisation do not fit the model; the message names what was found and
    /// what the model takes.</exception>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public Evaluation Run(ImageSet images, Normalisation normalisation, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(images);
        ArgumentNullException.ThrowIfNull(normalisation);
        RequireFit(images, model.Spec, "images", nameof(images));
        if (normalisation.Table.Length != 256 * images.Shape.C)
            throw new ArgumentException($"has {normalisation.Table.Length / 256} channels, the images have {images.Shape.C}", nameof(normalisation));
        double loss = 0;
        int top1 = 0, top5 = 0;
        using BatchLoader loader = BatchLoader.Evaluate(images, normalisation, model.MaxBatch);
        using var results = new StepResults(model);
        while (loader.Next() is { } batch)
        {
            cancel.ThrowIfCancellationRequested();
            LoadBatch(model, batch);
            using (StepScope scope = model.Backend.BeginStep())
            {
                model.Forward(Pass.Evaluate(batch.Count));
                model.Loss(batch.Count, smoothing: 0, gradient: false);
                scope.Complete();
            }

            // The batch before, while this one is computed.
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

    /// <summary>Checks that images are what a model takes.</summary>
    internal static void RequireFit(ImageSet images, ModelSpec spec, string what, string argument)
    {
        if (images.Shape != spec.Input || images.Classes != spec.Classes)
            throw new ArgumentException($"{what} of {images.Shape} in {images.Classes} classes, the model takes {spec.Input} in {spec.Classes} classes", argument);
        if (images.Count == 0) throw new ArgumentException($"there are no {what}", argument);
    }

    /// <summary>Puts a batch into a model's input: bytes are what goes to the backend, and it makes numbers of them.</summary>
    internal static void LoadBatch(Model model, Batch batch)
    {
        Backend backend = model.Backend;
        backend.Upload<byte>(batch.Pixels.AsSpan(0, checked(batch.Count * model.Spec.Input.Length)), model.Pixels);
        backend.Upload<int>(batch.Numbers.AsSpan(0, batch.Count), model.ImageNumbers);
        backend.Upload(batch.Normalisation.Table, model.PixelTable);
        backend.Upload<int>(batch.Labels.AsSpan(0, batch.Count), model.Labels);
        backend.AugmentImages(batch.Augmentation, batch.Count, model.Pixels, model.ImageNumbers, model.PixelTable, model.Input);
    }
}
