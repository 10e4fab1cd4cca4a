using System.Text;

namespace FeedbackKernels.Interop;

/// <summary>A device that can run the kernels: found, new enough, with a driver that is new enough.</summary>
internal sealed unsafe class CudaDevice
{
    // The first that compiles PTX 8.0 and has every function that is called here.
    private const int OldestDriver = 12_000, OldestMajor = 8;

    private CudaDevice(int ordinal, int handle, int driverVersion)
    {
        Ordinal = ordinal;
        Handle = handle;
        DriverVersion = driverVersion;
        byte* name = stackalloc byte[128];
        Check(DriverApi.DeviceGetName(name, 128, handle), "cuDeviceGetName");
        Name = Encoding.UTF8.GetString(new ReadOnlySpan<byte>(name, 128)).TrimEnd('\0').Split('\0')[0];
        Check(DriverApi.DeviceGetAttribute(out int major, DeviceAttribute.ComputeCapabilityMajor, handle), "cuDeviceGetAttribute");
        Check(DriverApi.DeviceGetAttribute(out int minor, DeviceAttribute.ComputeCapabilityMinor, handle), "cuDeviceGetAttribute");
        Check(DriverApi.DeviceGetAttribute(out int multiprocessors, DeviceAttribute.MultiprocessorCount, handle), "cuDeviceGetAttribute");
        Check(DriverApi.DeviceTotalMem(out nuint bytes, handle), "cuDeviceTotalMem");
        Check(DriverApi.DeviceGetAttribute(out int pools, DeviceAttribute.MemoryPoolsSupported, handle), "cuDeviceGetAttribute");
        (Major, Minor, Multiprocessors, Bytes, HasMemoryPools) = (major, minor, multiprocessors, (long)bytes, pools != 0);
        if (Major < OldestMajor)
        {
            throw new PlatformNotSupportedException(
                $"device {ordinal}, {Name}, has compute capability {Major}.{Minor}; the CUDA kernels need {OldestMajor}.0 (Ampere) or newer");
        }
    }

    private CudaDevice(PaperDevice device)
    {
        (Name, Major, Minor, Multiprocessors) = (device.Name, device.Major, device.Minor, device.Multiprocessors);
        DriverVersion = OldestDriver;
        IsOnPaper = true;
    }

    /// <summary>Whether this is a device of <see cref="PaperDriver"/>.</summary>
    public bool IsOnPaper { get; }

    /// <summary>Number of the device, as the driver counts them.</summary>
    public int Ordinal { get; }

    public int Handle { get; }

    public string Name { get; }

    public int Major { get; }

    public int Minor { get; }

    public int Multiprocessors { get; }

    public long Bytes { get; }

    /// <summary>Whether memory can be allocated and freed in the order of a stream.</summary>
    public bool HasMemoryPools { get; }

    /// <summary>The newest CUDA version that the driver supports, as 1000 * major + 10 * minor.</summary>
    public int DriverVersion { get; }

    /// <summary><see cref="DriverVersion"/> as major.minor.</summary>
    public string DriverVersionText => VersionText(DriverVersion);

    /// <summary>The newest PTX version that the driver compiles (PTX ISA, release notes): 7.8 with CUDA 11.8, 8.0 with 12.0, 9.0 with 13.0.
    /// CUDA 12.6 has that of 12.5, and those after it one less than their own number.</summary>
    public string NewestPtx => VersionText(DriverVersion - 4000 - (DriverVersion is >= 12_060 and < 13_000 ? 10 : 0));

    /// <summary>The architecture whose PTX is used: sm_90a, which runs on Hopper alone, or else sm_80.</summary>
    public string Architecture => Major == 9 && Minor == 0 ? "sm_90a" : "sm_80";

    /// <summary>A device of <see cref="PaperDriver"/>.</summary>
    public static CudaDevice OnPaper(PaperDevice device) => new(device);

    /// <summary>Opens a device.</summary>
    /// <exception cref="PlatformNotSupportedException">The device cannot run the kernels; the message says why.</exception>
    public static CudaDevice Open(int ordinal, string? library)
    {
        CudaLibrary.Load(library);
        string driver = $"the CUDA driver '{CudaLibrary.LoadedPath}'";
        try
        {
            CudaResult result = DriverApi.Init(0);
            switch (result)
            {
                case CudaResult.Success:
                    break;
                case CudaResult.NoDevice:
                    throw new PlatformNotSupportedException($"{driver} finds no NVIDIA GPU on this machine (cuInit: CUDA_ERROR_NO_DEVICE)");
                case CudaResult.StubLibrary:
                    throw new PlatformNotSupportedException(
                        $"{driver} is the stub that a CUDA toolkit links against (cuInit: CUDA_ERROR_STUB_LIBRARY); " +
                        "the library of the NVIDIA driver has to come first where the loader looks");
                default:
                    throw new PlatformNotSupportedException(
                        $"{driver} does not start: cuInit gives {CudaException.NameOf(result)} ({(int)result})");
            }

            Check(DriverApi.DriverGetVersion(out int version), "cuDriverGetVersion");
            if (version < OldestDriver)
            {
                throw new PlatformNotSupportedException(
                    $"{driver} is for CUDA {VersionText(version)}; the kernels need one for CUDA {VersionText(OldestDriver)} or newer");
            }

            Check(DriverApi.DeviceGetCount(out int count), "cuDeviceGetCount");
            if (ordinal < 0 || ordinal >= count)
                throw new PlatformNotSupportedException($"{driver} has no device {ordinal}: there are {count}, numbered from 0");
            Check(DriverApi.DeviceGet(out int handle, ordinal), "cuDeviceGet");
            return new CudaDevice(ordinal, handle, version);
        }
        catch (EntryPointNotFoundException e)
        {
            throw new PlatformNotSupportedException($"{driver} is not what it seems, or is too old: {e.Message}", e);
        }
    }

    private static string VersionText(int version) => $"{version / 1000}.{version % 1000 / 10}";

    private static void Check(CudaResult result, string call) => CudaException.ThrowIfFailed(result, call, "looking for a device");
}
