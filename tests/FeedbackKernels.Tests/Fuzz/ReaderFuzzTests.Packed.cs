using CsCheck;
using FeedbackKernels.Data;
using FeedbackKernels.Tests.Data.Packed;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>Packed files.</summary>
public sealed partial class ReaderFuzzTests
{
    [Fact]
    public void Packed_files() => ChildProcess.RunTest(GetType(), nameof(Packed_files_in_a_process_of_its_own));

    // The index is mapped into memory: a reader that goes beyond the file ends the process.
    [Fact]
    public void Packed_files_in_a_process_of_its_own()
    {
        ChildProcess.Require();
        byte[][] files = [.. ((DataSet[])[PackableImages.SmallSet(8, 3), PackableImages.SmallSet(1, 1, 1), PackableImages.SmallSet(8, 3, 4)]).Select(data => PackedFiles.Make(Folder, data))];
        Gen<byte[]> plain = Gen.OneOf(Mutated(files), Gen.Select(Gen.Int[0, files.Length - 1], PlaceInPackedFile).Array[1, 3].Select(changes => Change(files, changes)));
        Gen<byte[]> repaired = plain.Select(file => PackedFiles.WithRightChecksums([.. file]));
        Sample(
            Gen.OneOf(plain.Select(file => (file, name: "plain.packed")), repaired.Select(file => (file, name: "repaired.packed"))), _ => { },
            (folder, name, file) => ReadPacked(Path.Combine(folder, name), file, name == "plain.packed" ? files : null));
    }

    // Most bytes of a small packed file are the zeros of its header; these places are elsewhere.
    private static readonly Gen<(int Part, uint At, byte Value)> PlaceInPackedFile = Gen.Select(Gen.Int[0, 2], Gen.UInt, Gen.Byte);

    private static byte[] Change(byte[][] files, (int File, (int Part, uint At, byte Value) Place)[] changes)
    {
        byte[] file = [.. files[changes[0].File]];
        foreach ((_, (int part, uint at, byte value)) in changes)
        {
            (int start, int end) = part switch
            {
                0 => (0, 600),
                1 => (65536, (int)PackedFiles.IndexOffset(file)),
                _ => ((int)PackedFiles.IndexOffset(files[changes[0].File]), file.Length),
            };
            // The first change may have moved the index.
            if (end > start && end <= file.Length && start >= 0) file[start + (int)(at % (uint)(end - start))] = value;
        }

        return file;
    }

    /// <param name="path">The file.</param>
    /// <param name="file">Its content.</param>
    /// <param name="originals">The files without damage, if no checksum has been repaired: the file must then be one of these, or be
    /// refused.</param>
    private static void ReadPacked(string path, byte[] file, byte[][]? originals)
    {
        using PackedFile packed = PackedFile.Open(path);
        IReadOnlyList<string> faults = PackedVerification.Verify(packed, threads: 1);
        Assert.Equal(originals is null && faults.Count == 0 || originals?.Any(original => original.AsSpan().SequenceEqual(file)) == true, faults.Count == 0);
        Assert.All(faults, fault => Assert.True(fault.StartsWith(path, StringComparison.Ordinal) && fault.Contains("offset ", StringComparison.Ordinal), fault));
        try
        {
            PackedFiles.ReadAll(packed);
            Assert.True(originals is null || faults.Count == 0);
        }
        catch (InvalidDataException e)
        {
            Assert.StartsWith(path, e.Message);
            Assert.NotEmpty(faults);
            throw;
        }
    }
}
