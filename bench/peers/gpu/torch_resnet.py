#!/usr/bin/env python3
"""Measures PyTorch (cuDNN) on the GPU. Needs PyTorch, and torchvision for `step`; nothing to build.

    bench shapes --model resnet50 | python3 torch_resnet.py conv --batch 256     every conv: fwd, bwd_data, bwd_weights
    python3 torch_resnet.py step --model resnet50 --batch 256 --mode compile     training steps: eager, compile or graph
    python3 torch_resnet.py ceilings                                             the limits of the card: products, memory

Prints CSV with the columns of our benchmarks, one line per measurement:
    conv,torch,<dtype>,<layer>,<pass>,<GFLOP/s median>,<GFLOP/s best>
    model,torch,<dtype>-<mode>,<model>,<batch>,<images/s median>,<images/s best>
    memory,torch,<dtype>-<mode>,<model>,<batch>,<MiB of the device in use>
    gemm,torch,<dtype>,8192,<GFLOP/s>      copy,torch,<GB/s>
Method: channels_last; synthetic data already on the device; random values, because with zeros the chip draws less power and
clocks higher; buffers that rotate through more than twice the L2 cache; CUDA events. `--dtype float32` is fp32 without TF32.
`--device cpu` runs the same code at a small size, to check it.
"""
import argparse
import statistics
import sys
import time
from functools import partial

import torch


def read_shapes():
    """[(name, C, K, R, stride, pad, H)] from the standard input, as `bench shapes` prints them. Maps and filters are square."""
    shapes = []
    for line in sys.stdin:
        name, *sizes = line.strip().split(",")
        if len(sizes) != 6:
            raise SystemExit(f"standard input: '{line.strip()}', expected name,C,K,R,stride,padding,H")
        shapes.append((name, *map(int, sizes)))
    return shapes


class Timer:
    def __init__(self, device, repeats):
        self.cuda = device == "cuda"
        self.repeats = repeats

    def seconds(self, calls):
        """Median and minimum of the seconds per call; `calls` are closures over rotating buffers, run in turn."""
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
            times = [a.elapsed_time(b) / 1e3 for a, b in times]
            return statistics.median(times), min(times)
        for i in range(self.repeats):
            t = time.perf_counter()
            calls[i % len(calls)]()
            times.append(time.perf_counter() - t)
        return statistics.median(times), min(times)


def bench_convs(args, dtype):
    timer = Timer(args.device, args.repeats)
    l2 = 60e6 if args.device == "cuda" else 1e6
    torch.backends.cudnn.benchmark = True
    for layer, c, k, r, stride, pad, h in read_shapes():
        p = (h + 2 * pad - r) // stride + 1
        flop = 2.0 * args.batch * p * p * k * c * r * r
        bytes_each = torch.empty(0, dtype=dtype).element_size() * args.batch * (h * h * c + p * p * k)
        sets = max(1, min(8, int(2 * l2 / bytes_each) + 1))

        def normal(*sizes):
            return torch.randn(*sizes, device=args.device, dtype=dtype).to(memory_format=torch.channels_last)

        xs = [normal(args.batch, c, h, h) for _ in range(sets)]
        dys = [normal(args.batch, k, p, p) for _ in range(sets)]
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
        for name, calls in passes.items():
            median, best = (flop / seconds / 1e9 for seconds in timer.seconds(calls))
            print(f"conv,torch,{args.dtype},{layer},{name},{median:.1f},{best:.1f}", flush=True)


def bench_step(args, dtype):
    import torchvision

    torch.backends.cudnn.benchmark = True
    model = getattr(torchvision.models, args.model)(num_classes=1000)
    model = model.to(args.device).to(memory_format=torch.channels_last)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    x = torch.randn(args.batch, 3, args.image, args.image, device=args.device)
    x = x.to(memory_format=torch.channels_last)
    target = torch.randint(0, 1000, (args.batch,), device=args.device)

    def forward_backward():
        with torch.autocast(args.device, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
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
    subject = f"torch,{args.dtype}-{args.mode},{args.model},{args.batch}"
    print(f"model,{subject},{median:.1f},{best:.1f}", flush=True)
    if args.device == "cuda":
        free, total = torch.cuda.mem_get_info()
        print(f"memory,{subject},{(total - free) / 2**20:.0f}", flush=True)


def bench_ceilings(args, dtype):
    timer = Timer(args.device, args.repeats)
    n = 8192 if args.device == "cuda" else 512
    a, b = (torch.randn(n, n, device=args.device, dtype=dtype) for _ in range(2))
    s, _ = timer.seconds([lambda: a @ b])
    print(f"gemm,torch,{args.dtype},{n},{2.0 * n ** 3 / s / 1e9:.0f}")
    size = 2 ** 31 if args.device == "cuda" else 2 ** 22
    src = torch.empty(size, dtype=torch.uint8, device=args.device).random_(0, 255)
    dst = torch.empty_like(src)
    s, _ = timer.seconds([lambda: dst.copy_(src)])
    print(f"copy,torch,{2.0 * size / s / 1e9:.0f}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", choices=["conv", "step", "ceilings"])
    ap.add_argument("--model", default="resnet50")
    ap.add_argument("--batch", type=int, default=256)
    ap.add_argument("--image", type=int, default=224)
    ap.add_argument("--mode", choices=["eager", "compile", "graph"], default="eager")
    ap.add_argument("--repeats", type=int, default=20)
    ap.add_argument("--inner", type=int, default=10, help="steps per sample")
    ap.add_argument("--warmup", type=int, default=15)
    ap.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    ap.add_argument("--device", default="cuda")
    args = ap.parse_args()
    dtype = getattr(torch, args.dtype)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    {"conv": bench_convs, "step": bench_step, "ceilings": bench_ceilings}[args.what](args, dtype)


if __name__ == "__main__":
    main()
