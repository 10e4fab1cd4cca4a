using System.Text;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;

namespace FeedbackKernels.Tests.Storage;

/// <summary>The requirements of github.com/huggingface/safetensors on a file, and the error messages.</summary>
public sealed class SafeTensorsTests : FolderTests
{
    // Types and their bits, as in the enum Dtype of the reference implementation (safetensors/src/tensor.rs).
    private const string Types =
        "BOOL:8 F4:4 F6_E2M3:6 F6_E3M2:6 U8:8 I8:8 F8_E5M2:8 F8_E4M3:8 F8_E8M0:8 F8_E4M3FNUZ:8 F8_E5M2FNUZ:8 I16:16 U16:16 F16:16 BF16:16 I32:32 U32:32 F32:32 C64:64 F64:64 I64:64 U64:64";

    public static TheoryData<string, int> AllTypes
    {
        get
        {
            var all = new TheoryData<string, int>();
            foreach (string type in Types.Split(' ')) all.Add(type.Split(':')[0], int.Parse(type.Split(':')[1]));
            return all;
        }
    }

    private static string Tensor(string sizes, long begin, long end, string type = "F32") => $$"""{"dtype":"{{type}}","shape":[{{sizes}}],"data_offsets":[{{begin}},{{end}}]}""";

    /// <summary>Headers, the number of bytes after them, and the expected error.</summary>
    public static TheoryData<string, int, string[]> Wrong => new()
    {
        { $$"""{"a":{{Tensor("2", 0, 8)}},"b":{{Tensor("2", 0, 8)}}}""", 8, ["tensor 'b' (F32 [2]) overlaps tensor 'a'", "offset 115"] },
        { $$"""{"a":{{Tensor("2", 0, 8)}},"b":{{Tensor("2", 4, 12)}}}""", 12, ["tensor 'b'", "overlaps tensor 'a'", "offset 120"] },
        { $$"""{"a":{{Tensor("1", 4, 8)}}}""", 8, ["4 bytes before tensor 'a' (F32 [1]) belong to no tensor", "offset 62"] },
        { $$"""{"a":{{Tensor("1", 0, 4)}},"b":{{Tensor("1", 8, 12)}}}""", 12, ["4 bytes before tensor 'b'"] },
        { $$"""{"a":{{Tensor("1", 0, 4)}}}""", 7, ["3 bytes follow the last, tensor 'a' (F32 [1])", "offset 66"] },
        { "{}", 1, ["1 bytes follow the header, which has no tensors"] },
        { $$"""{"a":{{Tensor("2", 0, 8)}}}""", 7, ["the file ends here, tensor 'a' (F32 [2]) goes on to 70", "offset 69"] },
        { $$"""{"a":{{Tensor("2", 0, 9223372036854775807)}}}""", 8, ["9223372036854775807 bytes", "expected 8"] },
        { $$"""{"a":{{Tensor("9223372036854775807", 0, 9223372036854775807, "U8")}}}""", 8, ["the file ends here, tensor 'a'"] },
        { $$"""{"a":{{Tensor("2", 8, 0)}}}""", 8, ["data_offsets from 8 to 0"] },
        { $$"""{"a":{{Tensor("-1", 0, 4)}}}""", 4, ["tensor 'a': shape has -1, expected integers from 0", "offset 37"] },
        { $$"""{"a":{{Tensor("1", -4, 0)}}}""", 4, ["tensor 'a': data_offsets has -4"] },
        { $$"""{"a":{{Tensor("1.0", 0, 4)}}}""", 4, ["shape has 1.0"] },
        { $$"""{"a":{{Tensor("1e0", 0, 4)}}}""", 4, ["shape has 1e0"] },
        { $$"""{"a":{{Tensor("-0", 0, 4)}}}""", 4, ["shape has -0"] },
        { $$"""{"a":{{Tensor("9223372036854775808", 0, 4)}}}""", 4, ["shape has 9223372036854775808"] },
        { $$"""{"a":{{Tensor("null", 0, 4)}}}""", 4, ["shape has null"] },
        { $$"""{"a":{{Tensor("[1]", 0, 4)}}}""", 4, ["shape has an array"] },
        { $$"""{"a":{{Tensor("\"1\"", 0, 4)}}}""", 4, ["shape has 1, expected integers"] },
        { $$"""{"a":{{Tensor("4294967296,4294967296", 0, 4)}}}""", 4, ["more than 2^63 - 1 elements"] },
        { $$"""{"a":{{Tensor("4294967296,4294967296,0", 0, 0)}}}""", 0, ["more than 2^63 - 1 elements"] },
        { $$"""{"a":{{Tensor("3", 0, 2, "F4")}}}""", 2, ["tensor 'a' (F4 [3]) is 12 bits, not whole bytes"] },
        { $$"""{"a":{{Tensor("1", 0, 4, "F33")}}}""", 4, ["tensor 'a' (F33 [1]) has an unknown type", "BF16", "offset 9"] },
        { """{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}""", 4, ["tensor 'a': dtype is 7 in the header, expected a string"] },
        { """{"a":{"dtype":"F32","shape":4,"data_offsets":[0,4]}}""", 4, ["tensor 'a': shape is 4 in the header, expected an array"] },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[]}}""", 4, ["tensor 'a' (F32 [1]) has 0 data_offsets, expected 2"] },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, ["tensor 'a' (F32 [1]) has 3 data_offsets, expected 2"] },
        { """{"a":{"dtype":"F32","shape":[1]}}""", 4, ["no data_offsets for tensor 'a'"] },
        { """{"a":{"dtype":"F32","data_offsets":[0,4]}}""", 4, ["no shape for tensor 'a'"] },
        { """{"a":{"shape":[1],"data_offsets":[0,4]}}""", 4, ["no dtype for tensor 'a'"] },
        { """{"a":[]}""", 0, ["tensor 'a' is an array in the header, expected an object"] },
        { $$"""{"a":{{Tensor("1", 0, 4)}},"a":{{Tensor("1", 0, 4)}}}""", 4, ["the name 'a' stands twice", "offset 62"] },
        { """{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, ["tensor 'a' has dtype twice"] },
        { """{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}""", 4, ["tensor 'a' has shape twice"] },
        { """{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1,"x":1}}""", 4, ["tensor 'a' has x twice"] },
        { """{"__metadata__":{"k":"1","k":"2"}}""", 0, ["'k' stands twice in __metadata__"] },
        { """{"__metadata__":{},"__metadata__":{}}""", 0, ["the name '__metadata__' stands twice"] },
        { """{"__metadata__":{"k":1}}""", 0, ["'k' of __metadata__ is 1 in the header, expected a string", "offset 29"] },
        { """{"__metadata__":{"k":{"deep":"1"}}}""", 0, ["'k' of __metadata__ is an object"] },
        { """{"__metadata__":null}""", 0, ["__metadata__ is null"] },
        { """[]""", 0, ["does not begin with '{'"] },
        { """ {}""", 0, ["does not begin with '{'"] },
        { """{"a":""", 0, ["not valid JSON"] },
        { """{}x""", 0, ["not valid JSON", "offset 10"] },
        { """{"a":{},}""", 0, ["no dtype for tensor 'a'"] },
        { """{"\ud800":1}""", 0, ["not valid text", "offset 9"] },
        { """{"\ud800\ud800":1}""", 0, ["not valid text"] },
        { "{\"" + new string('n', 200) + "\":1}", 0, [$"tensor '{new string('n', 40)}...' is 1"] },
        { "{\"a\":" + new string('[', 200) + "}", 0, ["tensor 'a' is an array"] },
        { "{\"a\":{\"x\":" + new string('[', 200) + "}}", 0, ["not valid JSON"] },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void What_the_format_forbids_is_refused_before_anything_is_loaded(string header, int bytes, string[] parts) =>
        Refused(Encoding.UTF8.GetBytes(header), bytes, parts);

    [Fact]
    public void Bytes_that_are_no_header_are_refused()
    {
        Refused([.. "{\"a"u8, 0xFF, .. "\":1}"u8], 0, "not UTF-8");
        string path = TestFiles.Write(Folder, "t.safetensors", [1, 2, 3, 4, 5]);
        TestFiles.Complains<InvalidDataException>(() => SafeTensors.Read(path), path, "offset 5: the file ends here");
        foreach (long length in (long[])[0, 1, 3, 100_000_001, long.MaxValue, long.MinValue, -1])
        {
            TestFiles.Write(Folder, "t.safetensors", [.. BitConverter.GetBytes(length), .. "{}"u8]);
            TestFiles.Complains<InvalidDataException>(() => SafeTensors.Read(path), path, $"offset 0: a header of {(ulong)length} bytes, expected 2 to 2");
        }

        TestFiles.Complains<FileNotFoundException>(() => SafeTensors.Read(path + "x"), path + "x");
    }

    [Theory]
    [MemberData(nameof(AllTypes))]
    public void A_tensor_that_is_not_needed_may_have_any_type(string type, int bits)
    {
        // Eight elements are a whole number of bytes in every type.
        string path = WriteFile(Encoding.UTF8.GetBytes($$"""{"x":{{Tensor("2,4", 0, bits, type)}},"y":{{Tensor("", bits, bits + 4)}},"z":{{Tensor("0,7", bits + 4, bits + 4, type)}},"__metadata__":{"k":"v"} }   """), bits + 4);
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        Assert.Equal(["x", "y", "z"], file.Tensors.Keys.Order());
        TensorEntry entry = file.Tensors["x"];
        Assert.Equal((type, (long)bits), (entry.Type, entry.Bytes));
        Assert.Equal([2, 4], entry.Sizes);
        Assert.Equal(new FileInfo(path).Length - bits - 4, entry.Offset);
        Assert.Equal("v", file.Metadata["k"]);
        // A scalar: no dimensions, one element. The bytes count up from the first.
        StoredTensor scalar = file.Load("y");
        Assert.Empty(scalar.Sizes);
        Assert.Equal([BitConverter.ToSingle([(byte)bits, (byte)(bits + 1), (byte)(bits + 2), (byte)(bits + 3)])], scalar.Values);
        if (type == "F32") return;
        TestFiles.Complains<InvalidDataException>(() => file.Load("x"), path, $"offset {entry.Offset}: tensor 'x' is {type}, expected F32");
        TestFiles.Complains<InvalidDataException>(() => SafeTensors.Read(path), path, $"is {type}, expected F32");
        TestFiles.Complains<InvalidDataException>(() => file.Load("w"), path, "tensor 'w' is missing");
    }

    [Fact]
    public void Tensors_may_stand_in_any_order_and_empty_ones_anywhere()
    {
        string path = WriteFile(Encoding.UTF8.GetBytes($$"""{"b":{{Tensor("1", 4, 8)}},"e":{{Tensor("0", 4, 4)}},"a":{{Tensor("1", 0, 4)}},"c":{{Tensor("3000000000,0", 8, 8)}} }"""), 8);
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        Assert.Equal([BitConverter.ToSingle([0, 1, 2, 3])], file.Load("a").Values);
        Assert.Equal([BitConverter.ToSingle([4, 5, 6, 7])], file.Load("b").Values);
        Assert.Empty(file.Load("e").Values);
        TestFiles.Complains<InvalidDataException>(() => file.Load("c"), "tensor 'c' has a size of 3000000000");
    }

    [Fact]
    public void What_cannot_be_read_back_is_not_written()
    {
        string path = Path.Combine(Folder, "t.safetensors");
        var none = new Dictionary<string, string>();
        TestFiles.Complains<ArgumentException>(() => Write(("a", [2], [1f])), "tensor 'a' of 2 has 1 values, wanted 2");
        TestFiles.Complains<ArgumentException>(() => Write(("a", [-1, -1], [1f])), "tensor 'a' of -1x-1");
        TestFiles.Complains<ArgumentException>(() => Write(("a", [1], [1f]), ("a", [1], [1f])), "'a' stands twice");
        TestFiles.Complains<ArgumentException>(() => Write(("__metadata__", [1], [1f])), "'__metadata__'");
        Assert.Empty(Directory.EnumerateFiles(Folder));

        object? Write(params (string, IReadOnlyList<int>, float[])[] tensors)
        {
            SafeTensors.Write(path, tensors, none);
            return null;
        }
    }

    private void Refused(byte[] header, int bytes, params string[] parts)
    {
        string path = WriteFile(header, bytes);
        string message = Assert.Throws<InvalidDataException>(() => SafeTensorsFile.Open(path)).Message;
        Assert.All([path, "offset", .. parts], part => Assert.Contains(part, message, StringComparison.Ordinal));
        Assert.Throws<InvalidDataException>(() => SafeTensors.Read(path));
    }

    private string WriteFile(byte[] header, int bytes) => TestFiles.Write(
        Folder, "t.safetensors", [.. BitConverter.GetBytes((long)header.Length), .. header, .. Enumerable.Range(0, bytes).Select(i => (byte)i)]);
}
