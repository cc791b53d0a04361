#!/usr/bin/env python3
"""Reference numbers of the small networks, made with PyTorch: writes small_networks.json beside this file.

    python3 -m venv venv && venv/bin/pip install torch torchvision numpy
    venv/bin/python crates/model/tests/golden/make.py

No weight is stored: every tensor is filled from its own name, so that both sides can make it.

    fill(name, i) = splitmix64(fnv1a64(name) + i) >> 40, as a fraction u in [0, 1) of 2**24
    rank 4                 uniform(-b, b), b = sqrt(6 / fan_in)       fan_in = product of dims[1:]
    rank 2                 uniform(-b, b), b = sqrt(3 / fan_in)
    rank 1, *running_var   0.75 + 0.5 u
    rank 1, *weight        0.9 + 0.2 u
    rank 1, other          0.1 (2 u - 1)
    the images             2 u - 1, under the name "input", in NCHW order

Numbers are computed in f64 from the f32 weights; `torch_f32_*` say how far PyTorch's own f32 pass is from them.
"""
import copy, json, math, pathlib
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F, torchvision


def unit(name, count):
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & (1 << 64) - 1
    with np.errstate(over="ignore"):
        z = np.uint64(key) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)


def fill(name, shape):
    u = unit(name, math.prod(shape))
    if len(shape) >= 2:
        v = (2 * u - 1) * math.sqrt((6.0 if len(shape) == 4 else 3.0) / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        v = 0.75 + 0.5 * u
    elif name.endswith("weight"):
        v = 0.9 + 0.2 * u
    else:
        v = 0.1 * (2 * u - 1)
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


class Mlp(nn.Module):
    def __init__(self, *sizes):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, x):
        x = x.flatten(1)
        for n, layer in enumerate(self.layers):
            x = layer(x if n == 0 else F.relu(x))
        return x


class SmallCnn(nn.Module):
    def __init__(self, channels, size, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.fc1, self.fc2 = nn.Linear(64 * (size // 4) ** 2, 128), nn.Linear(128, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class Block(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.stride, self.padding = (1 if inputs == outputs else 2), (outputs - inputs) // 2
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:  # option A
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    def __init__(self, depth, classes):
        super().__init__()
        stage = lambda a, b: nn.Sequential(*(Block(a if n == 0 else b, b) for n in range((depth - 2) // 6)))
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = stage(16, 16), stage(16, 32), stage(32, 64)
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


class MobileNetV1(nn.Module):
    """Keys of the published weights with a quarter of the channels, which have leaky ReLU."""

    def __init__(self, width, classes):
        super().__init__()
        triple = lambda *conv, groups=1: (
            nn.Conv2d(*conv, groups=groups, bias=False), nn.BatchNorm2d(conv[1]), nn.LeakyReLU(0.1))
        pair = lambda a, b, stride: nn.Sequential(*triple(a, a, 3, stride, 1, groups=a), *triple(a, b, 1))
        n = lambda channels: int(channels * width)
        self.stage1 = nn.Sequential(
            nn.Sequential(*triple(3, n(32), 3, 2, 1)), pair(n(32), n(64), 1), pair(n(64), n(128), 2),
            pair(n(128), n(128), 1), pair(n(128), n(256), 2), pair(n(256), n(256), 1))
        self.stage2 = nn.Sequential(pair(n(256), n(512), 2), *(pair(n(512), n(512), 1) for _ in range(5)))
        self.stage3 = nn.Sequential(pair(n(512), n(1024), 2), pair(n(1024), n(1024), 1))
        self.fc = nn.Linear(n(1024), classes)

    def forward(self, x):
        return self.fc(self.stage3(self.stage2(self.stage1(x))).mean((2, 3)))


def resnet18_cifar():
    net = torchvision.models.resnet18(num_classes=10)
    net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    return net


def step(net, x, y):
    """Loss, gradients and running statistics of one training pass."""
    net.train()
    loss = F.cross_entropy(net(x), y)
    loss.backward()
    grads = {k: float(p.grad.norm()) for k, p in net.named_parameters()}
    return float(loss.detach()), grads, {k: float(b.norm()) for k, b in net.named_buffers() if b.ndim == 1}


def reference(name, net, channels, size):
    for key, tensor in net.state_dict().items():
        if tensor.ndim > 0:
            tensor.copy_(fill(key, tuple(tensor.shape)))
    dims = [2, channels, size, size]
    x = torch.from_numpy((2 * unit("input", math.prod(dims)) - 1).astype(np.float32).reshape(dims))
    y, exact = torch.tensor([0, 1]), copy.deepcopy(net).double()
    loss32, grads32, _ = step(net, x, y)
    with torch.no_grad():
        logits = exact.eval()(x.double())
    loss, grads, running = step(exact, x.double(), y)
    big = [k for k in grads if grads[k] > 1e-4 * max(grads.values())]
    short = lambda numbers: {k: float(f"{v:.7g}") for k, v in numbers.items()}
    return {
        "name": name,
        "input": dims,
        "classes": logits.shape[1],
        "params": sum(p.numel() for p in net.parameters()),
        "eval_logits_first8": [float(f"{v:.7g}") for v in logits[:, :8].flatten().tolist()],
        "eval_logits_l2": [float(f"{v:.7g}") for v in logits.norm(dim=1).tolist()],
        "train_loss_targets_0_1": loss,
        "train_grad_l2": short(grads),
        "train_running_l2": short(running),
        "torch_f32_loss_dev": abs(loss32 - loss),
        "torch_f32_worst_grad_rel": max(abs(grads32[k] / grads[k] - 1) for k in big),
        "keys": {k: list(v.shape) for k, v in net.state_dict().items()},
    }


networks = [
    reference("linear", Mlp(784, 10), 1, 28),
    reference("mlp", Mlp(784, 500, 10), 1, 28),
    reference("small_cnn", SmallCnn(1, 28, 10), 1, 28),
    reference("resnet20", CifarResNet(20, 10), 3, 32),
    reference("resnet18_cifar", resnet18_cifar(), 3, 32),
    reference("mobilenet_v1_025_leaky", MobileNetV1(0.25, 10), 3, 64),
]
path = pathlib.Path(__file__).with_name("small_networks.json")
lines = ",\n".join(json.dumps(network) for network in networks)
path.write_text(f'{{"torch": "{torch.__version__}", "models": [\n{lines}\n]}}\n')
for network in networks:
    print(network["name"], network["params"], network["torch_f32_loss_dev"], network["torch_f32_worst_grad_rel"])
