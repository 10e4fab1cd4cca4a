// oneDNN: forward, data gradient and weight gradient of convolutions, fp32. Reorders are not timed.
//
//   build  g++ -O2 -std=c++17 onednn_conv.cpp -ldnnl -fopenmp -o onednn_conv        (oneDNN 2.x or 3.x)
//   run    OMP_NUM_THREADS=2 OMP_PROC_BIND=true ./onednn_conv BATCH MODE BUDGET < shapes.csv
//   MODE   any        direct convolution, oneDNN chooses the layouts
//          nhwc       direct convolution, activations in NHWC, the layout of our interface
//          winograd   Winograd convolution, oneDNN chooses the layouts; unsupported shapes are skipped
//          auto       oneDNN chooses algorithm and layouts
//   prints conv,onednn-VERSION,MODE,SHAPE,PASS,GFLOPS_MEDIAN,GFLOPS_BEST,IMPLEMENTATION
#include "../measure.hpp"
#include <dnnl.hpp>
#include <unordered_map>

using namespace dnnl;
using tag = memory::format_tag;

namespace {

struct Mode {
    std::string name;
    algorithm convolution;
    tag activations;
};

Mode parse_mode(const std::string &name) {
    if (name == "any") return {name, algorithm::convolution_direct, tag::any};
    if (name == "nhwc") return {name, algorithm::convolution_direct, tag::nhwc};
    if (name == "winograd") return {name, algorithm::convolution_winograd, tag::any};
    if (name == "auto") return {name, algorithm::convolution_auto, tag::any};
    throw std::runtime_error("mode '" + name + "': expected any, nhwc, winograd or auto");
}

std::string version() {
    const version_t *v = dnnl_version();
    return "onednn-" + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
}

class Bench {
public:
    Bench(int n, Mode mode, double budget) : n_(n), mode_(std::move(mode)), budget_(budget) {}

    void run(const LayerShape &s) {
        auto f32 = memory::data_type::f32;
        memory::dims strides{s.stride, s.stride}, padding{s.padding, s.padding};
        memory::desc x({n_, s.c, s.h, s.h}, f32, mode_.activations), w({s.k, s.c, s.r, s.r}, f32, tag::any),
            y({n_, s.k, s.p(), s.p()}, f32, mode_.activations);
        algorithm a = mode_.convolution;
        const auto training = prop_kind::forward_training;
#if DNNL_VERSION_MAJOR >= 3
        convolution_forward::primitive_desc forward(engine_, training, a, x, w, y, strides, padding, padding);
        convolution_backward_data::primitive_desc data(engine_, a, x, w, y, strides, padding, padding, forward);
        convolution_backward_weights::primitive_desc weights(engine_, a, x, w, y, strides, padding, padding, forward);
#else
        convolution_forward::primitive_desc forward({training, a, x, w, y, strides, padding, padding}, engine_);
        convolution_backward_data::primitive_desc data({a, x, w, y, strides, padding, padding}, engine_, forward);
        convolution_backward_weights::primitive_desc weights({a, x, w, y, strides, padding, padding}, engine_, forward);
#endif
        measure(s, "fwd", forward.impl_info_str(), convolution_forward(forward),
                {{DNNL_ARG_SRC, forward.src_desc()},
                 {DNNL_ARG_WEIGHTS, forward.weights_desc()},
                 {DNNL_ARG_DST, forward.dst_desc()}});
        measure(s, "bwd_data", data.impl_info_str(), convolution_backward_data(data),
                {{DNNL_ARG_DIFF_DST, data.diff_dst_desc()},
                 {DNNL_ARG_WEIGHTS, data.weights_desc()},
                 {DNNL_ARG_DIFF_SRC, data.diff_src_desc()}});
        measure(s, "bwd_weights", weights.impl_info_str(), convolution_backward_weights(weights),
                {{DNNL_ARG_DIFF_DST, weights.diff_dst_desc()},
                 {DNNL_ARG_SRC, weights.src_desc()},
                 {DNNL_ARG_DIFF_WEIGHTS, weights.diff_weights_desc()}});
    }

private:
    void measure(const LayerShape &s, const char *pass, const std::string &implementation, const primitive &convolution,
                 const std::unordered_map<int, memory::desc> &descriptions) {
        std::unordered_map<int, memory> operands;
        for (const auto &d : descriptions) {
            memory operand(d.second, engine_);
            fill_random(static_cast<float *>(operand.get_data_handle()), d.second.get_size() / sizeof(float));
            operands.emplace(d.first, operand);
        }
        Timing t = time_calls(
            [&] {
                convolution.execute(stream_, operands);
                stream_.wait();
            },
            budget_);
        print_conv(version(), mode_.name, s, pass, n_, t, implementation);
    }

    int n_;
    Mode mode_;
    double budget_;
    engine engine_{engine::kind::cpu, 0};
    stream stream_{engine_};
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 4) {
        std::fprintf(stderr, "usage: onednn_conv BATCH any|nhwc|winograd|auto BUDGET < shapes.csv\n");
        return 2;
    }
    try {
        Bench bench(std::atoi(argv[1]), parse_mode(argv[2]), std::atof(argv[3]));
        for (const LayerShape &shape : read_shapes(std::cin)) {
            try {
                bench.run(shape);
            } catch (const dnnl::error &e) {
                if (e.status != dnnl_unimplemented) throw;
                std::printf("# %s %s: %s\n", shape.name.c_str(), argv[2], e.what());
            }
        }
    } catch (const std::exception &e) {
        std::fprintf(stderr, "onednn_conv: %s\n", e.what());
        return 1;
    }
}
