using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>
/// TorchSharp's native library 0.107 asks for version GLIBCXX_3.4.32 of libstdc++ (GCC 13), although it uses nothing of it: the only symbol
/// is a reference that the header iostream makes. Where libstdc++ is older (Debian 12), the copy in the output folder is changed before
/// torch loads it: the version is marked as weak, and the dynamic linker does without it.
/// </summary>
internal static class LibTorch
{
    private const uint VersionNeeds = 0x6FFFFFFE;
    private const ushort Weak = 2;

#pragma warning disable CA2255 // A test project is a program.
    [ModuleInitializer]
#pragma warning restore CA2255
    public static void MakeLoadable()
    {
        string path = Path.Combine(AppContext.BaseDirectory, "runtimes", "linux-x64", "native", "libLibTorchSharp.so");
        if (!File.Exists(path) || NativeLibrary.TryLoad(path, out _)) return;
        byte[] library = File.ReadAllBytes(path);
        MarkWeak(library, ["GLIBCXX_3.4.31", "GLIBCXX_3.4.32"]);
        File.WriteAllBytes(path + ".new", library);
        File.Move(path + ".new", path, overwrite: true);
    }

    /// <summary>Sets the flag VER_FLG_WEAK of versions in the section .gnu.version_r of a 64-bit ELF file.</summary>
    private static void MarkWeak(Span<byte> elf, string[] versions)
    {
        int sections = (int)Word64(elf, 40), size = Word16(elf, 58), count = Word16(elf, 60);
        for (int i = 0; i < count; i++)
        {
            int section = sections + i * size;
            if (Word32(elf, section + 4) != VersionNeeds) continue;
            int names = (int)Word64(elf, sections + (int)Word32(elf, section + 40) * size + 24);
            for (int need = (int)Word64(elf, section + 24), next = 1; next != 0; need += next)
            {
                next = (int)Word32(elf, need + 12);
                int version = need + (int)Word32(elf, need + 8);
                for (int left = Word16(elf, need + 2); left > 0; left--)
                {
                    Span<byte> name = elf[(names + (int)Word32(elf, version + 8))..];
                    if (versions.Contains(System.Text.Encoding.ASCII.GetString(name[..name.IndexOf((byte)0)])))
                        BinaryPrimitives.WriteUInt16LittleEndian(elf[(version + 4)..], (ushort)(Word16(elf, version + 4) | Weak));
                    version += (int)Word32(elf, version + 12);
                }
            }
        }
    }

    private static ushort Word16(Span<byte> elf, int offset) => BinaryPrimitives.ReadUInt16LittleEndian(elf[offset..]);

    private static uint Word32(Span<byte> elf, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(elf[offset..]);

    private static long Word64(Span<byte> elf, int offset) => BinaryPrimitives.ReadInt64LittleEndian(elf[offset..]);
}
