#!/usr/bin/env python3
"""Loads model files of Pyrograph into torchvision's networks, strictly, and prints their logits: `weights_out.py FOLDER`.

FOLDER has NAME.safetensors for each network. The image is the same for all: value n is sin(n / 10). Prints a line a network, the name and the
logits. Tables that are not learned (Swin's `relative_position_index`) are the only thing that a file may lack.
"""
import pathlib
import sys

import torch
import torchvision
from safetensors.torch import load_file

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.safetensors")):
    network = torchvision.models.get_model(path.stem, weights=None, num_classes=5).eval()
    missing, unexpected = network.load_state_dict(load_file(path), strict=False)
    missing = [name for name in missing if not name.endswith(("num_batches_tracked", "relative_position_index"))]
    assert not missing and not unexpected, (path.stem, missing, unexpected)
    image = torch.sin(torch.arange(3 * 224 * 224, dtype=torch.float64) / 10).float().reshape(1, 3, 224, 224)
    with torch.no_grad():
        print(path.stem, *(f"{value:.9e}" for value in network(image)[0].tolist()))
