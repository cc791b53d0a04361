#!/usr/bin/env bash
# Networks here and in PyTorch, and answers in ONNX Runtime, each in turn on two threads: a line of JSON for each.
#
#   PYTHON=venv/bin/python bash benches/beside_pytorch.sh [SECONDS [RUNS]]
#
# Needs a Python with torch, torchvision, timm, onnxruntime, onnx and onnxscript, and a machine that does nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-5} runs=${2:-3} python=${PYTHON:-python3}
cargo build --release --quiet
bench() { # network, batch, size, classes, more arguments of bench-model
  local network=$1 batch=$2 size=$3 classes=$4 peer only
  shift 4
  for peer in "" --ort; do
    # What does not learn is compared with what does not, either.
    only=${peer:+--only infer}
    target/release/pyrograph bench-model "$network" --batch "$batch" --size "$size" --classes "$classes" --threads 2 "$@" $only --json \
      --seconds "$seconds" --runs "$runs" \
      --vs "$python benches/torch_step.py $network --batch $batch --size $size --classes $classes --seconds $seconds $peer"
  done
}
bench mlp 64 28 10 --channels 1
bench resnet18_cifar 32 32 10
bench resnet50 8 224 1000
bench mobilenet_v3_large 8 224 1000
bench convnext_atto 8 224 1000
bench deit_tiny_patch16_224 8 224 1000
bench resnet18 1 224 1000
bench mobilenet_v3_large 1 224 1000
