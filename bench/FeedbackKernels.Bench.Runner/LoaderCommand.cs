using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Training;

namespace FeedbackKernels.Bench;

/// <summary><c>loader</c>: measures how many training images a second the feed decodes, crops, resizes and flips, and how many a loop that only decodes
/// the same crops. Both run in turn on the same number of threads. Lines are
/// <c>loader,feedback-kernels,source,images_per_s_and_core,images_per_s_and_core_of_plain_decoding,threads,ratio</c>, one for each number of
/// threads.</summary>
internal static class LoaderCommand
{
    private const int Batch = 64, Rounds = 6;
    private const ulong Seed = 1;

    public static Command Create()
    {
        var data = new Option<string>("--data") { Description = $"Images, with sizes that vary: {SourceCatalog.Forms}.", Required = true };
        var size = new Option<int>("--size") { Description = "Rows and columns of a training image.", DefaultValueFactory = _ => 128 };
        var threads = new Option<int>("--threads") { Description = "Threads that decode; 0 for 1, 2, 4 and so on up to all cores in turn." };
        var budget = new Option<double>("--budget") { Description = "Seconds to measure each number of threads.", DefaultValueFactory = _ => 12.0 };
        var command = new Command("loader", "Measures images per second of the data loader, and of decoding alone.") { data, size, threads, budget };
        command.SetAction(parsed =>
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(size), "--size");
            ArgumentOutOfRangeException.ThrowIfNegative(parsed.GetValue(threads), "--threads");
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(budget), "--budget");
            string name = parsed.GetValue(data)!;
            IImageSource source = DataSet.Open(name, Seed).Train;
            if (source.Shape is { } shape) throw new NotSupportedException($"--data {name}: all images are {shape} and are not decoded; wanted images of several sizes");
            if (source.Count < Batch) throw new NotSupportedException($"--data {name}: {source.Count} training images; wanted at least {Batch}");
            int[] counts = parsed.GetValue(threads) is > 0 and var one ? [one] : [.. Doubling(Environment.ProcessorCount)];
            foreach (int count in counts)
            {
                (double loader, double plain) = Measure(source, parsed.GetValue(size), count, parsed.GetValue(budget) / (2 * Rounds));
                parsed.InvocationConfiguration.Output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"loader,feedback-kernels,{name},{loader / count:F0},{plain / count:F0},{count},{loader / plain:F3}"));
            }
        });
        return command;
    }

    private static IEnumerable<int> Doubling(int most)
    {
        for (int count = 1; count < most; count *= 2) yield return count;
        yield return most;
    }

    // Medians of rounds in turn: other work on the machine then disturbs both alike.
    private static (double Loader, double Plain) Measure(IImageSource source, int size, int threads, double seconds)
    {
        using var backend = new CpuBackend(1);
        Normalisation normalisation = Normalisation.Of(source, NormalisationKind.Unit);
        PlainDecoding[] decoders = [.. Enumerable.Range(0, threads).Select(_ => new PlainDecoding(source, size))];
        var loader = new List<double>();
        var plain = new List<double>();
        for (int round = 0; round <= Rounds; round++)
        {
            double decoded = Plain(source, decoders, round, seconds), fed = Feed(backend, source, normalisation, size, threads, round, seconds);
            if (round == 0) continue; // Warm-up.
            plain.Add(decoded);
            loader.Add(fed);
        }

        return (Timing.OfSamples(loader).Median, Timing.OfSamples(plain).Median);
    }

    private static double Plain(IImageSource source, PlainDecoding[] decoders, int round, double seconds)
    {
        // A stride that shares no factor with the count goes through all images, and jumps as a shuffled order does.
        const int stride = 7919;
        long images = 0, start = Stopwatch.GetTimestamp();
        var key = new RandomKey(Seed, RandomPurpose.Augmentation, (uint)round + 1);
        Thread[] threads = [.. decoders.Select((decoder, number) => new Thread(() =>
        {
            long own = 0;
            for (long i = number; Stopwatch.GetElapsedTime(start).TotalSeconds < seconds; i += decoders.Length, own++)
                decoder.Decode((int)((i + round * 977L) * stride % source.Count), key);
            Interlocked.Add(ref images, own);
        }))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        return images / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Feed(Backend backend, IImageSource source, Normalisation normalisation, int size, int threads, int round, double seconds)
    {
        var options = new FeedOptions { Threads = threads, Images = new ImageOptions().For(size) };
        using ImageFeed feed = ImageFeed.Train(backend, source, normalisation, Augmentation.CropFlip, Batch, Seed, options);
        feed.Seek(round + 1, 0);

        // The batches that are ready when the clock stops were made in its time, those that are ready when it starts were not: as many.
        for (int i = 0; i <= options.BatchesAhead; i++) feed.Next();
        long images = 0, start = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(start).TotalSeconds < seconds)
        {
            if (feed.Next() is { } batch) images += batch.Count;
        }

        return images / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
