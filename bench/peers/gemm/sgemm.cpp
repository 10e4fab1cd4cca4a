// OpenBLAS. In NHWC a 1x1 convolution of stride 1 is a matrix product, and so are its two gradients. This program
// measures those layers of the list. The others would first need copies of their patches (im2col); they are skipped.
//
//   build  g++ -O2 -std=c++17 sgemm.cpp -lopenblas -o sgemm
//   run    OPENBLAS_NUM_THREADS=2 ./sgemm BATCH BUDGET < shapes.csv     prints
//          conv,openblas,gemm,SHAPE,PASS,GFLOPS_MEDIAN,GFLOPS_BEST,MxNxK
//   or     OPENBLAS_NUM_THREADS=2 ./sgemm SIZE                          a square product, the ceiling of OpenBLAS:
//          gemm,openblas,SIZE,THREADS,GFLOPS_MEDIAN,GFLOPS_BEST
#include "../measure.hpp"
#include <cblas.h>
#include <memory>

namespace {

using Floats = std::unique_ptr<float, decltype(&std::free)>;

Floats matrix(std::size_t count) {
    constexpr std::size_t page = 4096;
    auto *values = static_cast<float *>(std::aligned_alloc(page, (count * sizeof(float) + page - 1) / page * page));
    if (!values) throw std::bad_alloc();
    fill_random(values, count);
    return {values, &std::free};
}

// C (m x n) = A (m x k) * B (k x n), either transposed in memory.
struct Product {
    int m, n, k;
    bool transposed_a, transposed_b;

    Timing time(double budget) const {
        auto a = matrix(std::size_t(m) * k), b = matrix(std::size_t(k) * n), c = matrix(std::size_t(m) * n);
        return time_calls(
            [&] {
                cblas_sgemm(CblasRowMajor, transposed_a ? CblasTrans : CblasNoTrans,
                            transposed_b ? CblasTrans : CblasNoTrans, m, n, k, 1, a.get(), transposed_a ? m : k,
                            b.get(), transposed_b ? k : n, 0, c.get(), n);
            },
            budget);
    }

    std::string sizes() const { return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k); }
};

void layer(const LayerShape &s, int batch, double budget) {
    if (s.r != 1 || s.stride != 1 || s.padding != 0) return;
    int pixels = batch * s.h * s.h;
    Product forward{pixels, s.k, s.c, false, false}, data{pixels, s.c, s.k, false, true},
        weights{s.c, s.k, pixels, true, false};
    print_conv("openblas", "gemm", s, "fwd", batch, forward.time(budget), forward.sizes());
    print_conv("openblas", "gemm", s, "bwd_data", batch, data.time(budget), data.sizes());
    print_conv("openblas", "gemm", s, "bwd_weights", batch, weights.time(budget), weights.sizes());
}

void square(int size) {
    Timing t = Product{size, size, size, false, false}.time(2);
    double flops = 2.0 * size * size * size;
    std::printf("gemm,openblas,%d,%d,%.1f,%.1f\n", size, openblas_get_num_threads(), flops / t.median / 1e9,
                flops / t.best / 1e9);
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3) {
        std::fprintf(stderr, "usage: sgemm SIZE, or sgemm BATCH BUDGET < shapes.csv\n");
        return 2;
    }
    try {
        std::printf("# %s\n", openblas_get_config());
        if (argc == 2) {
            square(std::atoi(argv[1]));
            return 0;
        }
        for (const LayerShape &shape : read_shapes(std::cin))
            layer(shape, std::atoi(argv[1]), std::atof(argv[2]));
    } catch (const std::exception &e) {
        std::fprintf(stderr, "sgemm: %s\n", e.what());
        return 1;
    }
}
