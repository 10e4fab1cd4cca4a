// The two ceilings of the machine: fused multiply-adds per second, and bytes per second to and from memory.
//
//   build  g++ -O3 -march=native -std=c++17 -fopenmp peak.cpp -o peak         (needs AVX2 and FMA)
//   run    OMP_NUM_THREADS=2 OMP_PROC_BIND=true ./peak                         prints, for one thread and for all,
//          peak,KIND,THREADS,GFLOPS_MEDIAN,GFLOPS_BEST           KIND: fma512, fma256
//          bandwidth,KIND,THREADS,GBPS_MEDIAN,GBPS_BEST          KIND: read, triad, triad-streaming
// triad (a = b + 3c) counts 12 bytes per element, those of the program. A normal store also reads the line that it
// overwrites; a streaming store does not.
#include "../measure.hpp"
#include <immintrin.h>
#include <memory>
#include <omp.h>

namespace {

void print(const char *what, const char *kind, int threads, double work, const Timing &t) {
    std::printf("%s,%s,%d,%.1f,%.1f\n", what, kind, threads, work / t.median / 1e9, work / t.best / 1e9);
    std::fflush(stdout);
}

// Twelve independent chains: two units with a latency of four to five cycles need eight to ten in flight. Assembly, so
// that the compiler cannot fold multiplications of zeros.
#define TWELVE_FMAS(constraint, x, a)                                                                                  \
    asm volatile("vfmadd231ps %12,%12,%0\n vfmadd231ps %12,%12,%1\n vfmadd231ps %12,%12,%2\n"                          \
                 "vfmadd231ps %12,%12,%3\n vfmadd231ps %12,%12,%4\n vfmadd231ps %12,%12,%5\n"                          \
                 "vfmadd231ps %12,%12,%6\n vfmadd231ps %12,%12,%7\n vfmadd231ps %12,%12,%8\n"                          \
                 "vfmadd231ps %12,%12,%9\n vfmadd231ps %12,%12,%10\n vfmadd231ps %12,%12,%11\n"                        \
                 : "+" constraint(a[0]), "+" constraint(a[1]), "+" constraint(a[2]), "+" constraint(a[3]),             \
                   "+" constraint(a[4]), "+" constraint(a[5]), "+" constraint(a[6]), "+" constraint(a[7]),             \
                   "+" constraint(a[8]), "+" constraint(a[9]), "+" constraint(a[10]), "+" constraint(a[11])            \
                 : constraint(x))

constexpr long fma_rounds = 1'000'000;
constexpr double chains = 12, peak_budget = 1.5, bandwidth_budget = 1;

void fma256() {
    __m256 x = _mm256_setzero_ps(), a[12] = {};
    for (long i = 0; i < fma_rounds; i++)
        TWELVE_FMAS("x", x, a);
}

#ifdef __AVX512F__
void fma512() {
    __m512 x = _mm512_setzero_ps(), a[12] = {};
    for (long i = 0; i < fma_rounds; i++)
        TWELVE_FMAS("v", x, a);
}
#endif

void measure_peak(const char *kind, void (*kernel)(), int lanes, int threads) {
    Timing t = time_calls(
        [&] {
#pragma omp parallel num_threads(threads)
            kernel();
        },
        peak_budget);
    print("peak", kind, threads, 2.0 * lanes * chains * fma_rounds * threads, t);
}

// Three arrays of 256 MB: larger than every cache.
constexpr std::size_t length = std::size_t(64) << 20;

class Arrays {
public:
    Arrays() {
        // First touched by the threads that will use them, so that each part is in memory near its thread.
#pragma omp parallel for schedule(static)
        for (std::size_t i = 0; i < length; i++) {
            a_[i] = 0;
            b_[i] = 1;
            c_[i] = 2;
        }
    }

    ~Arrays() {
        std::free(a_);
        std::free(b_);
        std::free(c_);
    }

    void measure(int threads) {
        print("bandwidth", "read", threads, 4.0 * length, time_calls([&] { read(threads); }, bandwidth_budget));
        print("bandwidth", "triad", threads, 12.0 * length, time_calls([&] { triad(threads); }, bandwidth_budget));
        print("bandwidth", "triad-streaming", threads, 12.0 * length,
              time_calls([&] { triad_streaming(threads); }, bandwidth_budget));
    }

private:
    static float *allocate() {
        auto *values = static_cast<float *>(std::aligned_alloc(4096, length * sizeof(float)));
        if (!values) throw std::bad_alloc();
        return values;
    }

    void read(int threads) {
        float total = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : total)
        for (std::size_t i = 0; i < length; i += 32) {
            __m256 s = _mm256_add_ps(_mm256_add_ps(_mm256_load_ps(c_ + i), _mm256_load_ps(c_ + i + 8)),
                                     _mm256_add_ps(_mm256_load_ps(c_ + i + 16), _mm256_load_ps(c_ + i + 24)));
            total += s[0];
        }
        sink_ = total;
    }

    void triad(int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (std::size_t i = 0; i < length; i += 8)
            _mm256_store_ps(a_ + i, sum(i));
    }

    void triad_streaming(int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
        for (std::size_t i = 0; i < length; i += 8)
            _mm256_stream_ps(a_ + i, sum(i));
    }

    __m256 sum(std::size_t i) const {
        return _mm256_fmadd_ps(_mm256_load_ps(c_ + i), _mm256_set1_ps(3.f), _mm256_load_ps(b_ + i));
    }

    float *a_ = allocate(), *b_ = allocate(), *c_ = allocate();
    volatile float sink_ = 0; // Keeps the sum, and with it the reads.
};

} // namespace

int main() {
    std::vector<int> thread_counts{1};
    if (omp_get_max_threads() > 1) thread_counts.push_back(omp_get_max_threads());
    for (int threads : thread_counts) {
#ifdef __AVX512F__
        measure_peak("fma512", fma512, 16, threads);
#endif
        measure_peak("fma256", fma256, 8, threads);
    }
    Arrays arrays;
    for (int threads : thread_counts)
        arrays.measure(threads);
}
