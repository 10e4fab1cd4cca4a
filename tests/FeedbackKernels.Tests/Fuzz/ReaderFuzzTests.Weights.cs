using CsCheck;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Runs;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>Weights that are imported.</summary>
public sealed partial class ReaderFuzzTests
{
    [Fact]
    public void ImportedWeights()
    {
        byte[][] files = [.. Exported()];
        Gen<byte[]> headers = Gen.Select(Gen.Int[0, files.Length - 1], JsonMutation.Any.Array[1, 3]).Select((index, mutations) => MutateHeader(files[index], mutations));
        // The configuration alone is some hundred kilobytes of objects when it is read.
        Sample(Gen.OneOf(Mutated(files), headers).Select(file => (file, name: "weights.safetensors")), _ => { }, ReadWeights, memory: 16 << 20);

        IEnumerable<byte[]> Exported()
        {
            var config = new RunConfig { Model = "mlp", Hidden = 2, Rule = new FeedbackAlignment() };
            string run = UntrainedRun.Write(Path.Combine(Folder, "run"), config, new MapShape(3, 3, 1), 2), path = Path.Combine(Folder, "exported");
            using StoredRun stored = StoredRun.Open(run);
            foreach (WeightFormat format in (WeightFormat[])[WeightFormat.SafetensorsTorch, WeightFormat.Safetensors])
            {
                RunExport.Write(stored, path, format);
                yield return File.ReadAllBytes(path);
            }
        }
    }

    private static void ReadWeights(string folder, string name, byte[] file)
    {
        using RunImport import = RunImport.Open(Path.Combine(folder, name));
        string written = Path.Combine(folder, "run");
        import.Write(new RunPlace(written, Overwrite: true));
        // What was imported is the folder of a run.
        using StoredRun run = StoredRun.Open(written);
        Assert.Equal(import.Spec.Classes, run.Preprocessing.ClassNames.Count);
        Assert.All(run.Model.Read(run.Describe()).Tensors, tensor => Assert.Equal(tensor.Sizes.Aggregate(1L, (product, size) => product * size), tensor.Load().LongLength));
    }
}
