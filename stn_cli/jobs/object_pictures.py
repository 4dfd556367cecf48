"""What is made of the pixels of images in which objects were found: masks, crops, and the images with boxes drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.model.masked import with_masks
from stn_cli.files import PictureNames
from stn_cli.media.decode import Pixels, Unusable, decoded
from stn_cli.media.scan import ImageFile
from stn_cli.records import ImageRecord, Skipped
from stn_cli.report.figures import draw, write_picture
from stn_cli.run_lengths import instance_map


@dataclass(frozen=True, slots=True)
class ObjectPictures:
    """What is wanted, and where it goes.

    Attributes:
        folder: pictures go into `masks`, `crops` and `overlay` in it.
        localiser: cuts the crops.
        names: of the pictures of all images.
        crop_size: longer side of a crop, pixels; None cuts none.
        overlay: draw the boxes, and the masks' outlines.
        masks: find out which pixels are the objects'.
        max_pixels: images with more are skipped.
    """

    folder: Path
    localiser: Localiser
    names: PictureNames
    crop_size: int | None
    overlay: bool
    masks: bool
    max_pixels: int

    def write(self, file: ImageFile, item: ImageRecord | Skipped) -> ImageRecord | Skipped:
        """Write the pictures of one image, from its pixels at full size; decoded again, so that no full image waits in memory.

        Args:
            file: the image.
            item: what was found in it.

        Returns:
            `item`, with masks where they are wanted, or why the image could not be decoded this time.

        Raises:
            OutputError: a picture cannot be written.
        """
        if isinstance(item, Skipped):
            return item
        try:
            with decoded(file.path, max_pixels=self.max_pixels) as image:
                if self.masks:
                    if image.pixels.shape[:2] != (item.height, item.width):
                        return Skipped(file.name, "changed while it was read")
                    item = with_masks(image.pixels, item)
                self._draw(file, item, image.pixels)
        except Unusable as reason:
            return Skipped(file.name, str(reason))
        return item

    def _draw(self, file: ImageFile, item: ImageRecord, image: Pixels) -> None:
        if self.masks:
            masks = [found.mask for found in item.with_believed().objects if found.mask is not None]
            instances = instance_map(masks, image.shape[:2])
            write_picture(self.folder / "masks" / self.names.of(file.name, ".png"), instances)
        if self.overlay:
            drawn = image
            for found in reversed(item.with_believed().objects):
                drawn = draw(drawn, found)
            write_picture(self.folder / "overlay" / self.names.of(file.name, ".jpg"), drawn)
        if self.crop_size is not None:
            for number, found in enumerate(item.with_believed().objects, 1):
                crop = self.localiser.crop(image, found, self.crop_size)
                write_picture(self.folder / "crops" / self.names.of(file.name, ".png", number), crop)
