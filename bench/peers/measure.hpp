// Shared by the C++ peers: timing, the list of layer shapes, and random input.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

// Seconds per call: median and best of many calls.
struct Timing {
    double median, best;
};

inline double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Measures calls until the budget is used up. Warm-up calls come first: at least two, and for 0.3 s or half of the
// budget, whichever is less. The same method as Timing.Of of our benchmarks.
template <class Action>
Timing time_calls(Action action, double budget_seconds) {
    constexpr std::size_t fewest = 7, most = 200;
    double warm_up = seconds_now();
    for (int call = 0; call < 2 || seconds_now() - warm_up < std::min(0.3, budget_seconds / 2); call++)
        action();
    std::vector<double> seconds;
    for (double total = 0; (total < budget_seconds || seconds.size() < fewest) && seconds.size() < most;) {
        double start = seconds_now();
        action();
        seconds.push_back(seconds_now() - start);
        total += seconds.back();
    }
    std::sort(seconds.begin(), seconds.end());
    return {seconds[seconds.size() / 2], seconds[0]};
}

// A convolution of a model, with square maps and filters: C to K channels, R x R, on H x H.
struct LayerShape {
    std::string name;
    int c, k, r, stride, padding, h;

    int p() const { return (h + 2 * padding - r) / stride + 1; }

    // FLOP of the direct convolution: 2 * N*P*P*K * C*R*R, also if Winograd computes less.
    double flops(int n) const { return 2.0 * n * p() * p() * k * c * r * r; }
};

// Reads lines of name,C,K,R,stride,padding,H, the output of the command "shapes" of our benchmarks.
inline std::vector<LayerShape> read_shapes(std::istream &input) {
    std::vector<LayerShape> shapes;
    for (std::string line; std::getline(input, line);) {
        if (line.empty() || line[0] == '#') continue;
        std::istringstream fields(line);
        LayerShape s;
        char comma[5];
        std::getline(fields, s.name, ',');
        fields >> s.c >> comma[0] >> s.k >> comma[1] >> s.r >> comma[2] >> s.stride >> comma[3] >> s.padding >>
            comma[4] >> s.h;
        if (!fields) throw std::runtime_error("shape '" + line + "': expected name,C,K,R,stride,padding,H");
        shapes.push_back(s);
    }
    return shapes;
}

// Fills with numbers in [-1/2, 1/2): with zeros the chip would draw less power and clock higher.
inline void fill_random(float *values, std::size_t count) {
    unsigned state = 1;
    for (std::size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = static_cast<float>((state >> 8) & 0xffff) / 65536.f - 0.5f;
    }
}

inline void print_conv(const std::string &source, const std::string &mode, const LayerShape &shape, const char *pass,
                       int n, const Timing &t, const std::string &detail) {
    double flops = shape.flops(n);
    std::printf("conv,%s,%s,%s,%s,%.1f,%.1f,%s\n", source.c_str(), mode.c_str(), shape.name.c_str(), pass,
                flops / t.median / 1e9, flops / t.best / 1e9, detail.c_str());
    std::fflush(stdout);
}
