#!/usr/bin/python3
"""Computes the expected results of the tests with NumPy and PyTorch, from the documentation of each operation alone.

    apt-get install -y --no-install-recommends python3-numpy python3-torch
    /usr/bin/python3 make.py            writes operations.json, random.json, schedules.json, runs.json to its folder

The output is committed; the tests read only the output. This script neither calls nor reads FeedbackKernels. Tensors are in
the layouts of the project (NHWC, [R][S][C][K], [R][S][K][C]) in the files, and in PyTorch's layouts inside this script.
"""
import json
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

FOLDER = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)


# ---- Random numbers: Philox4x32-10 (Salmon et al., SC 2011), Box-Muller, Hadamard rows ------------------------------

MASK = 0xFFFFFFFF
FORWARD_WEIGHTS, FEEDBACK_WEIGHTS, MIRROR_NOISE, MIRROR_ORDER, MIRROR_SIGNS, SIGN_MAGNITUDES, SAMPLE_ORDER, AUGMENTATION = range(1, 9)
USER = 10


def philox(counter, key):
    """Ten rounds; counter is four words, key is 64 bits."""
    c, k = list(counter), [key & MASK, key >> 32]
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


# The published vectors of the Random123 distribution (kat_vectors).
assert philox([0, 0, 0, 0], 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0A4093822) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def words(seed, purpose, layer, step, count, first_block=0):
    """The stream of a key: block i has the counter (i, purpose, layer, step)."""
    blocks = (philox([first_block + i, purpose, layer, step], seed) for i in range((count + 3) // 4))
    return [word for block in blocks for word in block][:count]


def unit(word):
    return (word >> 8) / 2.0 ** 24


def gaussian(seed, purpose, layer, step, count, deviation, first_block=0):
    """Box-Muller: two words give two numbers."""
    w = words(seed, purpose, layer, step, 2 * ((count + 1) // 2), first_block)
    values = []
    for a, b in zip(w[0::2], w[1::2]):
        radius = deviation * math.sqrt(-2 * math.log(1 - unit(a)))
        values += [radius * math.cos(2 * math.pi * unit(b)), radius * math.sin(2 * math.pi * unit(b))]
    return np.array(values[:count])


def uniform(seed, purpose, layer, step, count, low, high):
    return np.array([low + (high - low) * unit(w) for w in words(seed, purpose, layer, step, count)])


class Sequence:
    """Numbers drawn one after another."""

    def __init__(self, seed, purpose, layer=0, step=0):
        self.key, self.next = (seed, purpose, layer, step), 0

    def integer(self, bound):
        block = philox([self.next // 4, *self.key[1:]], self.key[0])
        word = block[self.next % 4]
        self.next += 1
        return word * bound >> 32


def rotate(x, by):
    return (x << by | x >> (32 - by)) & MASK


def permute_bits(x, bits, key0, key1):
    mask, half = (1 << bits) - 1, (bits + 1) // 2
    x = (x * (key0 | 1) + key1) & mask
    x ^= x >> half
    x = (x * (rotate(key1, 7) | 1) + rotate(key0, 13)) & mask
    x ^= x >> half
    x = (x * 0x9E3779B1 + (key0 ^ key1)) & mask
    x ^= x >> half
    return x & mask


def permute(x, matrix, key0, key1):
    """Both parts of an index into a Kronecker product."""
    small, sylvester = (len(factor) for factor in matrix)
    paley, x = divmod(x, sylvester)
    x = permute_bits(x, sylvester.bit_length() - 1, (key0 + paley * 0x9E3779B9) & MASK, key1)
    turn = (x ^ key0) * 0x9E3779B1 & MASK
    turn = (turn ^ turn >> 16) * 0x85EBCA6B & MASK
    return (paley + (turn * small >> 32)) % small * sylvester + x


def sylvester(order):
    h = np.array([[1]])
    while len(h) < order:
        h = np.block([[h, h], [h, -h]])
    return h


def paley(q):
    """Paley's second construction (J. Math. and Phys. 12, 1933), for a prime q = 1 mod 4: 2 (q + 1) rows."""
    squares = {x * x % q for x in range(1, q)}
    s = np.ones((q + 1, q + 1), dtype=int)
    for i in range(q + 1):
        for j in range(q + 1):
            if i == j: s[i, j] = 0
            elif i > 0 and j > 0: s[i, j] = 1 if (i - j) % q in squares else -1
    return np.kron(s, [[1, 1], [1, -1]]) + np.kron(np.eye(q + 1, dtype=int), [[1, -1], [-1, -1]])


def hadamard(length):
    """The smallest of at least so many rows, as the factors of a Kronecker product."""
    factors = []
    for small in [np.array([[1]]), paley(5), paley(13), paley(17)]:
        order = 1
        while len(small) * order < length: order *= 2
        factors.append((small, sylvester(order)))
    small, large = min(factors, key=lambda f: len(f[0]) * len(f[1]))
    h = np.kron(small, large)
    assert (h @ h.T == len(h) * np.eye(len(h))).all()
    return small, large


def sign_bits(seed, purpose, layer, step, count):
    w = words(seed, purpose, layer, step, (count + 31) // 32)
    return np.array([1 - 2 * (w[i // 32] >> (i % 32) & 1) for i in range(count)])


def sign_noise(length, deviation, seed, layer, sample):
    return deviation * sign_bits(seed, MIRROR_NOISE, layer, sample, length)


def balanced_noise(length, deviation, seed, layer, sample):
    matrix = hadamard(length)
    h = np.kron(*matrix)
    cycle, place = divmod(sample, len(h))
    order = philox([0, MIRROR_ORDER, layer, cycle], seed)
    row = permute(place, matrix, order[0], order[1])
    columns = [permute(i, matrix, order[2], order[3]) for i in range(length)]
    return deviation * sign_bits(seed, MIRROR_SIGNS, layer, cycle, length) * h[row, columns]


def shuffled(count, seed, epoch):
    """Fisher-Yates from the end."""
    order, draw = list(range(count)), Sequence(seed, SAMPLE_ORDER, 0, epoch)
    for i in range(count - 1, 0, -1):
        j = draw.integer(i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def draws(seed, epoch, reach, numbers):
    result = []
    for number in numbers:
        draw = Sequence(seed, AUGMENTATION, epoch, number)
        result.append([draw.integer(2 * reach + 1) - reach, draw.integer(2 * reach + 1) - reach, draw.integer(2)])
    return result


def random_answers():
    seed = 0x0123456789ABCDEF
    noise = [
        {"kind": kind, "length": length, "deviation": 0.5, "seed": seed, "layer": layer, "sample": sample, "values": make(length, 0.5, seed, layer, sample)}
        for length, layer, sample in [(1, 0, 0), (2, 1, 3), (3, 2, 1), (8, 6, 5), (12, 7, 13), (27, 3, 0), (27, 3, 27), (27, 3, 28), (144, 4, 700), (200, 5, 1000), (250, 8, 300)]
        for kind, make in [
            ("sign", sign_noise), ("balanced", balanced_noise),
            ("gaussian", lambda n, d, s, l, g: gaussian(s, MIRROR_NOISE, l, g, n, d))]
    ]
    return {
        "blocks": [{"seed": s, "purpose": p, "layer": l, "step": t, "index": i, "words": philox([i, p, l, t], s)}
                   for s, p, l, t, i in [(1, 1, 0, 0, 0), (seed, 3, 7, 9, 2), (2 ** 64 - 1, 10, 5, 2 ** 32 - 1, 12345)]],
        "gaussian": {"seed": seed, "layer": 7, "step": 9, "firstBlock": 5, "deviation": 1.5, "values": gaussian(seed, USER, 7, 9, 13, 1.5, 5)},
        "uniform": {"seed": seed, "layer": 7, "step": 9, "low": -1, "high": 3, "values": uniform(seed, USER, 7, 9, 11, -1, 3)},
        "noise": noise,
        "orders": [{"seed": s, "epoch": e, "order": shuffled(11, s, e)} for s, e in [(1, 1), (1, 2), (2, 1)]],
        "draws": [{"seed": s, "epoch": e, "reach": r, "numbers": [0, 1, 2, 50_000], "draws": draws(s, e, r, [0, 1, 2, 50_000])}
                  for s, e, r in [(1, 1, 4), (1, 2, 4), (9, 1, 2), (9, 1, 0)]],
    }


# ---- Operations ------------------------------------------------------------------------------------------------------

def numbers(*sizes, seed, scale=1.0):
    """Multiples of 1/16: exact in every type, short in the file."""
    return torch.tensor(np.round(np.random.RandomState(seed).standard_normal(sizes) * 16 * scale) / 16)


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def kcrs(w):
    return w.permute(3, 2, 0, 1)


def rsck(w):
    return w.permute(2, 3, 1, 0)


def convolutions():
    result = []
    for n, h, w, c, k, r, s, stride, padding in [(2, 7, 5, 3, 4, 3, 3, 2, 1), (1, 6, 6, 2, 5, 3, 3, 1, 1), (2, 5, 6, 3, 2, 1, 1, 2, 0), (3, 1, 1, 7, 4, 1, 1, 1, 0), (1, 9, 9, 2, 3, 5, 3, 3, 2)]:
        x, weights = numbers(n, h, w, c, seed=1), numbers(r, s, c, k, seed=2)
        x.requires_grad_(), weights.requires_grad_()
        y = nhwc(F.conv2d(nchw(x), kcrs(weights), stride=stride, padding=padding))
        dy = numbers(*y.shape, seed=3)
        dx, dw = torch.autograd.grad(y, (x, weights), dy)
        # Separate feedback weights: the error that W would send if it were B transposed.
        b = numbers(r, s, k, c, seed=4)
        x2 = x.detach().clone().requires_grad_()
        y2 = F.conv2d(nchw(x2), kcrs(b.permute(0, 1, 3, 2)), stride=stride, padding=padding)
        feedback, = torch.autograd.grad(y2, x2, nchw(dy))
        result.append({"shape": [n, h, w, c, k, r, s, stride, padding], "x": x, "w": weights, "b": b, "dy": dy, "y": y, "dx": dx, "dw": dw, "feedback": feedback})
    return result


def poolings():
    result = []
    for n, h, w, c, r, s, stride, padding in [(2, 5, 6, 3, 3, 2, 2, 1), (1, 4, 4, 2, 2, 2, 2, 0), (1, 7, 5, 17, 3, 3, 2, 1), (2, 3, 4, 2, 3, 4, 1, 0), (1, 3, 3, 1, 3, 3, 1, 1)]:
        x = numbers(n, h, w, c, seed=5).requires_grad_()
        average = nhwc(F.avg_pool2d(nchw(x), (r, s), stride, padding, count_include_pad=False))
        dy = numbers(*average.shape, seed=6)
        average_dx, = torch.autograd.grad(average, x, dy)
        largest, places = F.max_pool2d(nchw(x), (r, s), stride, padding, return_indices=True)
        max_dx, = torch.autograd.grad(largest, x, nchw(dy))
        result.append({"shape": [n, h, w, c, r, s, stride, padding], "x": x, "dy": dy, "average": average, "averageDx": average_dx, "max": nhwc(largest), "positions": nhwc(places), "maxDx": max_dx})
    return result


def statistics():
    result = []
    for rows, channels, momentum in [(6, 3, 0.1), (2, 18, 0.1), (37, 5, 0.3)]:
        x = numbers(rows, channels, seed=7) * 3 + 5
        mean, variance = numbers(channels, seed=8), numbers(channels, seed=9).abs() + 1
        running_mean, running_variance = mean.clone(), variance.clone()
        F.batch_norm(x, running_mean, running_variance, training=True, momentum=momentum)
        result.append({
            "rows": rows, "channels": channels, "momentum": momentum, "x": x, "runningMeanBefore": mean, "runningVarianceBefore": variance,
            "mean": x.mean(0), "variance": x.var(0, unbiased=False), "runningMean": running_mean, "runningVariance": running_variance})
    return result


def batch_norms():
    result = []
    for relu, joined in [("none", False), ("before", False), ("after", False), ("after", True)]:
        rows, channels = 9, 5
        # Away from the kink of the ReLU, where rounding would change the gradient.
        x = numbers(rows, channels, seed=10) + 0.03
        gamma, beta = numbers(channels, seed=11) + 1.5, numbers(channels, seed=12)
        residual, dy = numbers(rows, channels, seed=13), numbers(rows, channels, seed=14)
        leaves = [t.requires_grad_() for t in (x, gamma, beta, residual)]
        seen = torch.relu(x) if relu == "before" else x
        y = F.batch_norm(seen, None, None, gamma, beta, training=True, eps=1e-5)
        if joined:
            y = y + residual
        if relu == "after":
            y = torch.relu(y)
        dx, d_gamma, d_beta, d_residual = torch.autograd.grad(y, leaves, dy, allow_unused=True)
        result.append({
            "relu": relu, "joined": joined, "rows": rows, "channels": channels, "seen": seen, "gamma": gamma, "beta": beta, "residual": residual, "dy": dy,
            "y": y, "dx": dx, "dGamma": d_gamma, "dBeta": d_beta, "dResidual": d_residual})
    return result


def losses():
    result = []
    logits, labels = numbers(4, 7, seed=15, scale=3), [6, 0, 3, 2]
    for kind in ("softmax", "sigmoid"):
        for smoothing in (0.0, 0.1, 0.3):
            z = logits.clone().requires_grad_()
            if kind == "softmax":
                rows = F.cross_entropy(z, torch.tensor(labels), label_smoothing=smoothing, reduction="none")
            else:
                target = (1 - smoothing) * F.one_hot(torch.tensor(labels), 7) + smoothing / 7
                rows = F.binary_cross_entropy_with_logits(z, target, reduction="none").sum(1)
            gradient, = torch.autograd.grad(rows.mean(), z)
            result.append({"kind": kind, "smoothing": smoothing, "classes": 7, "logits": logits, "labels": labels, "losses": rows, "gradient": gradient})
    return result


def optimisers():
    result = []
    start = numbers(9, seed=16)
    gradients = [numbers(9, seed=17 + i) for i in range(3)]
    for momentum, decay, nesterov in [(0.0, 0.0, False), (0.9, 0.0, False), (0.9, 0.25, False), (0.75, 0.25, True)]:
        w = start.clone().requires_grad_()
        sgd = torch.optim.SGD([w], lr=0.125, momentum=momentum, weight_decay=decay, nesterov=nesterov)
        after = []
        for gradient in gradients:
            w.grad = gradient.clone()
            sgd.step()
            after.append(w.detach().clone())
        result.append({"rate": 0.125, "momentum": momentum, "decay": decay, "nesterov": nesterov, "start": start, "gradients": gradients, "after": after})
    return result


def clippings():
    a, b = numbers(5, seed=20), numbers(3, 2, seed=21)
    norm = math.sqrt(float((a ** 2).sum() + (b ** 2).sum()))
    return [{"a": a, "b": b, "most": most, "factor": min(1, most / norm)} for most in (0.5, 100)]


def alignments():
    w, b = numbers(2, 3, 4, 5, seed=22), numbers(2, 3, 5, 4, seed=23)
    transposed = b.permute(0, 1, 3, 2)
    cosine = float((w * transposed).sum() / w.norm() / b.norm())
    return {"shape": [1, 4, 4, 4, 5, 2, 3, 1, 0], "w": w, "b": b, "degrees": math.degrees(math.acos(cosine)), "ratio": float(b.norm() / w.norm())}


def normalisations():
    pixels = np.random.RandomState(24).randint(0, 256, (5, 3, 2, 3))
    unit_pixels = pixels / 255
    mean, deviation = unit_pixels.mean((0, 1, 2)), unit_pixels.std((0, 1, 2))
    return {"shape": [3, 2, 3], "pixels": pixels, "values": (unit_pixels - mean) / deviation, "unit": unit_pixels, "mean": mean, "deviation": deviation}


def operation_answers():
    return {
        "convolutions": convolutions(), "poolings": poolings(), "statistics": statistics(), "batchNorms": batch_norms(), "losses": losses(),
        "optimisers": optimisers(), "clippings": clippings(), "alignment": alignments(), "normalisation": normalisations()}


# ---- Schedules -------------------------------------------------------------------------------------------------------

def rate(kind, step, steps_per_epoch, epochs, peak, warm_up, milestones, gamma):
    total, warm = steps_per_epoch * epochs, warm_up * steps_per_epoch
    if kind == "one-cycle":
        rise, start, t = 0.3, peak / 25, step / total
        if t < rise:
            return start + (peak - start) * 0.5 * (1 - math.cos(math.pi * t / rise))
        return peak * 0.5 * (1 + math.cos(math.pi * (t - rise) / (1 - rise)))
    if step < warm:
        return peak * min(1, (step + 1) / warm)
    if kind == "constant":
        return peak
    if kind == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warm) / (total - warm)))
    return peak * gamma ** sum(step >= (m * total if m < 1 else m * steps_per_epoch) for m in milestones)


def schedule_answers():
    steps, epochs = 10, 8
    cases = [("constant", 0, None, 0.1), ("constant", 1, None, 0.1), ("constant", 0.05, None, 0.1), ("cosine", 0.25, None, 0.1), ("cosine", 0, None, 0.1), ("cosine", 2, None, 0.1), ("one-cycle", 0, None, 0.1),
             ("multi-step", 0, None, 0.1), ("multi-step", 1, [0.25, 0.5, 0.875], 0.5), ("multi-step", 0, [1, 3, 6.5], 0.5)]
    return [
        {"kind": kind, "peak": 0.4, "warmUp": warm_up, "milestones": milestones, "gamma": gamma, "stepsPerEpoch": steps, "epochs": epochs,
         "rates": [rate(kind, step, steps, epochs, 0.4, warm_up, milestones or [0.5, 0.75], gamma) for step in range(steps * epochs)]}
        for kind, warm_up, milestones, gamma in cases]


# ---- Whole runs: from the seed to the file ---------------------------------------------------------------------------

RUN_SEED, TRAIN_IMAGES, TEST_IMAGES, SIZE, CLASSES = 77, 48, 30, 12, 10


def image_bytes():
    """The idx files of the runs: the position of a bright spot is the class; there is noise, and some labels are wrong."""
    random = np.random.RandomState(25)
    images = random.randint(0, 160, (TRAIN_IMAGES + TEST_IMAGES, SIZE, SIZE))
    labels = np.arange(len(images)) % CLASSES
    for image, label in zip(images, labels):
        row, column = 1 + 3 * (label // 4), 2 * (label % 4) + 1
        image[row:row + 3, column:column + 3] += 90
    labels[5::7] = (labels[5::7] + 3) % CLASSES
    return images.astype(np.uint8), labels.astype(np.uint8)


def initial(layer, r, s, c, k, kind):
    """Weights [R][S][C][K] of the layer with this index."""
    count, fan_in, fan_out = r * s * c * k, r * s * c, r * s * k
    if kind == "uniform":
        values = uniform(RUN_SEED, FORWARD_WEIGHTS, layer, 0, count, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
    else:
        variance = {"he": 2 / fan_out, "paper": 1 / (fan_in + fan_out), "xavier": 2 / (fan_in + fan_out)}[kind]
        values = gaussian(RUN_SEED, FORWARD_WEIGHTS, layer, 0, count, math.sqrt(variance))
    return torch.tensor(values).reshape(r, s, c, k)


class Mlp:
    def __init__(self, hidden):
        inputs = SIZE * SIZE
        self.parameters = {
            "fc1.weight": initial(0, 1, 1, inputs, hidden, "paper"), "fc1.bias": torch.zeros(hidden),
            "fc2.weight": initial(1, 1, 1, hidden, CLASSES, "paper"), "fc2.bias": torch.zeros(CLASSES)}
        self.statistics = {}

    def logits(self, images, training):
        p = self.parameters
        x = torch.sigmoid(images.reshape(len(images), -1) @ p["fc1.weight"][0, 0] + p["fc1.bias"])
        return x @ p["fc2.weight"][0, 0] + p["fc2.bias"]

    @staticmethod
    def loss(logits, labels, smoothing):
        target = (1 - smoothing) * F.one_hot(labels, CLASSES) + smoothing / CLASSES
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)


class ResNet8:
    """16, 32, 64 channels, one basic block per stage, projection shortcuts."""

    def __init__(self, zero_gamma, order):
        self.order, self.parameters, self.statistics, self.layer = order, {}, {}, 0
        self.conv("conv1", "bn1", 3, 1, 16)
        channels = 16
        for stage, width in enumerate([16, 32, 64]):
            name = f"layer{stage + 1}.0"
            self.conv(f"{name}.conv1", f"{name}.bn1", 3, channels, width)
            self.conv(f"{name}.conv2", f"{name}.bn2", 3, width, width, gamma=0.0 if zero_gamma else 1.0)
            if channels != width:
                self.conv(f"{name}.downsample.0", f"{name}.downsample.1", 1, channels, width)
            channels = width
        self.parameters["fc.weight"] = initial(self.layer, 1, 1, 64, CLASSES, "uniform")
        self.parameters["fc.bias"] = torch.zeros(CLASSES)

    def conv(self, name, norm, size, c, k, gamma=1.0):
        self.parameters[f"{name}.weight"] = initial(self.layer, size, size, c, k, "he")
        self.layer += 1
        self.parameters[f"{norm}.weight"], self.parameters[f"{norm}.bias"] = torch.full((k,), gamma), torch.zeros(k)
        self.statistics[f"{norm}.running_mean"], self.statistics[f"{norm}.running_var"] = torch.zeros(k), torch.ones(k)

    def unit(self, x, name, norm, stride, relu, residual=None):
        w = self.parameters[f"{name}.weight"]
        x = F.conv2d(x, kcrs(w), stride=stride, padding=w.shape[0] // 2)
        if relu and self.order == "conv-relu-bn":
            x = torch.relu(x)
        x = F.batch_norm(
            x, self.statistics[f"{norm}.running_mean"], self.statistics[f"{norm}.running_var"], self.parameters[f"{norm}.weight"],
            self.parameters[f"{norm}.bias"], training=self.training, momentum=0.1, eps=1e-5)
        if residual is not None:
            x = x + residual
        return torch.relu(x) if relu and self.order == "conv-bn-relu" else x

    def logits(self, images, training):
        self.training = training
        x = self.unit(images[:, None], "conv1", "bn1", 1, True)
        for stage in range(3):
            name, stride = f"layer{stage + 1}.0", 1 if stage == 0 else 2
            shortcut = x if stage == 0 else self.unit(x, f"{name}.downsample.0", f"{name}.downsample.1", stride, False)
            y = self.unit(x, f"{name}.conv1", f"{name}.bn1", stride, True)
            x = self.unit(y, f"{name}.conv2", f"{name}.bn2", 1, True, shortcut)
        return x.mean((2, 3)) @ self.parameters["fc.weight"][0, 0] + self.parameters["fc.bias"]

    @staticmethod
    def loss(logits, labels, smoothing):
        return F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")


def count_top(logits, labels, k):
    own = logits.gather(1, labels[:, None])
    return float(((logits >= own).sum(1) - 1 < k).double().mean())


def train(net, options):
    """Every step sees all training images, so their order does not matter."""
    images, labels = image_bytes()
    values, labels = torch.tensor(images / 255), torch.tensor(labels.astype(int))
    if options["normalize"] == "standard":
        seen = values[:TRAIN_IMAGES]
        values = (values - seen.mean()) / seen.std(unbiased=False)
    parameters = {name: p.clone().requires_grad_() for name, p in net.parameters.items()}
    net.parameters = parameters
    weights = [p for n, p in parameters.items() if p.dim() == 4]
    others = [p for n, p in parameters.items() if p.dim() != 4]
    sgd = torch.optim.SGD(
        [{"params": weights, "weight_decay": options["weightDecay"]}, {"params": others, "weight_decay": 0}],
        lr=1, momentum=options["momentum"], nesterov=options["nesterov"])
    started = {name: summary(p) for name, p in parameters.items()}
    epochs = []
    for epoch in range(options["epochs"]):
        lr = rate(options["schedule"], epoch, 1, options["epochs"], options["lr"], options["warmUp"], [0.5, 0.75], 0.1)
        for group in sgd.param_groups:
            group["lr"] = lr
        logits = net.logits(values[:TRAIN_IMAGES], True)
        losses = net.loss(logits, labels[:TRAIN_IMAGES], options["smoothing"])
        sgd.zero_grad()
        losses.mean().backward()
        if options["clipNorm"] > 0:
            norm = math.sqrt(sum(float((p.grad ** 2).sum()) for p in parameters.values()))
            for p in parameters.values():
                p.grad *= min(1, options["clipNorm"] / norm)
        sgd.step()
        with torch.no_grad():
            test = net.logits(values[TRAIN_IMAGES:], False)
            test_losses = net.loss(test, labels[TRAIN_IMAGES:], 0)
        epochs.append({
            "epoch": epoch + 1, "step": epoch + 1, "learningRate": lr, "trainLoss": float(losses.mean()),
            "trainTop1": count_top(logits, labels[:TRAIN_IMAGES], 1), "testLoss": float(test_losses.mean()),
            "testTop1": count_top(test, labels[TRAIN_IMAGES:], 1), "testTop5": count_top(test, labels[TRAIN_IMAGES:], 5)})
    tensors = {**parameters, **net.statistics}
    return {"options": options, "epochs": epochs, "started": started, "tensors": {name: summary(t) for name, t in tensors.items()}}


def summary(tensor):
    """The values that a test compares: the size, a few elements spread over the tensor, the norm."""
    flat = tensor.detach().clone().reshape(-1)
    step = max(1, len(flat) // 6)
    return {"sizes": list(tensor.shape), "step": step, "elements": flat[::step], "norm": float(flat.norm())}


def run_answers():
    usual = {"epochs": 3, "lr": 0.2, "momentum": 0.8, "nesterov": True, "weightDecay": 0.05, "smoothing": 0.2, "clipNorm": 0, "schedule": "cosine", "warmUp": 0, "normalize": "standard"}
    images, labels = image_bytes()
    runs = {
        "mlp": train(Mlp(20), {**usual, "lr": 0.6, "smoothing": 0.1}),
        "mlp-clipped": train(Mlp(20), {**usual, "lr": 0.9, "nesterov": False, "momentum": 0.5, "clipNorm": 0.125, "normalize": "unit", "schedule": "one-cycle"}),
        "resnet8": train(ResNet8(False, "conv-bn-relu"), {**usual, "lr": 0.05}),
        "resnet8-zero-gamma": train(ResNet8(True, "conv-bn-relu"), {**usual, "lr": 0.05, "schedule": "constant", "warmUp": 2}),
        "resnet8-relu-bn": train(ResNet8(False, "conv-relu-bn"), {**usual, "lr": 0.05, "nesterov": False, "smoothing": 0}),
    }
    return {
        "seed": RUN_SEED, "size": SIZE, "train": TRAIN_IMAGES, "test": TEST_IMAGES, "pixels": images.astype(int).reshape(-1), "labels": labels.astype(int), "runs": runs}


# ---- Output ----------------------------------------------------------------------------------------------------------

def plain(value):
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.reshape(-1).tolist()]
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.9g}")
    return value


def lines(value, indent=0):
    """JSON with a number array on one line."""
    pad = " " * (indent + 1)
    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{pad}{json.dumps(k)}: {lines(v, indent + 1)}" for k, v in value.items()) + "\n" + " " * indent + "}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(pad + lines(v, indent + 1) for v in value) + "\n" + " " * indent + "]"
    return json.dumps(value)


if __name__ == "__main__":
    for name, answers in [("random", random_answers()), ("operations", operation_answers()), ("schedules", schedule_answers()), ("runs", run_answers())]:
        (FOLDER / f"{name}.json").write_text(lines(plain(answers)) + "\n")
