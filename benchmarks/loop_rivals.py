"""What else could be done with a few labelled images: a detector that is fine-tuned on them, and nearest neighbours."""

from __future__ import annotations

import copy
import time
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from stn_cli.coloc.annotations import Annotations
from stn_cli.coloc.crops import Crops
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.score.annotated_search import AnnotatedSearch
from stn_cli.coloc.score.dense import held_beyond
from stn_cli.coloc.score.object_search import as_shares
from stn_cli.coloc.score.objects import separate
from stn_cli.coloc.score.settings import OBJECTS
from stn_cli.coloc.search.searched import SearchedSet
from stn_cli.encoders.small import SmallEncoder
from stn_cli.encoders.small_network import WIDTHS, SmallNetwork
from stn_cli.instances.proposer import Proposer, pixel_corners

SIDE = 256
"""Longer side at which the detector looks, pixels: as large as ours looks at most."""
BATCH = 4
Found = list[tuple[Tensor, Tensor]]


class Pyramid(nn.Module):
    """Our encoder's stages as a backbone: maps of strides 8 and 16, and two more."""

    out_channels = 128

    def __init__(self, network: SmallNetwork) -> None:
        super().__init__()
        self.stem, self.stages = network.stem, network.stages
        self.pyramid = FeaturePyramidNetwork(
            list(WIDTHS[2:]), self.out_channels, LastLevelP6P7(self.out_channels, self.out_channels)
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """(B, 3, H, W) -> maps by name."""
        x, seen = self.stem(images, relu=True), OrderedDict()
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number >= 2:
                seen[str(number)] = x
        out: OrderedDict[str, Tensor] = self.pyramid(seen)
        return out


def pictures(seen: SearchedSet, numbers: list[int]) -> list[Tensor]:
    """Images (3, h, w) without what lies beside them on the letterbox."""
    scene = Scene.of(seen.large, torch.tensor(numbers), seen.device)
    corners = pixel_corners(scene.rectangles, scene.images.shape[-1])
    return [image[:, y1:y2, x1:x2] for image, (x1, y1, x2, y2) in zip(scene.images, corners, strict=True)]


def detector(seen: SearchedSet, annotations: Annotations, others: list[int], seconds: float) -> Found:
    """FCOS on our encoder, fine-tuned on annotations for so many seconds of the processor; boxes on the letterbox, best first."""
    torch.manual_seed(0)
    network = copy.deepcopy(SmallEncoder().network).float().requires_grad_(True)
    sizes = AnchorGenerator(((8,), (16,), (32,), (64,)), ((1.0,),) * 4)
    model = FCOS(Pyramid(network), 2, min_size=32, max_size=SIDE, anchor_generator=sizes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # batches are small
    labelled = sorted(annotations.boxes)
    images = pictures(seen, labelled)
    wanted = []
    for number, image in zip(labelled, images, strict=True):
        h, w = image.shape[-2:]
        boxes = as_shares(seen, torch.tensor([number]), annotations.boxes[number][None])[0] * torch.tensor([w, h, w, h])
        wanted.append(boxes)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=0.01)
    generator, begun = torch.Generator().manual_seed(0), time.process_time()
    while time.process_time() - begun < seconds:
        some = torch.randint(len(images), (BATCH,), generator=generator).tolist()
        mirrored = torch.rand(BATCH, generator=generator) < 0.5
        batch = [
            _mirrored(images[i], wanted[i]) if m else (images[i], wanted[i])
            for i, m in zip(some, mirrored.tolist(), strict=True)
        ]
        targets = [{"boxes": boxes, "labels": torch.ones(len(boxes), dtype=torch.long)} for _, boxes in batch]
        with torch.enable_grad():
            losses = model([image for image, _ in batch], targets)
            optimiser.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    model.eval()
    out = []
    with torch.inference_mode():
        for number, image in zip(others, pictures(seen, others), strict=True):
            found, (h, w) = model([image])[0], image.shape[-2:]
            x1, y1, x2, y2 = seen.large.rectangles()[number].tolist()
            scale, low = torch.tensor([(x2 - x1) / w, (y2 - y1) / h]).repeat(2), torch.tensor([x1, y1, x1, y1])
            out.append((found["boxes"] * scale + low, found["scores"]))
    return out


def _mirrored(image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    w = image.shape[-1]
    return image.flip(-1), torch.stack([w - boxes[:, 2], boxes[:, 1], w - boxes[:, 0], boxes[:, 3]], 1)


def neighbours(seen: SearchedSet, search: AnnotatedSearch, annotations: Annotations, others: list[int]) -> Found:
    """Of what the network as it is shipped proposes, the likeness (cosine) to the nearest annotated box, times its own probability."""
    scorer = search.scorer(torch.zeros((len(seen.cache), 4)))
    labelled = [i for i, boxes in annotations.boxes.items() if len(boxes)]
    known = []
    for i in labelled:
        z = scorer.seen(Scene.of(seen.cache, torch.tensor([i]), seen.device))[0]
        known.append(held_beyond(z, Crops.of_boxes(annotations.boxes[i][None]))[0])
    examples = F.normalize(torch.cat(known), dim=-1)
    proposer, out = Proposer(), Found()
    for part in torch.tensor(others).split(16):
        scene, closely = (Scene.of(cache, part, seen.device) for cache in (seen.cache, seen.large))
        proposed = proposer(closely.images, closely.rectangles, OBJECTS.proposals)
        held = F.normalize(held_beyond(scorer.seen(scene)[0], Crops.of_boxes(proposed.boxes)), dim=-1)
        score = (held @ examples.T).amax(-1).clamp(min=0) * proposed.odds.sigmoid()
        index, there = separate(proposed.boxes, score.logit(1e-4), 100, OBJECTS.least)
        rows = zip(proposed.boxes, score, index, there, strict=True)
        out += [(boxes[own[keep]], values[own[keep]]) for boxes, values, own, keep in rows]
    return out
