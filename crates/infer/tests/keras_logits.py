#!/usr/bin/env python3
"""Writes Keras's networks with weights by a rule, and prints their logits: `keras_logits.py FOLDER [NAME…]`.

FOLDER gets NAME.h5, the older form, NAME.weights.h5, that of Keras 3, and NAME_old.h5 with the names of Keras 2. The image is the same for all:
value n in the order channels, rows, columns is sin(n / 10), 65 by 64 pixels with 3 colours where the rows are odd and 64 by 64 elsewhere. Prints
a line a network: the name, the number of rows, and the logits. Needs keras, torch and h5py.
"""
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np

CLASSES = 5
applications = keras.applications
NETWORKS = {
    "mobilenet_keras_025": (applications.MobileNet, {"alpha": 0.25}),
    "mobilenet_keras": (applications.MobileNet, {}),
    "efficientnet_b0_keras": (applications.EfficientNetB0, {}),
    "efficientnet_b1_keras": (applications.EfficientNetB1, {}),
    "efficientnet_b2_keras": (applications.EfficientNetB2, {}),
    "efficientnet_b3_keras": (applications.EfficientNetB3, {}),
    "efficientnet_b4_keras": (applications.EfficientNetB4, {}),
    "resnet50_keras": (applications.ResNet50, {}),
}


def fill(model):
    """Random values such that every layer matters and none explodes, from a seed."""
    draw = np.random.default_rng(7)
    # Without shortcuts, what is made smaller stays small.
    scale = 1.2 if model.name.startswith("mobilenet") else 0.7
    for layer in model.layers:
        if layer.name.startswith("normalization"):
            continue
        for variable in layer.weights:
            kind, shape = variable.path.split("/")[-1], tuple(variable.shape)
            if "seed" in kind:
                continue
            values = draw.standard_normal(shape)
            if kind == "kernel":
                inputs = np.prod(shape[:2]) if "dw" in layer.name else np.prod(shape[:-1])
                values *= np.sqrt(2.0 / inputs)
            elif kind == "gamma":
                values = scale + 0.1 * values
            elif kind == "moving_variance":
                values = 1.0 + 0.2 * np.abs(values)
            else:
                values *= 0.2
            variable.assign(values.astype("float32"))


def save_old(model, path):
    """As Keras 2 wrote weights: `LAYER/LAYER/VARIABLE:0`."""
    with h5py.File(path, "w") as file:
        for layer in model.layers:
            for variable in layer.weights:
                name = variable.path.split("/")[-1]
                if "seed" in name:
                    continue
                if isinstance(layer, keras.layers.DepthwiseConv2D):
                    name = f"depthwise_{name}"
                file[f"{layer.name}/{layer.name}/{name}:0"] = keras.ops.convert_to_numpy(variable)


folder = pathlib.Path(sys.argv[1])
for name in sys.argv[2:] or NETWORKS:
    make, options = NETWORKS[name]
    for rows in [64, 65]:
        model = make(input_shape=(rows, 64, 3), weights=None, classes=CLASSES, classifier_activation=None, **options)
        fill(model)
        if rows == 64:
            model.save(folder / f"{name}.h5")
            model.save_weights(folder / f"{name}.weights.h5")
            save_old(model, folder / f"{name}_old.h5")
        image = np.sin(np.arange(3 * rows * 64) / 10).reshape(3, rows, 64).transpose(1, 2, 0)[None]
        if name.startswith("efficientnet"):
            # Its first layer divides by 255; ours gets what comes out.
            image = image * 255
        if name.startswith("resnet"):
            # Theirs takes blue first.
            image = image[..., ::-1]
        logits = model(image.astype("float32").copy(), training=False)
        print(name, rows, *(f"{value:.9e}" for value in keras.ops.convert_to_numpy(logits)[0]), flush=True)
