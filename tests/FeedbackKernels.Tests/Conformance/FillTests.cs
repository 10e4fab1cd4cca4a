using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Random numbers and conversions between element types.</summary>
[Trait("Category", "Conformance")]
public class FillTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void Gaussian_fill_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var key = new RandomKey(5, RandomPurpose.User, 3, 9);
        foreach (int length in Sizes.Lengths)
        {
            using Workbench bench = new(backend), reference = new(new ReferenceBackend());
            DeviceBuffer actual = bench.Output(length), expected = reference.Output(length);
            backend.FillGaussian(actual, key, 2);
            reference.Backend.FillGaussian(expected, key, 2);
            // The host's logarithm and sine are a library's; a device has its own, which differ in the last place.
            if (backend.HostAddressable) Values.AssertSameBits(reference.Get(expected), bench.Get(actual));
            else Values.AssertNeighbours(reference.Get(expected), bench.Get(actual), steps: 3);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Conversions_round_to_the_nearest(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ElementType from in (ElementType[])[ElementType.Float32, backend.ActivationType])
        {
            foreach (ElementType to in (ElementType[])[ElementType.Float32, backend.ActivationType])
            {
                foreach (int length in Sizes.Lengths)
                {
                    using var bench = new Workbench(backend);
                    DeviceBuffer source = bench.Put(Values.Normal(length, 1), from), result = bench.Output(length, to);
                    backend.Convert(length, source, result);
                    bool rounds = to == ElementType.BFloat16;
                    Values.AssertSameBits([.. bench.Get(source).Select(v => rounds ? (BFloat16)v : v)], bench.Get(result));
                }
            }
        }
    }
}
