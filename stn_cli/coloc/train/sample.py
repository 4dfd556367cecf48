"""Which images of a folder a training looks at: all of them, unless there are more than its steps can draw."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence

import torch

from stn_cli.coloc.score.object_search import share_of
from stn_cli.coloc.train.settings import REGRESSION
from stn_cli.media.cache import header_of
from stn_cli.media.scan import ImageFile
from stn_cli.runs.config import TrainConfig


def most_learnt(config: TrainConfig, dense: bool) -> int:
    """As many images as all steps of a kind draw together, if no image is drawn twice: more of them would be labelled for nothing.

    Args:
        config: `steps`, `finetune`, `batch`, `cascade`, `search` and `search_images` are used.
        dense: whether the encoder is a network: its objects are chosen among proposals, unless a rigid layout is asked for. One that is found
            unasked is learnt from as many images, each of them more often.

    Returns:
        At least as many as the search looks at.

    >>> most_learnt(TrainConfig(), dense=True), most_learnt(TrainConfig(search="rigid"), dense=True)
    (1120, 14080)
    """
    regression, finetuning = config.steps, config.finetune
    if dense and config.search != "rigid":
        regression, finetuning = -(-share_of(regression) // REGRESSION.echoes), share_of(finetuning)
    return max(config.batch * (config.cascade * regression + finetuning), config.search_images)


def learnt_from(
    images: Sequence[ImageFile],
    config: TrainConfig,
    dense: bool,
    always: Collection[str] = (),
    first: Collection[str] = (),
) -> Sequence[ImageFile]:
    """The images of a folder that a training looks at.

    Args:
        images: of the folder.
        config: as for `most_learnt`; `seed` decides which of many they are.
        dense: as for `most_learnt`.
        always: names of images that are among them in any case: a person has annotated them.
        first: names of images that are taken before others: an earlier run has learnt from them.

    Returns:
        Images in their order: all of them, or as many as `most_learnt` says and those of `always`. One that is no image by its first bytes
        does not count, and another one is drawn.
    """
    most = most_learnt(config, dense)
    if len(images) <= most:
        return images
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed)).tolist()
    known, wanted, drawn = set(first), set(always), set[int]()
    if known:
        order.sort(key=lambda number: images[number].name not in known)
    for number in order:
        drawn.add(number)
        most -= header_of(images[number]) is not None
        if not most:
            break
    return compacted([image for number, image in enumerate(images) if number in drawn or image.name in wanted])


def compacted(images: Sequence[ImageFile]) -> list[ImageFile]:
    """Copies that lie beside each other: a few out of a million would keep the memory of all from being handed back.

    Args:
        images: some of many.

    Returns:
        The same, in memory of their own.
    """
    copies: list[ImageFile] = pickle.loads(pickle.dumps(list(images)))
    return copies
