using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace FeedbackKernels.Tests.Data;

/// <summary>Folders and tars of files that stand for encoded images: sources hand out their bytes without decoding them.</summary>
internal static class PictureFiles
{
    /// <summary>The content of the image of a name: the name and up to 700 bytes more, so that contents and lengths differ.</summary>
    public static byte[] Content(string name) => Encoding.UTF8.GetBytes(name + new string('.', name.Sum(c => c * 37) % 700));

    /// <summary>Writes files with the content of their own names.</summary>
    public static void Write(string folder, params IEnumerable<string> names)
    {
        foreach (string name in names)
        {
            string path = Path.Combine(folder, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, Content(Path.GetFileName(name)));
        }
    }

    /// <summary>Writes a text file.</summary>
    public static string WriteText(string folder, string name, string text)
    {
        string path = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        return path;
    }

    /// <summary>Runs a program and returns what it wrote.</summary>
    public static string Run(string folder, string program, params IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} returned {process.ExitCode}: {errors.Result}");
        return output;
    }

    /// <summary>Makes a tar with GNU tar.</summary>
    /// <param name="folder">The folder that the names are relative to.</param>
    /// <param name="tar">The tar.</param>
    /// <param name="format">ustar, gnu, oldgnu, pax or v7.</param>
    /// <param name="names">What is put in, in this order.</param>
    public static string Tar(string folder, string tar, string format, params IEnumerable<string> names)
    {
        Run(folder, "tar", ["--create", $"--format={format}", "--no-recursion", "--file", tar, "--", .. names]);
        return tar;
    }

    /// <summary>A header of ustar and the content behind it, as the standard has it.</summary>
    public static byte[] Member(string name, byte[] content, char type = '0', string? size = null, string magic = "ustar\u000000", string prefix = "")
    {
        var block = new byte[512 + (content.Length + 511) / 512 * 512];
        Encoding.UTF8.GetBytes(name).CopyTo(block, 0);
        "0000644\0"u8.CopyTo(block.AsSpan(100));
        "0000000\0"u8.CopyTo(block.AsSpan(108));
        "0000000\0"u8.CopyTo(block.AsSpan(116));
        Encoding.Latin1.GetBytes(size ?? Convert.ToString(content.Length, 8).PadLeft(11, '0') + "\0").CopyTo(block, 124);
        "00000000000\0"u8.CopyTo(block.AsSpan(136));
        block[156] = (byte)type;
        Encoding.ASCII.GetBytes(magic).CopyTo(block, 257);
        Encoding.UTF8.GetBytes(prefix).CopyTo(block, 345);
        content.CopyTo(block, 512);
        return Summed(block);
    }

    /// <summary>The bytes with the right checksum in the header that they begin with.</summary>
    public static byte[] Summed(ReadOnlySpan<byte> bytes)
    {
        byte[] summed = bytes.ToArray();
        "        "u8.CopyTo(summed.AsSpan(148));
        int sum = 0;
        foreach (byte value in summed.AsSpan(0, 512)) sum += value;
        Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0 ").CopyTo(summed, 148);
        return summed;
    }

    /// <summary>A sample of WebDataset.</summary>
    public static byte[] Sample(string key, int label, string extension = "jpg") =>
        [.. Member($"{key}.{extension}", Content($"{key}.{extension}")), .. Member($"{key}.cls", Encoding.ASCII.GetBytes(label.ToString(CultureInfo.InvariantCulture)))];

    /// <summary>The two blocks at the end of a tar.</summary>
    public static byte[] End { get; } = new byte[1024];
}
