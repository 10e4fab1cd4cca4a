using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>When the buckets of gradients of a step are complete, on paper.</summary>
/// <param name="Backward">Seconds of the backward pass.</param>
/// <param name="Step">Seconds of the step, without sums.</param>
/// <param name="Buckets">Bytes of each bucket, and when the backward pass has completed it: seconds after its begin.</param>
internal sealed record Reduction(double Backward, double Step, IReadOnlyList<(double Bytes, double Ready)> Buckets)
{
    /// <summary>Runs a step on paper.</summary>
    public static Reduction Of(Card card, ModelSpec spec, int images, CudaPrecision precision = CudaPrecision.Bf16)
    {
        var recorder = new LaunchRecorder(shape => shape.ToString(), precision == CudaPrecision.Bf16 ? sizeof(ushort) : sizeof(float));
        using var backend = new CudaBackend(card.Device, precision, recorder);
        using var model = new Model(backend, spec, RuleSet.Of(new Backprop()), images, seed: 1);
        var sgd = new Sgd(model, new TrainingOptions { Batch = images });
        recorder.Launches.Clear();
        model.Forward(Pass.Train(images));
        model.Loss(images, 0, gradient: true);
        var places = new Places(recorder);
        int begin = recorder.Launches.Count;
        model.Backward(images, observer: null, places);
        int end = recorder.Launches.Count;
        sgd.Update(0, 1e-3f);

        // Seconds up to each launch.
        var clock = new double[recorder.Launches.Count + 1];
        for (int i = 0; i < recorder.Launches.Count; i++) clock[i + 1] = clock[i] + LaunchCost.Of(recorder.Launches[i], card).Seconds;
        return new Reduction(clock[end] - clock[begin], clock[^1], [.. SharedStep.BucketsOf(model.Weights).Select(bucket => (
            (double)sizeof(float) * (bucket.End - bucket.Start), clock[places.Complete.First(place => place.Elements >= bucket.End).Launches] - clock[begin]))]);
    }

    /// <summary>Seconds of all sums, one after the other.</summary>
    public double Sums(Network network) => Buckets.Sum(bucket => network.Seconds(bucket.Bytes));

    /// <summary>Seconds between the end of the backward pass and that of the last sum. Sums run in turn, each when its bucket is
    /// complete.</summary>
    public double Exposed(Network network)
    {
        double end = 0;
        foreach ((double bytes, double ready) in Buckets) end = Math.Max(end, ready) + network.Seconds(bytes);
        return Math.Max(0, end - Backward);
    }

    /// <summary>Whether the sums hide behind the backward pass: all but the last, whose bucket is complete only when the pass ends.</summary>
    public bool Hides(Network network) => Exposed(network) <= network.Seconds(Buckets[^1].Bytes) * (1 + 1e-9);

    private sealed class Places(LaunchRecorder recorder) : IGradientWatcher
    {
        public List<(long Elements, int Launches)> Complete { get; } = [];

        public void OnComplete(long elements) => Complete.Add((elements, recorder.Launches.Count));
    }
}
