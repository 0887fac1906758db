"""How long the peers take: a server that runs one corruption over a batch whenever it is told to.

Runs in the environment of `requirements.txt`, and knows nothing of sensijax. Reads one JSON line at a time from the
standard input, `{"peer": "imagecorruptions", "op": "fog", "severity": 3, "size": 224, "batch": 32}`, and answers each
with a line of seconds, the time of one pass over the batch after a first pass that is not counted.
"""

import json
import os
import sys
import time

os.environ.update({name: os.environ.get("PEER_THREADS", "1") for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")})

import cv2
import numpy as np

cv2.setNumThreads(int(os.environ["OMP_NUM_THREADS"]))

_READY = {}


def imagecorruptions(op, severity, size, batch):
    """`imagecorruptions.corrupt`, image by image: there is no other way."""
    from imagecorruptions import corrupt

    x = images(size, batch)
    return lambda: [corrupt(one, severity=severity, corruption_name=op) for one in x]


def albumentations(op, severity, size, batch):
    """The transform of the same meaning and strength as ImageNet-C's, image by image; severity 3."""
    import albumentations as A

    transform = {
        "gaussian_noise": A.GaussNoise(std_range=(0.18, 0.18), p=1),
        "gaussian_blur": A.GaussianBlur(sigma_limit=(3, 3), blur_limit=(25, 25), p=1),
        "jpeg_compression": A.ImageCompression(quality_range=(15, 15), p=1),
        "elastic_transform": A.ElasticTransform(alpha=12.2, sigma=2.44, p=1),
    }[op]
    x = images(size, batch)
    return lambda: [transform(image=one)["image"] for one in x]


def kornia(op, severity, size, batch):
    """The augmentation of the same meaning and strength as ImageNet-C's, on the whole batch; severity 3."""
    import kornia.augmentation as K
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    transform = {
        "gaussian_noise": K.RandomGaussianNoise(std=0.18, p=1.0),
        "gaussian_blur": K.RandomGaussianBlur((25, 25), (3.0, 3.0), p=1.0),
        "jpeg_compression": K.RandomJPEG((15.0, 15.0), p=1.0),
        "elastic_transform": K.RandomElasticTransform((15, 15), sigma=(2.44, 2.44), alpha=(0.1, 0.1), p=1.0),
    }[op]
    x = torch.from_numpy(images(size, batch).transpose(0, 3, 1, 2).astype(np.float32) / 255)

    def run():
        with torch.inference_mode():
            return transform(x)

    return run


def images(size, batch):
    """The same images for every peer: crops of a photograph, uint8 [batch, size, size, 3]."""
    import skimage

    whole = skimage.data.astronaut()
    rng = np.random.default_rng(0)
    if size > 64:
        whole = np.uint8(255 * skimage.transform.resize(whole, (2 * size, 2 * size), anti_aliasing=True))
    corners = rng.integers(0, whole.shape[0] - size, (batch, 2))
    return np.stack([whole[r : r + size, c : c + size] for r, c in corners])


PEERS = {"imagecorruptions": imagecorruptions, "albumentations": albumentations, "kornia": kornia}


def main():
    for line in sys.stdin:
        job = json.loads(line)
        if line not in _READY:
            _READY[line] = PEERS[job.pop("peer")](**job)
            _READY[line]()
        start = time.perf_counter()
        _READY[line]()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
