using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>One update of many parameters is the update of each, bit for bit, and touches nothing between them.</summary>
[Trait("Category", "Conformance")]
public class OptimiserSlabTests
{
    private static readonly SgdStep Step = new(0.1f, 0.9f, 7f, true, 0.5f, 7f);

    // Shorter than a vector, around a vector, around what a thread or a block takes; with gaps, and with offsets that allow no wide loads.
    private static readonly SlabSegment[] Aligned = Place([1, 64, 17, 4096, 5000, 16384 + 9, 3], 32), Odd = Place([5, 1, 4097, 31], 1);

    public static MatrixTheoryData<string, bool, bool> Cases => new([.. new Candidates().Select(row => row.Data)], [true, false], [true, false]);

    [Theory, MemberData(nameof(Cases))]
    public void Segments_are_updated_as_if_each_were_alone(string candidate, bool aligned, bool clipped)
    {
        using Backend backend = Candidates.Create(candidate);
        SlabSegment[] segments = aligned ? Aligned : Odd;
        long length = segments[^1].Offset + segments[^1].Length + 3;
        foreach ((float[] expected, float[] actual) in Run(together: false).Zip(Run(together: true))) Values.AssertSameBits(expected, actual);

        float[][] Run(bool together)
        {
            using var bench = new Workbench(backend);
            DeviceBuffer values = bench.Put(Values.Normal(length, 1)), velocities = bench.Put(Values.Normal(length, 2)), gradients = bench.Put(Values.Normal(length, 3));
            DeviceBuffer? copies = bench.OutputCopy(length);
            SgdStep step = clipped ? Step with { GradientFactor = bench.Put([0.25f]) } : Step;
            if (together)
            {
                // Twice: a table of segments is used again.
                for (int i = 0; i < 2; i++) backend.SgdUpdateSlab(segments, values, gradients, velocities, step, copies);
            }
            else
            {
                foreach (SlabSegment s in segments)
                {
                    for (int i = 0; i < 2; i++)
                    {
                        backend.SgdUpdate(
                            s.Length, values.Slice(s.Offset, s.Length), gradients.Slice(s.Offset, s.Length), velocities.Slice(s.Offset, s.Length),
                            step with { WeightDecay = s.WeightDecay, Shrink = s.Shrink }, copies?.Slice(s.Offset, s.Length));
                    }
                }
            }

            return [bench.Get(values), bench.Get(velocities), copies is null ? [] : bench.Get(copies)];
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Coupled_segments_are_updated_as_if_each_pair_were_alone(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        ConvShape[] shapes = [new(1, 9, 9, 3, 5, 3, 3, 1, 1), ConvShape.Linear(1, 70, 33), new(1, 4, 4, 64, 40, 1, 1, 1, 0), new(1, 5, 5, 1, 1, 1, 1, 1, 0)];
        var segments = new List<CoupledSegment>();
        long end = 3, feedbackEnd = 1;
        foreach (ConvShape shape in shapes)
        {
            segments.Add(new CoupledSegment(shape, end, feedbackEnd, 0.01f * segments.Count, 1 - 0.1f * segments.Count));
            end += shape.WeightLength + 2;
            feedbackEnd += shape.WeightLength + 5;
        }

        foreach ((float[] expected, float[] actual) in Run(together: false).Zip(Run(together: true))) Values.AssertSameBits(expected, actual);

        float[][] Run(bool together)
        {
            using var bench = new Workbench(backend);
            DeviceBuffer values = bench.Put(Values.Normal(end, 1)), velocities = bench.Put(Values.Normal(end, 2)), gradients = bench.Put(Values.Normal(end, 3));
            DeviceBuffer feedback = bench.Put(Values.Normal(feedbackEnd, 4)), feedbackVelocities = bench.Put(Values.Normal(feedbackEnd, 5));
            DeviceBuffer? copies = bench.OutputCopy(end), feedbackCopies = bench.OutputCopy(feedbackEnd);
            if (together)
                backend.SgdUpdateCoupledSlab([.. segments], values, gradients, velocities, feedback, feedbackVelocities, Step, copies, feedbackCopies);
            else
            {
                foreach (CoupledSegment s in segments)
                {
                    long n = s.Shape.WeightLength;
                    backend.SgdUpdateBoth(
                        s.Shape, values.Slice(s.Offset, n), gradients.Slice(s.Offset, n), velocities.Slice(s.Offset, n), feedback.Slice(s.FeedbackOffset, n),
                        feedbackVelocities.Slice(s.FeedbackOffset, n), Step with { WeightDecay = s.WeightDecay, Shrink = s.Shrink }, copies?.Slice(s.Offset, n),
                        feedbackCopies?.Slice(s.FeedbackOffset, n));
                }
            }

            return
            [
                bench.Get(values), bench.Get(velocities), bench.Get(feedback), bench.Get(feedbackVelocities), copies is null ? [] : bench.Get(copies),
                feedbackCopies is null ? [] : bench.Get(feedbackCopies),
            ];
        }
    }

    private static SlabSegment[] Place(long[] lengths, long alignment)
    {
        var segments = new SlabSegment[lengths.Length];
        long end = 0;
        for (int i = 0; i < lengths.Length; i++)
        {
            segments[i] = new SlabSegment(end, lengths[i], i % 2 * 0.01f, 1 - 0.05f * (i % 3));
            end += (lengths[i] + alignment) / alignment * alignment;
        }

        return segments;
    }
}
