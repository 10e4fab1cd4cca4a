// The one symbol of libstdc++ 13 that TorchSharp's native wrapper needs, for systems with libstdc++ 12 (Debian 12).
// Preload this library; see glibcxx_compat.py.
//
//   build  g++ -O2 -shared -fPIC iosinit.cpp -o libiosinit.so
#include <ios>

extern "C" void _ZSt21ios_base_library_initv() {
    static std::ios_base::Init init;
}
