"""From a run to its student: what the run finds is learnt, a size to look at is chosen, and whether the student is believed."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from stn_cli.coloc.model.accord import Accord, calibrate_student
from stn_cli.coloc.model.fast import FastLook
from stn_cli.coloc.model.fast_file import Fast, keep_fast, load_fast
from stn_cli.coloc.model.many import images_per_call, localise_many
from stn_cli.coloc.model.settings import FAST
from stn_cli.errors import CheckpointError, counted
from stn_cli.instances.distil import Lesson, learn_lessons
from stn_cli.instances.student import StudentNetwork
from stn_cli.media.cache import Letterbox, load_letterbox
from stn_cli.media.scan import ImageFile
from stn_cli.records import EVEN, ImageRecord
from stn_cli.runs.folder import read_images
from stn_cli.runtime.ordered import ordered_map
from stn_cli.runtime.progress import Reporter
from stn_cli.runtime.threads import default_workers

if TYPE_CHECKING:
    from stn_cli.coloc.model.localiser import Localiser

SEED = 0
"""Of which images are learnt from and which are held out, and of the learning."""


def fast_way(localiser: Localiser, more: Sequence[ImageFile], reporter: Reporter) -> Localiser:
    """A run with its student, from its folder or made now, where the student is to be believed.

    Args:
        localiser: the run, that finds on its own path.
        more: images to learn from beside those that the run was trained on.
        reporter: is told of progress, of the agreement, and why the run's own path is taken where it is.

    Returns:
        The fast localiser, or the one that was given.

    Raises:
        CheckpointError: what is kept is damaged, or the run has no list of images.
    """
    if any(part.proposer is None for part in localiser.parts):
        reporter.warn(
            "--fast has nothing to save here: this run looks for one layout, or has no proposals; it goes its own path"
        )
        return localiser
    fast = load_fast(localiser.run, len(localiser.parts))
    own = _own_images(localiser.run, more) if fast is None or fast.look is None else []
    new = _others(own, more)
    if fast is None or (fast.look is None and min(len(own) + len(new), FAST.images) >= FAST.worth_another * fast.images):
        fast = learn_fast(localiser, own, new, reporter)
        keep_fast(localiser.run, fast, reporter.warn)
    if fast.look is None:
        reporter.warn(f"--fast: the run's own path is taken ({fast.said})")
        return localiser
    reporter.stage(f"fast: {fast.said}", None)
    return replace(localiser, letterbox=fast.look.side, coarse=fast.look.side, fast_look=fast.look)


def _own_images(run: Path, more: Sequence[ImageFile]) -> Sequence[ImageFile]:
    """The run's own images; none where their list is gone and there are others."""
    try:
        return read_images(run)
    except CheckpointError:
        if not more:
            raise
        return []


def _others(own: Sequence[ImageFile], more: Sequence[ImageFile]) -> list[ImageFile]:
    """Those of further images that are not the run's own, by whichever links they are reached."""
    folders = dict[str, str]()

    def place(file: ImageFile) -> str:
        folder, name = os.path.split(file.path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)

    known = {place(file) for file in own}
    return [file for file in more if place(file) not in known]


def learn_fast(localiser: Localiser, own: Sequence[ImageFile], new: Sequence[ImageFile], reporter: Reporter) -> Fast:
    """Make a run's student.

    Args:
        localiser: the run, that finds on its own path; each of its kinds has a proposer.
        own: images that the run was trained on.
        new: others, to learn from, too; where there are enough of them they alone are held out, as neither way knows them.
        reporter: is told of progress.

    Returns:
        The student with the smallest look at which it agrees with the run well enough, or that there is none.

    Raises:
        DivergedError: the learning came to nothing.
    """
    reporter.stage("learn fast", None)
    files = _drawn(own, new)
    seen = list(_seen(localiser, files, reporter))
    if len(seen) < FAST.least_images:
        said = f"only {counted(len(seen), 'image')} of those that the run was trained on can be read, {FAST.least_images} are needed"
        return Fast(None, said, len(files))
    held, lessons = round(FAST.held * len(seen)), [lesson for _, _, lesson in seen]
    side = side_for(lessons)
    if side is None:
        return Fast(None, f"they are smaller than {FAST.object_pixels} pixels where {FAST.sides[-1]} are looked at", len(files))
    network = _beginner(localiser)

    def heard(note: str) -> None:
        reporter.advance(0, note)

    network = learn_lessons(network, lessons[held:], side, FAST.steps_first, SEED, check=heard)
    accord = Accord.of(_looked(localiser, network, side, seen[:held]), [record for _, record, _ in seen[:held]])
    if accord.same < FAST.least_same:
        more = "more images may bring that" if len(files) < FAST.images else "it has learnt from as many images as it takes"
        asked = f"{FAST.least_same:.0%} are asked; {more}"
        return Fast(None, f"{accord.words()}; {asked}", len(files))
    network = learn_lessons(network, lessons, side, FAST.steps_last, SEED, FAST.last_rate, heard)
    records = [record for _, record, _ in seen]
    calibrate_student(network, _looked(localiser, network, side, seen), records)
    said, network = f"{side} pixels, {accord.words()}", network.half().float()  # as it is kept: all calls find the same
    return Fast(FastLook(network, side, said), said, len(files))


def _drawn(own: Sequence[ImageFile], new: Sequence[ImageFile]) -> list[ImageFile]:
    """Images to learn from, in an order drawn by lot; those first that may be held out."""
    draw = random.Random(SEED)
    few = draw.sample(list(new), min(len(new), FAST.images // 2 if len(own) >= FAST.images // 2 else FAST.images - len(own)))
    rest = draw.sample(list(own), min(len(own), FAST.images - len(few)))
    if len(few) >= FAST.held * (len(few) + len(rest)):
        return few + rest
    mixed = few + rest
    draw.shuffle(mixed)
    return mixed


def side_for(lessons: Sequence[Lesson]) -> int | None:
    """The smallest look that shows nearly all objects large enough.

    Args:
        lessons: of the run.

    Returns:
        Its longer side, pixels; the largest where none does; None where not even that shows most of them at all.
    """
    longest = []
    for lesson in lessons:
        sizes = lesson.boxes * torch.tensor([*lesson.image.shape[:0:-1]] * 2) / max(lesson.image.shape[1:])
        if len(sizes):
            likely = lesson.scores >= lesson.scores.amax().clamp(max=EVEN)
            longest += (sizes[:, 2:] - sizes[:, :2]).amax(1)[likely].tolist()
    if not longest:
        return None
    shares = torch.tensor(longest)
    usual, most = float(shares.quantile(FAST.smaller)), float(shares.median())
    if most * FAST.sides[-1] < FAST.object_pixels:
        return None
    return next((side for side in FAST.sides if usual * side >= FAST.enough_pixels), FAST.sides[-1])


def _beginner(localiser: Localiser) -> StudentNetwork:
    """A student that has learnt nothing yet, the same each time, whatever torch has drawn before."""
    proposer = localiser.parts[0].proposer
    assert proposer is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return StudentNetwork(len(localiser.parts)).begin_with(copy.deepcopy(proposer.network).float().cpu())


def _looked(
    localiser: Localiser, network: StudentNetwork, side: int, seen: Sequence[tuple[ImageFile, ImageRecord, Lesson]]
) -> list[ImageRecord]:
    """What a student finds in images that were looked at before."""
    fast = replace(localiser, letterbox=side, coarse=side, fast_look=FastLook(network, side, ""))
    found = list(fast.localise_files([file for file, _, _ in seen]))
    return [record for record in found if isinstance(record, ImageRecord)]


def _seen(
    localiser: Localiser, files: Sequence[ImageFile], reporter: Reporter
) -> Iterator[tuple[ImageFile, ImageRecord, Lesson]]:
    """The images that can be decoded, with what the run finds in them."""
    batch = images_per_call(localiser.letterbox, FAST.images_at_once)
    loaded = ordered_map(lambda f: load_letterbox(f, localiser.letterbox), files, default_workers())
    for number, (image, record) in enumerate(localise_many(localiser, loaded, None, batch, reporter.warn), 1):
        if isinstance(image, Letterbox) and isinstance(record, ImageRecord):
            yield image.file, record, _lesson(image, record)
        if number % batch == 0:
            reporter.advance(0, f"{counted(number, 'image')} looked at")


def _lesson(image: Letterbox, record: ImageRecord) -> Lesson:
    left, top, w, h = image.frame.content
    pixels = torch.from_numpy(image.pixels[top : top + h, left : left + w].copy()).permute(2, 0, 1)
    if max(h, w) > FAST.picture:
        size = [max(1, round(n * FAST.picture / max(h, w))) for n in (h, w)]
        pixels = F.interpolate(pixels[None].float(), size, mode="area")[0].round().byte()
    boxes = torch.tensor([found.box for found in record.objects]).view(-1, 4)
    return Lesson(
        pixels,
        boxes / torch.tensor([record.width, record.height] * 2),
        torch.tensor([found.score for found in record.objects]),
        torch.tensor([found.kind for found in record.objects], dtype=torch.long),
    )
