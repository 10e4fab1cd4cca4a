using System.Text;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data;

/// <summary>Headers of tars, made by hand: numbers, long names, links, and every kind of damage with its offset.</summary>
public sealed class TarIndexTests : FolderTests
{
    private static readonly byte[] First = PictureFiles.Member("first", [1, 2, 3]);

    [Fact]
    public void Sizes_are_octal_or_binary_or_of_an_extended_header()
    {
        byte[] content = [.. Enumerable.Range(0, 600).Select(i => (byte)i)];
        string binary = "\u0080" + new string('\0', 9) + "\u0002\u0058";
        foreach (byte[] member in (byte[][])[PictureFiles.Member("m", content), PictureFiles.Member("m", content, size: "       1130 "), PictureFiles.Member("m", content, size: binary)])
            Assert.Equal((512L, 600L), Assert.Single(List(member, PictureFiles.End).Select(found => (found.DataOffset, found.Length))));
        byte[] extended = [.. PictureFiles.Member("PaxHeaders/m", "12 size=600\n22 path=with space é\n"u8.ToArray(), 'x'), .. PictureFiles.Member("m", content, size: "00000000000\0")];
        Assert.Equal(("with space é", 1536L, 600L), Assert.Single(List(extended, PictureFiles.End).Select(found => (found.Name, found.DataOffset, found.Length))));
    }

    [Fact]
    public void Names_come_from_the_prefix_or_from_extended_headers()
    {
        byte[] old = PictureFiles.Member("name", [1], magic: "ustar  \0", prefix: "no prefix in GNU's format");
        byte[] global = PictureFiles.Member("pax_global_header", "19 comment=a commit"u8[..18].ToArray().Append((byte)'\n').ToArray(), 'g');
        Assert.Equal(
            ["first", "pre/fix/name", "name", new string('x', 300), "first"],
            List(
                global, First, PictureFiles.Member("name", [1], prefix: "pre/fix"), old,
                PictureFiles.Member("././@LongLink", Encoding.ASCII.GetBytes(new string('y', 200) + "\0"), 'K', magic: "ustar  \0"),
                PictureFiles.Member("././@LongLink", Encoding.ASCII.GetBytes(new string('x', 300) + "\0"), 'L', magic: "ustar  \0"), PictureFiles.Member("short", [1], magic: "ustar  \0"),
                First, PictureFiles.End).Select(found => found.Name));
    }

    [Fact]
    public void Kinds_of_members_are_told_apart()
    {
        byte[] sparse = [.. PictureFiles.Member("p", "22 GNU.sparse.major=1\n"u8.ToArray(), 'x'), .. PictureFiles.Member("sparse", [1])];
        Assert.Equal(
            [TarMemberType.File, TarMemberType.File, TarMemberType.Other, TarMemberType.Other, TarMemberType.Link, TarMemberType.Link, TarMemberType.Sparse, TarMemberType.Sparse, TarMemberType.File],
            List(
                First, PictureFiles.Member("old", [1], '\0'), PictureFiles.Member("old/", [], '\0'), PictureFiles.Member("folder", [], '5'),
                // A link may state the size of the file that it leads to; its content is not there.
                PictureFiles.Member("hard", [], '1', size: "00000007777\0"), PictureFiles.Member("soft", [], '2'), PictureFiles.Member("s", [1], 'S'), sparse, First, PictureFiles.End).Select(found => found.Type));
    }

    [Fact]
    public void Damage_is_named_with_its_offset()
    {
        byte[] flipped = [.. First];
        flipped[600] ^= 1;
        Assert.Equal(2, List(First, flipped, PictureFiles.End).Count);
        flipped[3] ^= 1;
        Complains("offset 1024: found no header of a tar: its checksum is", First, flipped, PictureFiles.End);
        Complains("offset 1024: found no header of a tar", First, Encoding.ASCII.GetBytes(new string('q', 512)), PictureFiles.End);
        Complains("offset 1024: the tar ends here, expected a header or the two blocks of zeros that end a tar", First);
        Complains("offset 1324: the tar ends here, expected a whole block of 512 bytes", First, First[..300]);
        Complains("offset 1637: the tar ends within second (header at 1024), which has 600 bytes from 1536 on; 101 are there", First, PictureFiles.Member("second", new byte[600])[..613]);
        Complains("offset 1536: the tar ends here after one block of zeros, expected two", First, PictureFiles.End[..512]);
        Complains("offset 1536: data follow the end of the tar at 1024", First, PictureFiles.End[..512], First, PictureFiles.End);
        Complains("offset 12800: data follow the end of the tar at 1024", First, PictureFiles.End, new byte[10752], First, PictureFiles.End);
        Complains("offset 1024: continues continues in another volume", First, PictureFiles.Member("continues", [1], 'M'), PictureFiles.End);
        Complains("offset 1148: the size of x is not an octal number", First, PictureFiles.Member("x", [], size: "0000000000x\0"), PictureFiles.End);
        Complains("offset 1148: the size of x is negative or above 2^63", First, PictureFiles.Member("x", [], size: new string('\u00FF', 12)), PictureFiles.End);
        Complains("offset 1148: the size of x is negative or above 2^63", First, PictureFiles.Member("x", [], size: "\u0080" + new string('\u00FF', 11)), PictureFiles.End);
        Complains("the tar ends within x (header at 1024), which has 8589934591 bytes", First, PictureFiles.Member("x", [], size: "77777777777\0"), PictureFiles.End);
        Complains("offset 0: found no header of a tar", new byte[511].Append((byte)1).ToArray(), PictureFiles.End);
        Complains("an empty file");
    }

    [Fact]
    public void Extended_headers_are_checked()
    {
        Complains("an extended header (././@LongLink) of 1048577 bytes, the limit is 1048576", PictureFiles.Member("././@LongLink", new byte[(1 << 20) + 1], 'L'), First, PictureFiles.End);
        Complains("the tar ends within an extended header of 500000 bytes that begins at 512", PictureFiles.Member("p", [], 'x', size: "00001720440\0"), PictureFiles.End);
        foreach (string record in (string[])["x size=1\n", "0 a=b\n", "99 size=600\n", "11 size=600\n", "4 =\n", "99999999999999 a=b\n", "6 a=bc", "-6 a=b\n", "7 noeq\n"])
            Complains("offset 512: an extended header (pax) has a record", PictureFiles.Member("p", Encoding.ASCII.GetBytes(record), 'x'), First, PictureFiles.End);
        foreach (string size in (string[])["12 size=-50\n", "12 size=abc\n", "28 size=9223372036854775807\n"])
            Complains("offset 512: an extended header (pax) has a size that is not a number", PictureFiles.Member("p", Encoding.ASCII.GetBytes(size), 'x'), First, PictureFiles.End);
        Complains("offset 512: a global extended header (pax) sets the path of all members", PictureFiles.Member("g", "10 path=a\n"u8.ToArray(), 'g'), First, PictureFiles.End);
        Complains("offset 1024: an extended header has no member after it", PictureFiles.Member("p", "10 path=a\n"u8.ToArray(), 'x'), PictureFiles.End);
    }

    [Fact]
    public void Other_formats_are_named()
    {
        Complains("found a gzip file (unpack it), expected a tar that is not compressed, so that images can be read at any offset (unpack it with gunzip)", TestFiles.Gzip([.. First, .. PictureFiles.End]));
        Complains("found a zip archive (unpack it), expected a tar", [.. "PK"u8, 3, 4], new byte[600]);
        Complains("found a web page", "<!DOCTYPE html>"u8.ToArray());
        Complains("found a picture", [0xFF, 0xD8, 0xFF, 0xE0], new byte[600]);
    }

    [Fact]
    public void Links_and_sparse_files_are_no_images()
    {
        TestFiles.Complains<InvalidDataException>(() => Open(PictureFiles.Member("a.jpg", [], '1'), PictureFiles.Member("a.cls", "0"u8.ToArray())), "offset 0: a.jpg is a link, expected a file (make the tar with tar --dereference --hard-dereference)");
        TestFiles.Complains<InvalidDataException>(() => Open(PictureFiles.Member("a.jpg", [1], 'S'), PictureFiles.Member("a.cls", "0"u8.ToArray())), "offset 0: a.jpg is stored as a sparse file");
        TestFiles.Complains<InvalidDataException>(() => Open(PictureFiles.Member("a.jpg", [1]), PictureFiles.Member("a.cls", [], '2')), "offset 1024: a.cls is a link");

        TestSet Open(params byte[][] members)
        {
            string tar = TestFiles.Write(Folder, "t.tar", [.. members.SelectMany(member => member), .. PictureFiles.End]);
            return DataSet.OpenTest($"wds:none,{tar}", 1);
        }
    }

    /// <summary>A member of 9 GiB is a hole in a file; GNU tar writes its size as a binary number.</summary>
    [Fact]
    public void Members_beyond_8_GiB_are_passed_over()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs sparse files");
        PictureFiles.Run(Folder, "truncate", "--size=9G", "large.bin");
        PictureFiles.Write(Folder, "after.jpg");
        string small = PictureFiles.Tar(Folder, "end.tar", "gnu", "after.jpg");
        // The header comes from GNU tar; the content is a hole instead of 9 GiB of zeros.
        byte[] header = Encoding.Latin1.GetBytes(PictureFiles.Run(Folder, "bash", "-c", "tar --create --format=gnu large.bin | head -c 512 | base64"));
        byte[] block = Convert.FromBase64String(Encoding.Latin1.GetString(header));
        using (FileStream file = File.Create(Path.Combine(Folder, "all.tar")))
        {
            file.Write(block);
            file.Position = 512 + (9L << 30);
            file.Write(File.ReadAllBytes(Path.Combine(Folder, small)));
        }

        string path = Path.Combine(Folder, "all.tar");
        using var handle = ImageFiles.Open(path);
        Assert.Equal([("large.bin", 512L, 9L << 30), ("after.jpg", 1024 + (9L << 30), PictureFiles.Content("after.jpg").Length)], TarIndex.Members(TarBytes.Of(path, handle)).Select(found => (found.Name, found.DataOffset, found.Length)));
    }

    private static List<TarMember> List(params byte[][] members) => [.. TarIndex.Members(TarBytes.Of("t.tar", members.SelectMany(member => member).ToArray()))];

    private static void Complains(string message, params byte[][] members) => TestFiles.Complains<InvalidDataException>(() => List(members), "t.tar", message);
}
