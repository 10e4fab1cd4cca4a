using System.IO.Compression;
using System.Text;

namespace FeedbackKernels.Interop;

/// <summary>What the driver can be given of a file of kernels: a cubin, which is machine code, or PTX, which it compiles.</summary>
/// <param name="Architecture">The architecture that it is for, as <c>sm_90a</c>.</param>
/// <param name="IsPtx">Whether it is PTX.</param>
internal readonly record struct CudaImage(string Architecture, bool IsPtx)
{
    /// <summary>The images for a device in the order in which they are tried. A cubin of sm_80 runs on every device 8.x, one of sm_90a on 9.0
    /// alone; what is newer compiles the PTX of sm_80.</summary>
    /// <param name="major">First number of the compute capability.</param>
    /// <param name="architecture">The architecture whose PTX the device takes.</param>
    /// <param name="onlyPtx">Whether to leave cubins out.</param>
    public static IEnumerable<CudaImage> For(int major, string architecture, bool onlyPtx)
    {
        bool hasCubin = architecture == "sm_90a" || major == 8;
        return hasCubin && !onlyPtx ? [new(architecture, IsPtx: false), new(architecture, IsPtx: true)] : [new(architecture, IsPtx: true)];
    }

    /// <summary>The name of a file's image in the archive of this assembly.</summary>
    public string EntryOf(string file) => $"{Architecture}/{file}.{(IsPtx ? "ptx" : "cubin")}";
}

/// <summary>The archive of kernels in this assembly.</summary>
internal static class CudaArchive
{
    /// <summary>An entry; null where there is none. PTX ends in a zero byte, up to which the driver reads it.</summary>
    public static byte[]? Read(string name)
    {
        using ZipArchive? archive = Open();
        if (archive?.GetEntry(name) is not { } entry) return null;
        var bytes = new byte[entry.Length + 1];
        using Stream content = entry.Open();
        content.ReadExactly(bytes.AsSpan(0, bytes.Length - 1));
        return bytes;
    }

    /// <summary>Names of the entries of an architecture and an ending, in order.</summary>
    public static IReadOnlyList<string> Files(string architecture, string ending)
    {
        using ZipArchive? archive = Open();
        return [.. (archive?.Entries ?? []).Select(entry => entry.FullName)
            .Where(name => name.StartsWith(architecture + "/", StringComparison.Ordinal) && name.EndsWith(ending, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal).Select(name => Path.GetFileNameWithoutExtension(name))];
    }

    /// <summary>The version that PTX text declares.</summary>
    public static string PtxVersionOf(ReadOnlySpan<byte> ptx)
    {
        ReadOnlySpan<byte> word = ".version "u8;
        int at = ptx.IndexOf(word);
        if (at < 0) return "of an unknown version";
        ReadOnlySpan<byte> rest = ptx[(at + word.Length)..];
        return Encoding.UTF8.GetString(rest[..rest.IndexOfAny("\r\n\0"u8)]).Trim();
    }

    private static ZipArchive? Open() =>
        typeof(CudaArchive).Assembly.GetManifestResourceStream("cuda/kernels.zip") is { } resource ? new ZipArchive(resource) : null;
}
