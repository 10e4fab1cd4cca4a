// The weight mirror of the public code of Akrout et al. 2019 (github.com/makrout/Deep-Learning-without-Weight-Transport,
// fcnn/FCNN_WM.py), written again from its equations: MNIST, 784-500-10, sigmoids, cross-entropy, learning rate 0.05, batch 128.
//
//   build  g++ -O3 -march=native -ffast-math -std=c++17 mirror_mlp.cpp -o mirror_mlp
//   run    ./mirror_mlp DIR EPOCHS [SEED]         DIR: the four files of MNIST, unpacked; 3 s an epoch; prints
//          epoch,LOSS,TOP1,ANGLE,NORMS,MEANS      every 20 epochs and after the first three
// ANGLE is that between W and B of the output layer, in degrees, NORMS is |B| / |W|, and MEANS is B in units of the mean
// of Wᵀ over all steps. A mirror step adds 0.01 noise x response to B. Their code then divides B by its spread, but
// assigns the quotient to a local variable, so that B grows as long as the run lasts; here nothing divides it.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr int inputs = 784, hidden = 500, outputs = 10, batch = 128, train_images = 60000, test_images = 10000;
constexpr float learning_rate = 0.05f, mirror_rate = 0.01f, noise_amplitude = 0.1f;

// SplitMix64.
struct Random {
    uint64_t state;

    double uniform() {
        uint64_t z = state += 0x9E3779B97F4A7C15ull;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
        z = (z ^ z >> 27) * 0x94D049BB133111EBull;
        return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
    }

    double normal() {
        const double radius = std::sqrt(-2 * std::log(uniform() + 1e-300));
        return radius * std::cos(6.283185307179586 * uniform());
    }
};

// A column is an image: x[feature][image]. The gradient of W1 is faster with its transpose.
float W1[hidden][inputs], b1[hidden], W2[outputs][hidden], b2[outputs], B[hidden][outputs];
float x[inputs][batch], x_by_image[batch][inputs], h[hidden][batch], dh[hidden][batch], y[outputs][batch];
double sum_of_W2[hidden][outputs];

float sigmoid(float a) { return 1 / (1 + std::exp(-a)); }

std::vector<unsigned char> read(const std::string &path, long skip, long length) {
    std::vector<unsigned char> bytes(length);
    FILE *file = std::fopen(path.c_str(), "rb");
    if (!file || std::fseek(file, skip, SEEK_SET) != 0 || std::fread(bytes.data(), 1, length, file) != static_cast<size_t>(length)) {
        std::fprintf(stderr, "mirror_mlp: cannot read %ld bytes of '%s'\n", skip + length, path.c_str());
        std::exit(1);
    }
    std::fclose(file);
    return bytes;
}

struct Images {
    std::vector<unsigned char> pixels, labels;

    Images(const std::string &folder, const std::string &part, long count)
        : pixels(read(folder + "/" + part + "-images-idx3-ubyte", 16, count * inputs)),
          labels(read(folder + "/" + part + "-labels-idx1-ubyte", 8, count)) {}

    void take(long first, int count) const {
        for (int n = 0; n < count; n++)
            for (int i = 0; i < inputs; i++) x[i][n] = x_by_image[n][i] = pixels[(first + n) * inputs + i] / 255.f;
    }
};

// The sigmoid of a layer's W x + b.
template <int from, int to>
void respond(const float (&W)[to][from], const float (&b)[to], const float (&in)[from][batch], float (&out)[to][batch]) {
    constexpr int rows = 2;  // each input that is loaded serves this many sums
    static_assert(to % rows == 0);
    for (int j = 0; j < to; j += rows) {
        float a[rows][batch];
        for (int q = 0; q < rows; q++)
            for (float &value : a[q]) value = b[j + q];
        for (int i = 0; i < from; i++)
            for (int q = 0; q < rows; q++)
                for (int n = 0; n < batch; n++) a[q][n] += W[j + q][i] * in[i][n];
        for (int q = 0; q < rows; q++)
            for (int n = 0; n < batch; n++) out[j + q][n] = sigmoid(a[q][n]);
    }
}

void forward() {
    respond(W1, b1, x, h);
    respond(W2, b2, h, y);
}

// The loss of a batch; y becomes the error.
double error_of(const unsigned char *labels) {
    double loss = 0;
    for (int k = 0; k < outputs; k++)
        for (int n = 0; n < batch; n++) {
            const float target = labels[n] == k;
            loss -= std::log(target != 0 ? y[k][n] : 1 - y[k][n]);
            y[k][n] -= target;
        }
    return loss;
}

void send_error_back() {
    for (int j = 0; j < hidden; j++) {
        float a[batch] = {};
        for (int k = 0; k < outputs; k++)
            for (int n = 0; n < batch; n++) a[n] += B[j][k] * y[k][n];
        for (int n = 0; n < batch; n++) dh[j][n] = a[n] * h[j][n] * (1 - h[j][n]);
    }
}

void update() {
    constexpr float rate = learning_rate / batch;
    for (int k = 0; k < outputs; k++) {
        float bias = 0;
        for (int n = 0; n < batch; n++) bias += y[k][n];
        for (int j = 0; j < hidden; j++) {
            float sum = 0;
            for (int n = 0; n < batch; n++) sum += y[k][n] * h[j][n];
            W2[k][j] -= rate * sum;
        }
        b2[k] -= rate * bias;
    }
    for (int j = 0; j < hidden; j++) {
        float sums[inputs] = {}, bias = 0;
        for (int n = 0; n < batch; n++) {
            bias += dh[j][n];
            for (int i = 0; i < inputs; i++) sums[i] += dh[j][n] * x_by_image[n][i];
        }
        for (int i = 0; i < inputs; i++) W1[j][i] -= rate * sums[i];
        b1[j] -= rate * bias;
    }
}

void mirror(Random &random) {
    static float noise[hidden][batch], response[outputs][batch];
    for (auto &row : noise)
        for (float &value : row) value = static_cast<float>(noise_amplitude * (random.uniform() - 0.5));
    respond(W2, b2, noise, response);
    for (int j = 0; j < hidden; j++)
        for (int k = 0; k < outputs; k++) {
            float sum = 0;
            for (int n = 0; n < batch; n++) sum += noise[j][n] * response[k][n];
            B[j][k] += mirror_rate * sum;
        }
}

void initialise(Random &random) {
    const double deviation1 = std::sqrt(1. / (inputs + hidden)), deviation2 = std::sqrt(1. / (hidden + outputs));
    for (int j = 0; j < hidden; j++) {
        b1[j] = static_cast<float>(deviation1 * random.normal());
        for (float &weight : W1[j]) weight = static_cast<float>(deviation1 * random.normal());
    }
    for (int k = 0; k < outputs; k++) {
        b2[k] = static_cast<float>(deviation2 * random.normal());
        for (int j = 0; j < hidden; j++) {
            W2[k][j] = static_cast<float>(deviation2 * random.normal());
            B[j][k] = static_cast<float>(deviation2 * random.normal());
        }
    }
}

double train(const Images &images, Random &random) {
    double loss = 0;
    int steps = train_images / batch;
    for (int step = 0; step < steps; step++) {
        images.take(static_cast<long>(step) * batch, batch);
        forward();
        loss += error_of(&images.labels[static_cast<long>(step) * batch]);
        send_error_back();
        update();
        mirror(random);
        for (int j = 0; j < hidden; j++)
            for (int k = 0; k < outputs; k++) sum_of_W2[j][k] += W2[k][j];
    }
    return loss / (static_cast<double>(steps) * batch);
}

double top1(const Images &images) {
    int right = 0;
    for (int first = 0; first < test_images; first += batch) {
        const int count = test_images - first < batch ? test_images - first : batch;
        images.take(first, count);
        forward();
        for (int n = 0; n < count; n++) {
            int best = 0;
            for (int k = 1; k < outputs; k++)
                if (y[k][n] > y[best][n]) best = k;
            right += best == images.labels[first + n];
        }
    }
    return 100. * right / test_images;
}

void print(int epoch, double loss, double accuracy) {
    const double steps = static_cast<double>(epoch) * (train_images / batch);
    double bb = 0, ww = 0, bw = 0, mm = 0, bm = 0;
    for (int j = 0; j < hidden; j++)
        for (int k = 0; k < outputs; k++) {
            const double b = B[j][k], w = W2[k][j], mean = sum_of_W2[j][k] / steps;
            bb += b * b, ww += w * w, bw += b * w, mm += mean * mean, bm += b * mean;
        }
    const double angle = std::acos(bw / std::sqrt(bb * ww)) * 57.29578;
    std::printf("%d,%.5f,%.2f,%.1f,%.2f,%.2f\n", epoch, loss, accuracy, angle, std::sqrt(bb / ww), bm / mm);
    std::fflush(stdout);
}

}

int main(int count, char **arguments) {
    const int epochs = count > 2 ? std::atoi(arguments[2]) : 0;
    if (epochs < 1 || count > 4) {
        std::fprintf(stderr, "usage: mirror_mlp DIR EPOCHS [SEED]\n");
        return 2;
    }
    const Images train_set(arguments[1], "train", train_images), test_set(arguments[1], "t10k", test_images);
    Random random{count > 3 ? std::strtoull(arguments[3], nullptr, 10) : 1111};
    initialise(random);
    // One epoch of mirror steps before training.
    for (int step = 0; step < train_images / batch; step++) mirror(random);
    for (int epoch = 1; epoch <= epochs; epoch++) {
        const double loss = train(train_set, random);
        const double accuracy = top1(test_set);
        if (epoch <= 3 || epoch % 20 == 0) print(epoch, loss, accuracy);
    }
}
