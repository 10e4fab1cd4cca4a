using FeedbackKernels.Storage;

namespace FeedbackKernels.Tests.Training;

public sealed class StorageTests : IDisposable
{
    private readonly string _file = Path.GetTempFileName();

    public void Dispose() => File.Delete(_file);

    [Fact]
    public void Tensors_come_back_as_they_were()
    {
        SafeTensors.Write(
            _file, [("a", [2, 3], [1, 2, 3, 4, 5, float.NaN]), ("b.c", [1], [-0f]), ("empty", [0], [])], new Dictionary<string, string> { ["k"] = "v \"quoted\"" });
        var (tensors, metadata) = SafeTensors.Read(_file);
        Assert.Equal(["a", "b.c", "empty"], tensors.Keys.Order());
        Assert.Equal([2, 3], tensors["a"].Sizes);
        Assert.Equal([1, 2, 3, 4, 5, float.NaN], tensors["a"].Values);
        Assert.Equal(BitConverter.SingleToUInt32Bits(-0f), BitConverter.SingleToUInt32Bits(tensors["b.c"].Values[0]));
        Assert.Equal("v \"quoted\"", metadata["k"]);
        // The format's own rule: the elements start on a multiple of 8.
        Assert.Equal(0, (8 + BitConverter.ToInt64(File.ReadAllBytes(_file), 0)) % 8);
    }

    [Theory]
    [InlineData("""{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}""", "F16")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", "expected 8")]
    [InlineData("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", "goes on to")]
    [InlineData("""{"a":{"dtype":"F32","data_offsets":[0,8]}}""", "header")]
    [InlineData("""{"a":""", "header")]
    public void Wrong_headers_are_refused(string header, string part)
    {
        File.WriteAllBytes(_file, [.. BitConverter.GetBytes((long)header.Length), .. header.Select(c => (byte)c), 0, 0, 0, 0]);
        string message = Assert.Throws<InvalidDataException>(() => SafeTensors.Read(_file)).Message;
        Assert.Contains(part, message);
        Assert.Contains(_file, message);
    }
}
