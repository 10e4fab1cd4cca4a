#!/usr/bin/env python3
"""Weights of PyTorch for the tests of import and export, and a reader of exported weights.

    apt-get install -y --no-install-recommends python3-numpy python3-torch
    python3 make_weights.py make FOLDER MODEL SIZE CHANNELS [half]   a state dictionary, an input and its logits
    python3 make_weights.py loss FILE MODEL CIFAR10_FOLDER COUNT     mean cross-entropy of exported weights on test images

The modules are written as torchvision writes them, so that their state dictionaries have its names. Without arguments the script writes
the folder weights beside it. The safetensors format is written and read here by its documentation, without the package of that name.
"""
import json
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

TYPES = {torch.float32: ("F32", np.float32), torch.float16: ("F16", np.float16), torch.int64: ("I64", np.int64)}
CLASSES = 10


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample(channels, width, stride)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = downsample(channels, 4 * width, stride)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


def downsample(channels, output, stride):
    if stride == 1 and channels == output:
        return None
    return nn.Sequential(nn.Conv2d(channels, output, 1, stride, bias=False), nn.BatchNorm2d(output))


class ResNet(nn.Module):
    def __init__(self, block, layers, width, channels, small):
        super().__init__()
        self.small = small
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False) if small else nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages, inputs = len(layers), width
        for stage, count in enumerate(layers):
            blocks = []
            for i in range(count):
                blocks.append(block(inputs, width, 2 if stage > 0 and i == 0 else 1))
                inputs = width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            width *= 2
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class LeNet(nn.Module):
    def __init__(self, size, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2 if size <= 28 else 0)
        self.conv2 = nn.Conv2d(6, 16, 5)
        side = ((size if size <= 28 else size - 4) // 2 - 4) // 2
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, CLASSES)

    def forward(self, x):
        x = F.avg_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))))


class Mlp(nn.Module):
    def __init__(self, size, channels, hidden=24):
        super().__init__()
        self.fc1 = nn.Linear(size * size * channels, hidden)
        self.fc2 = nn.Linear(hidden, CLASSES)

    def forward(self, x):
        return self.fc2(torch.sigmoid(self.fc1(torch.flatten(x, 1))))


def create(model, size, channels):
    large = {"resnet18": (BasicBlock, [2, 2, 2, 2]), "resnet50": (Bottleneck, [3, 4, 6, 3])}
    if model in large:
        return ResNet(*large[model], 64, channels, small=False)
    if model.startswith("resnet"):
        return ResNet(BasicBlock, [(int(model[6:]) - 2) // 6] * 3, 16, channels, small=True)
    return {"lenet": LeNet, "mlp": Mlp}[model](size, channels)


def write(path, tensors, metadata=None):
    """The largest elements first, then by name, as the package writes them."""
    header, data, offset = {}, [], 0
    if metadata:
        header["__metadata__"] = metadata
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
        kind, numpy_type = TYPES[tensor.dtype]
        values = np.ascontiguousarray(tensor.detach().numpy().astype(numpy_type)).tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, offset + len(values)]}
        offset += len(values)
        data.append(values)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(data))


def read(path):
    with open(path, "rb") as file:
        content = file.read()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8:8 + length])
    metadata = header.pop("__metadata__", {})
    by_name = {kind: numpy_type for kind, numpy_type in TYPES.values()}
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = np.frombuffer(content[8 + length + begin:8 + length + end], dtype=by_name[entry["dtype"]])
        tensors[name] = torch.from_numpy(values.reshape(entry["shape"]).copy())
    return tensors, metadata


def make(folder, model, size, channels, half=False):
    torch.manual_seed(17)
    module = create(model, size, channels)
    # Some batches in training mode: running statistics that are not those of the start, and counters above 0.
    for _ in range(3):
        module(torch.randn(4, channels, size, size) * 2 + 0.5)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.5, 0.5)
    state = module.state_dict()
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
        module.load_state_dict({name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()})
    module.eval()
    images = torch.randn(3, channels, size, size)
    with torch.no_grad():
        logits = module(images)
    write(os.path.join(folder, "state.safetensors"), state)
    write(os.path.join(folder, "answer.safetensors"), {"images": images, "logits": logits})


def loss(path, model, folder, count):
    tensors, metadata = read(path)
    module = create(model, 32, 3)
    module.load_state_dict(tensors, strict=True)
    module.eval()
    records = np.fromfile(os.path.join(folder, "test_batch.bin"), dtype=np.uint8).reshape(-1, 3073)[:count]
    mean, deviation = (torch.tensor(json.loads(metadata[key])).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = (torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float64)) / 255 - mean) / deviation
    with torch.no_grad():
        logits = module.double()(images)
        print(repr(F.cross_entropy(logits, torch.from_numpy(records[:, 0].astype(np.int64))).item()))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights")
        make(here, "resnet8", 16, 3, half=True)
    elif sys.argv[1] == "make":
        make(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), "half" in sys.argv)
    else:
        loss(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
