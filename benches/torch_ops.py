"""How long PyTorch takes for operations: for `cargo bench -p pyrograph-model --bench ops -- --vs`.

Reads an operation a line, as the benchmark prints it, and answers with milliseconds forward and backward, on two threads.
"""

import statistics
import sys
import time

import torch
from torch import nn

SECONDS = 0.4


class Attention(nn.Module):
    def __init__(self, features: int, heads: int):
        super().__init__()
        self.qkv, self.proj, self.heads = nn.Linear(features, 3 * features), nn.Linear(features, features), heads

    def forward(self, x):
        batch, tokens, features = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, features // self.heads).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, features))


class LayerNormChannels(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def layer_of(name, numbers):
    """The layer and the shape of what goes in."""
    if name == "conv":
        batch, inputs, outputs, size, kernel, stride, groups = numbers
        padding = kernel // 2 if stride < kernel else 0
        conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        return conv, (batch, inputs, size, size)
    if name == "linear":
        rows, inputs, outputs = numbers
        return nn.Linear(inputs, outputs), (rows, inputs)
    if name == "attention":
        batch, tokens, features, heads = numbers
        return Attention(features, heads), (batch, tokens, features)
    if name == "layer_norm":
        return nn.LayerNorm(numbers[1]), tuple(numbers)
    batch, channels, size, *more = numbers
    layers = {
        "layer_norm_channels": lambda: LayerNormChannels(channels),
        "batch_norm": lambda: nn.BatchNorm2d(channels),
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "max_pool": lambda kernel=0, stride=0: nn.MaxPool2d(kernel, stride, kernel // 2),
        "mean": lambda: nn.AdaptiveAvgPool2d(1),
    }
    return layers[name](*more), (batch, channels, size, size)


def median(run):
    run()
    times = []
    while len(times) < 5 or sum(times) < SECONDS:
        times.append(run())
    return 1e3 * statistics.median(times)


def main():
    torch.set_num_threads(2)
    for line in sys.stdin:
        name, *numbers = line.split()
        layer, shape = layer_of(name, [int(number) for number in numbers])
        x = torch.rand(shape) * 2 - 1

        def forward():
            with torch.inference_mode():
                started = time.perf_counter()
                layer(x)
                return time.perf_counter() - started

        leaf = x.clone().requires_grad_()

        def backward():
            out = layer(leaf)
            leaf.grad = None
            layer.zero_grad(set_to_none=True)
            started = time.perf_counter()
            out.backward(torch.ones_like(out))
            return time.perf_counter() - started

        answered = median(lambda: layer.eval() and forward())
        layer.train()
        print(answered, median(backward), flush=True)


if __name__ == "__main__":
    main()
