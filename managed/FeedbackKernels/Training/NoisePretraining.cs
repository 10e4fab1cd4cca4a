using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;

namespace FeedbackKernels.Training;

/// <summary>
/// Training on noise before training on data (Cheon, Lee and Paik, NeurIPS 2024, "Pretraining with random noise for fast and robust
/// learning without weight transport"): each batch has new images of independent normal pixels with mean 0 and variance 1, and new labels
/// that have nothing to do with them.
/// </summary>
/// <remarks>
/// In the paper, small perceptrons under feedback alignment and Adam turn W towards Bᵀ meanwhile. That is not so under every optimiser:
/// in a ResNet-8 under SGD, 1,000 steps left the angles and the accuracy afterwards as they were.
/// Rule and optimiser are those of the run, at a constant learning rate. The schedule, the number of steps and the loader start
/// afterwards. Batch norms normalise by each batch and leave the running statistics as they are, which would be those of noise.
/// </remarks>
internal static class NoisePretraining
{
    /// <summary>Trains on noise.</summary>
    /// <param name="model">Planned for a part of a step.</param>
    /// <param name="optimiser">That of the run.</param>
    /// <param name="gradients">The sum over the parts of a step, where it has several.</param>
    /// <param name="options">Settings of the run.</param>
    /// <param name="group">The processes that train together.</param>
    /// <param name="shared">What they add up; null for one process.</param>
    /// <param name="cancel">Ends it after a step.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static void Run(
        Model model, Optimiser optimiser, GradientSum? gradients, TrainingOptions options, Communicator group, SharedStep? shared, CancellationToken cancel)
    {
        Backend backend = model.Backend;
        int all = options.PartBatch;
        (int first, int images) = Communicator.ShareOf(all, group.Rank, group.Size);
        long length = model.Spec.Input.Length;
        // The noise of all processes, of which each takes its images: they do not depend on the number of processes.
        using DeviceBuffer noise = backend.Allocate(all * length, "images of noise");
        using DeviceBuffer own = noise.Slice(first * length, images * length, "images of noise");
        int[] labels = new int[all];
        for (int step = 0; step < options.NoisePretraining; step++)
        {
            for (int part = 0; part < options.Accumulate; part++)
            {
                if (group.Any(cancel.IsCancellationRequested)) throw new OperationCanceledException(cancel);
                uint stream = (uint)((long)step * options.Accumulate + part);
                backend.FillGaussian(noise, new RandomKey(options.Seed, RandomPurpose.NoiseImages, 0, stream), 1);
                backend.Convert(own.Length, own, model.Input);
                DrawLabels(labels, model.Spec.Classes, new RandomKey(options.Seed, RandomPurpose.NoiseLabels, 0, stream));
                backend.Upload<int>(labels.AsSpan(first, images), model.Labels);
                shared?.BeginForward(images, all);
                model.Forward(Pass.Measure(images));
                model.Loss(images, options.LabelSmoothing, gradient: true);
                IGradientWatcher? watcher = shared?.BeginBackward(0, images, 0, stops: false, all);
                model.Backward(images, observer: null, watcher);
                gradients?.AddPart();
                if (part == options.Accumulate - 1) shared?.Finish();
                _ = shared?.Results();
            }

            optimiser.Update(step, options.NoisePretrainingRate ?? options.Schedule.Peak);
        }
    }

    private static void DrawLabels(int[] labels, int classes, in RandomKey key)
    {
        var random = new RandomSequence(key);
        for (int i = 0; i < labels.Length; i++) labels[i] = random.NextInt(classes);
    }
}
