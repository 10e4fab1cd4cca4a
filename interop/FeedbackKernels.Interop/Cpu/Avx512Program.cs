using System.ComponentModel;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>
/// Starts the AVX-512 version of a native AOT program. The .NET 10 compiler cannot put AVX2 and AVX-512 code into one native program, so
/// a project with <c>FeedbackKernelsAvx512Program=true</c> is compiled to two: NAME for AVX2, and NAME.avx512 beside it.
/// </summary>
public static partial class Avx512Program
{
    /// <summary>End of the file name of the AVX-512 version.</summary>
    public const string Suffix = ".avx512";

    /// <summary>The instruction sets of x86-64-v4, as Linux names them.</summary>
    private static readonly string[] Needed = ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"];

    /// <summary>
    /// Replaces this program by its AVX-512 version, with the same arguments, environment and process number, if there is one and the machine
    /// has AVX-512; returns otherwise. Call it before anything else; a project with <c>FeedbackKernelsAvx512Program=true</c> calls it
    /// before Main. It does nothing on other systems than Linux, in programs that are not native AOT programs, and where the environment
    /// variable DOTNET_EnableAVX512 or DOTNET_EnableHWIntrinsic is 0, as for the JIT compiler.
    /// </summary>
    /// <exception cref="Win32Exception">The AVX-512 version is there and cannot be started; the message names the file.</exception>
    public static void Start()
    {
        if (RuntimeFeature.IsDynamicCodeSupported || Avx512F.IsSupported || !OperatingSystem.IsLinux()) return;
        if (IsOff("DOTNET_EnableAVX512") || IsOff("DOTNET_EnableHWIntrinsic")) return;
        string program = Environment.ProcessPath + Suffix;
        if (!File.Exists(program) || !IsSupported(File.ReadLines("/proc/cpuinfo"))) return;
        _ = Execute(program, [.. Environment.GetCommandLineArgs(), null]);
        throw new Win32Exception(
            Marshal.GetLastPInvokeError(), $"the AVX-512 version of the program, {program}, cannot be started: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    /// <summary>Whether a processor has the instruction sets of x86-64-v4.</summary>
    /// <param name="cpuInfo">Lines of /proc/cpuinfo, which lists what the operating system supports too.</param>
    internal static bool IsSupported(IEnumerable<string> cpuInfo)
    {
        string flags = cpuInfo.FirstOrDefault(line => line.StartsWith("flags", StringComparison.Ordinal)) ?? "";
        return !Needed.Except(flags.Split(' ')).Any();
    }

    private static bool IsOff(string variable) => Environment.GetEnvironmentVariable(variable) is { } value && value.TrimStart('0').Length == 0;

    [LibraryImport("libc", EntryPoint = "execv", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Execute(string path, string?[] arguments);
}
