"""Run what `stn-coloc export RUN --format onnx` wrote, with onnxruntime and numpy alone; Pillow decodes.

python onnx_run.py stn-coloc-finder.onnx photo.jpg ...
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

finder = onnxruntime.InferenceSession(sys.argv[1])
names = json.loads(finder.get_modelmeta().custom_metadata_map["names"])
for path in sys.argv[2:]:
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    images = np.asarray(upright)[None]  # (B, H, W, 3) uint8: pictures of one size may go in together
    boxes, scores, kinds, quads = finder.run(None, {"images": images})
    for box, score, kind in zip(boxes[0], scores[0], kinds[0]):
        if score >= 0:  # what comes after the last object is -1
            print(path, names[kind], f"{score:.4f}", *(f"{value:.2f}" for value in box))
