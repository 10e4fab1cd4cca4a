using System.Reflection;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The library of the CUDA driver, the only native code that the CUDA backend needs. The system's loader looks for
/// <see cref="DefaultName"/>, unless a path is given by API or by the environment variable <see cref="EnvironmentVariable"/>. A process
/// uses one driver.
/// </summary>
public static class CudaLibrary
{
    /// <summary>The environment variable that names the library, if it is not <see cref="DefaultName"/>.</summary>
    public const string EnvironmentVariable = "FEEDBACK_CUDA_DRIVER";

    // The name in the imports; Resolve maps it to the file.
    internal const string Import = "cuda-driver";

    private static readonly Lock Gate = new();
    private static nint _handle;
    private static string? _path;

    /// <summary>The name of the driver's library on this system.</summary>
    public static string DefaultName => OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1";

    /// <summary>The library that this process uses; null before it is loaded.</summary>
    public static string? LoadedPath
    {
        get
        {
            lock (Gate) return _path;
        }
    }

    /// <summary>Loads the library.</summary>
    /// <param name="path">A file; null for what the environment variable names, or else the system's driver.</param>
    /// <exception cref="PlatformNotSupportedException">It cannot be loaded, or no path is given and the process uses another driver than
    /// the system's already; the message says what was looked for, and where.</exception>
    /// <exception cref="InvalidOperationException">A path is given, and the process uses another driver already.</exception>
    public static void Load(string? path = null)
    {
        string? named = Environment.GetEnvironmentVariable(EnvironmentVariable);
        string wanted = path ?? (string.IsNullOrEmpty(named) ? DefaultName : named);
        lock (Gate)
        {
            if (_path == wanted) return;
            if (_path is not null)
            {
                string conflict = $"this process computes with the CUDA driver '{_path}'; '{wanted}' cannot be loaded beside it";
                // A second path is a mistake of the caller. To ask for the system's driver is none, but it is not available here.
                if (path is null) throw new PlatformNotSupportedException(conflict);
                throw new InvalidOperationException(conflict);
            }

            _handle = LoadFile(wanted, path is null && wanted == named);
            _path = wanted;
            NativeLibrary.SetDllImportResolver(typeof(CudaLibrary).Assembly, Resolve);
        }
    }

    private static nint LoadFile(string file, bool fromEnvironment)
    {
        try
        {
            return NativeLibrary.Load(file);
        }
        catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
        {
            string source = fromEnvironment ? $", named by {EnvironmentVariable}," : "";
            string hint = file == DefaultName ? $" (the NVIDIA driver installs it; {EnvironmentVariable} can name another file)" : "";
            throw new PlatformNotSupportedException(
                $"the CUDA driver library '{file}'{source} cannot be loaded{hint}: {LoaderReport(e.Message)}", e);
        }
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath) => name == Import ? _handle : 0;

    // The first line is advice of the runtime; the others are the loader's message for each path that it tried.
    internal static string LoaderReport(string text)
    {
        string[] lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return lines.Length > 1 ? string.Join("; ", lines[1..]) : text;
    }
}
