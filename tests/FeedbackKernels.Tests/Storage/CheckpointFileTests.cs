using System.Security.Cryptography;
using System.Text;
using FeedbackKernels.Interop;
using FeedbackKernels.State;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Runs;

namespace FeedbackKernels.Tests.Storage;

/// <summary>The file of a checkpoint: whatever happens to its bytes is found, and nothing is loaded from it.</summary>
public sealed class CheckpointFileTests : IDisposable
{
    private readonly CpuBackend _backend = new(1);
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-checkpoint").FullName;

    private string Target => Path.Combine(_folder, "state");

    public void Dispose()
    {
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Everything_comes_back()
    {
        using var state = new Example(_backend);
        Checkpoint.Save(state, _backend, Target, new Dictionary<string, string> { ["run"] = "x" });
        using var other = new Example(_backend) { Count = 0, Share = 0, Lines = "" };
        _backend.Upload<float>(new float[Example.Length], other.Tensor);
        Checkpoint.Load(other, _backend, Target);
        Assert.Equal((state.Count, state.Share, state.Lines), (other.Count, other.Share, other.Lines));
        Assert.Equal(_backend.Download(state.Tensor), _backend.Download(other.Tensor));
        Assert.Equal("x", Assert.Single(Checkpoint.ReadNotes(Target)).Value);
        // Any reader of the format can open it.
        var file = new TensorFile(Target);
        Assert.Equal(_backend.Download(state.Tensor), file.Values("tensor"));
        Assert.Equal("9007199254740993", file.Metadata("state:count"));
    }

    [Fact]
    public void The_checksum_is_the_sha_256_of_the_file_with_zeros_in_its_place()
    {
        using var state = new Example(_backend);
        Checkpoint.Save(state, _backend, Target);
        string checksum = new TensorFile(Target).Metadata("sha256");
        byte[] bytes = File.ReadAllBytes(Target);
        int place = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(checksum));
        Encoding.ASCII.GetBytes(new string('0', 64)).CopyTo(bytes, place);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(bytes)), checksum);
    }

    [Fact]
    public void A_flipped_bit_anywhere_is_found_and_nothing_is_loaded()
    {
        using var state = new Example(_backend);
        Checkpoint.Save(state, _backend, Target);
        byte[] whole = File.ReadAllBytes(Target);
        using var other = new Example(_backend) { Count = 5 };
        var random = new Random(1);
        for (int at = 0; at < whole.Length; at++)
        {
            byte[] damaged = [.. whole];
            damaged[at] ^= (byte)(1 << random.Next(8));
            File.WriteAllBytes(Target, damaged);
            AssertDamaged(other, $"byte {at}");
        }

        File.WriteAllBytes(Target, whole);
        Checkpoint.Verify(Target);
    }

    [Fact]
    public void A_file_that_ends_early_or_late_or_lacks_a_page_is_found()
    {
        using var state = new Example(_backend);
        Checkpoint.Save(state, _backend, Target);
        byte[] whole = File.ReadAllBytes(Target);
        using var other = new Example(_backend) { Count = 5 };
        for (int length = 0; length < whole.Length; length++)
        {
            File.WriteAllBytes(Target, whole[..length]);
            AssertDamaged(other, $"{length} bytes");
        }

        File.WriteAllBytes(Target, [.. whole, 0]);
        AssertDamaged(other, "a byte more");
        // A machine that lost power may have written the length of a file, but not each of its pages.
        for (int from = 0; from < whole.Length; from += 100)
        {
            byte[] torn = [.. whole];
            torn.AsSpan(from, Math.Min(100, torn.Length - from)).Clear();
            File.WriteAllBytes(Target, torn);
            AssertDamaged(other, $"zeros from {from}");
        }
    }

    [Fact]
    public void Two_values_of_one_name_are_refused_and_nothing_is_written()
    {
        using var state = new Example(_backend) { Twice = true };
        Assert.Contains("'state:count' stands twice", Assert.Throws<ArgumentException>(() => Checkpoint.Save(state, _backend, Target)).Message);
        Assert.Empty(Directory.GetFiles(_folder));
    }

    [Fact]
    public void A_snapshot_keeps_what_it_has_copied()
    {
        using var state = new Example(_backend);
        float[] before = _backend.Download(state.Tensor);
        using var snapshot = new Snapshot(state, _backend);
        Assert.Equal(Example.Length * 4, snapshot.Bytes);
        snapshot.Take();
        state.Count++;
        _backend.Upload<float>(new float[Example.Length], state.Tensor);
        snapshot.Wait();
        snapshot.Write(Target);
        using var other = new Example(_backend);
        Checkpoint.Load(other, _backend, Target);
        Assert.Equal(before, _backend.Download(other.Tensor));
        Assert.Equal(state.Count - 1, other.Count);
        Assert.Null(snapshot.FirstTensorNotFinite());
        before[^1] = float.NaN;
        _backend.Upload<float>(before, state.Tensor);
        Assert.Null(snapshot.FirstTensorNotFinite());
        snapshot.Take();
        Assert.Equal("tensor", snapshot.FirstTensorNotFinite());
    }

    private void AssertDamaged(Example state, string what)
    {
        float[] before = _backend.Download(state.Tensor);
        Exception? e = Record.Exception(() => Checkpoint.Load(state, _backend, Target));
        Assert.True(e is InvalidDataException, $"{what}: {e}");
        Assert.StartsWith(Target, e.Message);
        Assert.Equal(5, state.Count);
        Assert.Equal(before, _backend.Download(state.Tensor));
    }

    private sealed class Example : IState, IDisposable
    {
        public const int Length = 60;

        public Example(Backend backend)
        {
            Tensor = backend.Allocate(Length, "tensor");
            backend.Upload<float>([.. Enumerable.Range(0, Length).Select(i => i / 7f)], Tensor);
        }

        public DeviceBuffer Tensor { get; }

        // Not a double, and with digits that one would lose.
        public long Count { get; set; } = (1L << 53) + 1;

        public double Share { get; set; } = 0.1 + 0.2;

        public string Lines { get; set; } = "{\"a\":\"ü\"}\nsecond\n";

        public bool Twice { get; set; }

        public void Walk(IStateWalker walker)
        {
            walker.Tensor("tensor", [3, 20], Tensor);
            long count = Count;
            double share = Share;
            string lines = Lines;
            walker.Scalar("count", ref count);
            if (Twice) walker.Scalar("count", ref count);
            walker.Scalar("share", ref share);
            walker.Text("lines", ref lines);
            (Count, Share, Lines) = (count, share, lines);
        }

        public void Dispose() => Tensor.Dispose();
    }
}
