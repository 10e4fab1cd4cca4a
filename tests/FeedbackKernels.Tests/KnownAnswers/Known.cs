using System.Text.Json;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.KnownAnswers;

/// <summary>Results that make.py computed with NumPy and PyTorch, without this program.</summary>
internal static class Known
{
    /// <summary>One file of results: random, operations, schedules or runs.</summary>
    public static JsonElement Read(string name)
    {
        using Stream stream = typeof(Known).Assembly.GetManifestResourceStream($"known/{name}.json")
            ?? throw new InvalidOperationException($"no known answers '{name}' in the test assembly");
        using JsonDocument document = JsonDocument.Parse(stream);
        return document.RootElement.Clone();
    }

    /// <summary>A file that is not JSON: meta.mat or meta-plain.mat.</summary>
    public static byte[] Bytes(string file)
    {
        using Stream stream = typeof(Known).Assembly.GetManifestResourceStream($"known/{file}") ?? throw new InvalidOperationException($"no file '{file}' in the test assembly");
        using var bytes = new MemoryStream();
        stream.CopyTo(bytes);
        return bytes.ToArray();
    }

    public static float[] Floats(this JsonElement answer, string name) =>
        [.. answer.GetProperty(name).EnumerateArray().Select(v => (float)v.GetDouble())];

    public static int[] Ints(this JsonElement answer, string name) =>
        [.. answer.GetProperty(name).EnumerateArray().Select(v => v.GetInt32())];

    public static int Int(this JsonElement answer, string name) => answer.GetProperty(name).GetInt32();

    public static uint UInt(this JsonElement answer, string name) => answer.GetProperty(name).GetUInt32();

    public static float Float(this JsonElement answer, string name) => (float)answer.GetProperty(name).GetDouble();

    public static double Double(this JsonElement answer, string name) => answer.GetProperty(name).GetDouble();

    public static string Text(this JsonElement answer, string name) => answer.GetProperty(name).GetString()!;

    public static bool Flag(this JsonElement answer, string name) => answer.GetProperty(name).GetBoolean();

    public static IEnumerable<JsonElement> Each(this JsonElement answers, string name) => answers.GetProperty(name).EnumerateArray();

    /// <summary>Asserts equality up to the rounding of binary32 sums, relative to the largest element.</summary>
    public static void AssertClose(float[] expected, IReadOnlyList<float> found, string what, double tolerance = 2e-6)
    {
        Assert.Equal(expected.Length, found.Count);
        double bound = tolerance * Math.Max(1, expected.Max(v => Math.Abs((double)v)));
        for (int i = 0; i < expected.Length; i++)
        {
            if (!(Math.Abs((double)expected[i] - found[i]) <= bound))
                Assert.Fail($"{what}, element {i} of {expected.Length}: expected {expected[i]:R}, found {found[i]:R}, bound {bound:G3}");
        }
    }
}

/// <summary>All backends that compute in binary32, including the reference.</summary>
public sealed class Binary32Backends : TheoryData<string>
{
    private const string Reference = "reference";

    public Binary32Backends()
    {
        Add(Reference);
        foreach (string candidate in new Candidates().Select(c => c.Data).Where(c => c != CudaUnderTest.Bf16Candidate)) Add(candidate);
    }

    public static Backend Create(string name) => name == Reference ? new ReferenceBackend() : Candidates.Create(name);
}
