namespace FeedbackKernels.Interop;

/// <summary>CUresult: what a call of the driver returns. Only the values that this library tells apart have names here.</summary>
internal enum CudaResult
{
    Success = 0,
    OutOfMemory = 2,
    StubLibrary = 34,
    NoDevice = 100,
    InvalidContext = 201,
    NoBinaryForDevice = 209,
    UnsupportedPtxVersion = 222,
    NotReady = 600,
}
