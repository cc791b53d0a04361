"""How fast PyTorch, or ONNX Runtime, learns and answers with a network: for `pyrograph bench-model … --vs`.

    python benches/torch_step.py resnet50 --batch 8 --size 224 --threads 2 [--ort]

Needs torch, torchvision and timm; with --ort onnxruntime, onnx and onnxscript. The last line is a JSON object with images a second, by the
median of the steps of some seconds, and with the memory of the process in MiB: before the first step of learning, and at most while it learned.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
import warnings

import torch
import torchvision
from torch import nn


def network(name: str, classes: int) -> nn.Module:
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, classes))
    if name.endswith("_cifar"):
        model = torchvision.models.get_model(name.removesuffix("_cifar"), num_classes=classes)
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
        return model
    if name in torchvision.models.list_models():
        return torchvision.models.get_model(name, num_classes=classes)
    import timm

    return timm.create_model(name, num_classes=classes)


def rate(step, images: int, seconds: float) -> float:
    times = []
    for _ in range(2):
        step()
    while len(times) < 3 or sum(times) < seconds:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return images / statistics.median(times)


def peak_rss_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--ort", action="store_true", help="answers of ONNX Runtime in place of PyTorch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = network(args.model, args.classes)
    channels = 1 if args.model == "mlp" else 3
    images = torch.randn(args.batch, channels, args.size, args.size)
    targets = torch.arange(args.batch) % args.classes
    if args.ort:
        print(json.dumps({"infer_img_s": of_ort(model.eval(), images, args)}))
        return
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)

    def learn():
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()

    def answer():
        with torch.inference_mode():
            model(images)

    begun_rss_mib = peak_rss_mib()
    learned = rate(learn, args.batch, args.seconds)
    memory = {"begun_rss_mib": begun_rss_mib, "peak_rss_mib": peak_rss_mib()}
    model.eval()
    answered = rate(answer, args.batch, args.seconds)
    print(json.dumps({"train_img_s": learned, "infer_img_s": answered} | memory))


def of_ort(model: nn.Module, images: torch.Tensor, args: argparse.Namespace) -> float:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        # That the exporter is the older of two.
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (images,), path, input_names=["x"], output_names=["y"], dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    values = images.numpy()
    return rate(lambda: session.run(None, {"x": values}), args.batch, args.seconds)


if __name__ == "__main__":
    main()
