// The values of CUresult that the emulated driver returns.
#pragma once

namespace emulated {

enum Result : int
{
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    NotInitialized = 3,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidImage = 200,
    InvalidContext = 201,
    UnsupportedPtx = 222,
    NotFound = 500,
    IllegalAddress = 700,
    MisalignedAddress = 716,
    LaunchFailed = 719,
    NotSupported = 801
};

}  // namespace emulated
