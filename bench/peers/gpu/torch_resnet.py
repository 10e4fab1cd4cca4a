#!/usr/bin/env python3
"""What PyTorch (cuDNN) reaches on the GPU at hand. Needs PyTorch and torchvision; nothing to build.

    python3 torch_resnet.py conv --model resnet50 --batch 256          every conv of the model: fwd, bwd_data, bwd_weights
    python3 torch_resnet.py step --model resnet50 --batch 256 --mode compile
    python3 torch_resnet.py copy                                        device memory bandwidth, the other ceiling

Prints CSV, one line a measurement:
    conv,torch,<model>,<N>x<H>x<W>x<C>-><K>k<R>s<stride>,<count in model>,<pass>,<TFLOP/s median>,<ms median>
    step,torch,<mode>,<model>,<batch>,<img/s median>,<img/s best>
    gemm,torch,8192,<TFLOP/s>      copy,torch,<GB/s>
bf16, channels_last, synthetic data already on the device, random values (zeros draw less power and flatter the clock),
buffers rotated past twice the L2 cache, CUDA events, medians. `--device cpu` runs the same code small, to check it.
"""
import argparse
import statistics
import time
from functools import partial

import torch
import torchvision


def convs_of(model_name, image):
    """[(count, C, H, W, K, R, stride, pad)] of the distinct convolutions, by running the model once on the CPU."""
    model = getattr(torchvision.models, model_name)(num_classes=1000).eval()
    seen = {}

    def hook(m, inp, _):
        _, c, h, w = inp[0].shape
        key = (c, h, w, m.out_channels, m.kernel_size[0], m.stride[0], m.padding[0])
        seen[key] = seen.get(key, 0) + 1

    for m in model.modules():
        if isinstance(m, torch.nn.Conv2d):
            m.register_forward_hook(hook)
    with torch.no_grad():
        model(torch.zeros(1, 3, image, image))
    return [(n, *k) for k, n in seen.items()]


class Timer:
    def __init__(self, device, repeats):
        self.cuda = device == "cuda"
        self.repeats = repeats

    def seconds(self, calls):
        """Median seconds of one call; `calls` are closures over rotated buffers, run in turn."""
        for c in calls[:3]:
            c()
        times = []
        if self.cuda:
            torch.cuda.synchronize()
            for i in range(self.repeats):
                a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                a.record()
                calls[i % len(calls)]()
                b.record()
                times.append((a, b))
            torch.cuda.synchronize()
            return statistics.median(a.elapsed_time(b) for a, b in times) / 1e3
        for i in range(self.repeats):
            t = time.perf_counter()
            calls[i % len(calls)]()
            times.append(time.perf_counter() - t)
        return statistics.median(times)


def bench_convs(args, dtype):
    timer = Timer(args.device, args.repeats)
    l2 = 60e6 if args.device == "cuda" else 1e6
    for count, c, h, w, k, r, stride, pad in convs_of(args.model, args.image):
        p, q = (h + 2 * pad - r) // stride + 1, (w + 2 * pad - r) // stride + 1
        flop = 2.0 * args.batch * p * q * k * c * r * r
        bytes_each = 2.0 * args.batch * (h * w * c + p * q * k)
        sets = max(1, min(8, int(2 * l2 / bytes_each) + 1))

        def normal(*sizes):
            return torch.randn(*sizes, device=args.device, dtype=dtype).to(memory_format=torch.channels_last)

        xs = [normal(args.batch, c, h, w) for _ in range(sets)]
        dys = [normal(args.batch, k, p, q) for _ in range(sets)]
        wt = normal(k, c, r, r)

        def forward(x):
            return torch.nn.functional.conv2d(x, wt, None, stride, pad)

        def backward(x, dy, wanted):
            return torch.ops.aten.convolution_backward(
                dy, x, wt, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1, wanted)

        passes = {
            "fwd": [partial(forward, x) for x in xs],
            "bwd_data": [partial(backward, x, dy, [True, False, False]) for x, dy in zip(xs, dys)],
            "bwd_weights": [partial(backward, x, dy, [False, True, False]) for x, dy in zip(xs, dys)],
        }
        shape = f"{args.batch}x{h}x{w}x{c}->{k}k{r}s{stride}"
        for name, calls in passes.items():
            s = timer.seconds(calls)
            print(f"conv,torch,{args.model},{shape},{count},{name},{flop / s / 1e12:.2f},{s * 1e3:.4f}", flush=True)


def bench_step(args, dtype):
    torch.backends.cudnn.benchmark = True
    model = getattr(torchvision.models, args.model)(num_classes=1000)
    model = model.to(args.device).to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    x = torch.randn(args.batch, 3, args.image, args.image, device=args.device)
    x = x.to(memory_format=torch.channels_last)
    target = torch.randint(0, 1000, (args.batch,), device=args.device)

    def forward_backward():
        with torch.autocast(args.device, dtype=dtype):
            loss = loss_fn(model(x), target)
        loss.backward()

    if args.mode == "compile":
        model = torch.compile(model, mode="max-autotune-no-cudagraphs")

    def step():
        opt.zero_grad(set_to_none=True)
        forward_backward()
        opt.step()

    run = step
    if args.mode == "graph":
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                step()
        torch.cuda.current_stream().wait_stream(side)
        opt.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            forward_backward()
            opt.step()
        run = graph.replay
    for _ in range(args.warmup):
        run()
    sync = torch.cuda.synchronize if args.device == "cuda" else (lambda: None)
    rates = []
    for _ in range(args.repeats):
        sync()
        t = time.perf_counter()
        for _ in range(args.inner):
            run()
        sync()
        rates.append(args.batch * args.inner / (time.perf_counter() - t))
    median, best = statistics.median(rates), max(rates)
    print(f"step,torch,{args.mode},{args.model},{args.batch},{median:.1f},{best:.1f}", flush=True)


def bench_copy(args, dtype):
    timer = Timer(args.device, args.repeats)
    n = 8192 if args.device == "cuda" else 512
    a, b = (torch.randn(n, n, device=args.device, dtype=dtype) for _ in range(2))
    s = timer.seconds([lambda: a @ b])
    print(f"gemm,torch,{n},{2.0 * n ** 3 / s / 1e12:.1f}")
    size = 2 ** 31 if args.device == "cuda" else 2 ** 22
    src = torch.empty(size, dtype=torch.uint8, device=args.device).random_(0, 255)
    dst = torch.empty_like(src)
    s = timer.seconds([lambda: dst.copy_(src)])
    print(f"copy,torch,{2.0 * size / s / 1e9:.0f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["conv", "step", "copy"])
    ap.add_argument("--model", default="resnet50")
    ap.add_argument("--batch", type=int, default=256)
    ap.add_argument("--image", type=int, default=224)
    ap.add_argument("--mode", choices=["eager", "compile", "graph"], default="eager")
    ap.add_argument("--repeats", type=int, default=20)
    ap.add_argument("--inner", type=int, default=10, help="steps per timing")
    ap.add_argument("--warmup", type=int, default=15)
    ap.add_argument("--device", default="cuda")
    args = ap.parse_args()
    dtype = torch.bfloat16
    {"conv": bench_convs, "step": bench_step, "copy": bench_copy}[args.what](args, dtype)


if __name__ == "__main__":
    main()
