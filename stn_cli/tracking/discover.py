"""Learn from a video's own frames what to follow: nobody said what it is.

Parts of frames that move on their own or stand out by their colours are candidates. The object is common to the frames: a candidate is
believed as far as others in other frames look like it. The best few are followed through the frames that were kept; the one that is there
most of the time, fits best, keeps moving on its own and meets the candidates of other frames most often is the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stn_cli.encoders import Encoder
from stn_cli.media.decode import Pixels
from stn_cli.media.video import VideoFrame
from stn_cli.records import overlap
from stn_cli.tracking.follower import Follower
from stn_cli.tracking.kind_settings import DISCOVERY, SALIENCY
from stn_cli.tracking.saliency import Map, box_contrast, colour_map, cut_out, motion_map, parts_of, reduced, standard


@dataclass(slots=True)
class Candidate:
    """Something that stands out in one frame.

    Attributes:
        at: number of the kept frame.
        box: (x1, y1, x2, y2), shares of the frame.
        agrees: overlap of the part with its outline.
        moves, stands_out: contrast of the motion map and of the colour map.
        recurs: how much like it something in other frames looks.
    """

    at: int
    box: tuple[float, float, float, float]
    agrees: float
    moves: float
    stands_out: float
    recurs: float = 0.0

    @property
    def value(self) -> float:
        """What candidates are ranked by; of two that explain as much the larger one is the whole."""
        area = (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])
        touches = min(self.box[0], self.box[1], 1 - self.box[2], 1 - self.box[3]) < DISCOVERY.border
        believed = DISCOVERY.without_outline + DISCOVERY.with_outline * self.agrees
        worth = max(0.0, self.recurs) * believed * min(max(0.0, self.moves), DISCOVERY.most_motion)
        stands_out = min(max(DISCOVERY.least_colour, self.stands_out), DISCOVERY.most_colour)
        worth *= stands_out**DISCOVERY.colour_power * area**DISCOVERY.area_power
        return worth * (DISCOVERY.at_border if touches else 1.0)


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the object is in one frame.

    Attributes:
        frame: the frame's index in the video.
        box: (x1, y1, x2, y2), shares of the frame.
        worth: what it was chosen by.
    """

    frame: int
    box: tuple[float, float, float, float]
    worth: float


@dataclass(slots=True)
class Kept:
    """Frames to learn from: pieces of a video, reduced.

    Attributes:
        frames: their pixels.
        indices: their indices in the video.
        clips: number of each one's piece.
    """

    frames: list[Pixels]
    indices: list[int]
    clips: list[int]

    @classmethod
    def of(cls, frames: Iterable[VideoFrame], expected: int | None) -> Kept:
        """Keep some pieces of a video.

        Args:
            frames: of the video.
            expected: how many there are, where that is known.

        Returns:
            All frames of a short video; the first ones where the length is not known; else pieces spread evenly.
        """
        kept = cls([], [], [])
        clips, clip = DISCOVERY.clips, DISCOVERY.clip
        starts, length = [0], clips * clip
        if expected is not None and expected > length:
            starts, length = [round(i * (expected - clip) / (clips - 1)) for i in range(clips)], clip
        for number, frame in enumerate(frames):
            piece = next((i for i, start in enumerate(starts) if start <= number < start + length), None)
            if piece is not None:
                kept.frames.append(reduced(frame.pixels, DISCOVERY.side))
                kept.indices.append(frame.index)
                kept.clips.append(piece)
            elif number >= starts[-1] + length:
                break
        return kept

    def looks(self) -> list[int]:
        """Choose the frames in which candidates are looked for.

        Returns:
            Their numbers, spread evenly, with neighbours on both sides where there are any.
        """
        chosen: list[int] = []
        for clip in sorted(set(self.clips)):
            own = [i for i, c in enumerate(self.clips) if c == clip]
            edge = min(max(SALIENCY.steps), (len(own) - 1) // 2)
            inner = own[edge : len(own) - edge]
            count = max(1, min(len(inner), DISCOVERY.looks // len(set(self.clips))))
            chosen += [inner[round(i * (len(inner) - 1) / max(1, count - 1))] for i in range(count)]
        return sorted(set(chosen))

    def neighbours(self, at: int) -> list[tuple[Pixels, Pixels]]:
        """The frames around one, which its motion is seen by.

        Args:
            at: its number.

        Returns:
            The frames before and after it, for each step; the nearest there is.
        """
        own = [i for i, c in enumerate(self.clips) if c == self.clips[at]]
        return [(self.frames[max(own[0], at - step)], self.frames[min(own[-1], at + step)]) for step in SALIENCY.steps]


def discover(
    kept: Kept, encoder: Encoder, device: torch.device, heard: Callable[[str], None] = lambda _: None, seed: int = 0
) -> Anchor | None:
    """Find the object of a video, and where it is best seen.

    Args:
        kept: frames of the video.
        encoder: gives the features.
        device: to work on.
        heard: called with the name of each step.
        seed: of the random numbers.

    Returns:
        Where to begin; None where nothing is worth following.
    """
    if len(kept.frames) < 3:
        return None
    looks = kept.looks()
    motions: dict[int, Map] = {}
    candidates: list[Candidate] = []
    for at in looks:
        motions[at] = motion_map(kept.frames[at], kept.neighbours(at))
        candidates += _candidates(kept.frames[at], at, motions[at])
        heard("what moves")
    if not candidates:
        return None
    _recurrence(kept, candidates, encoder, device, seed)
    candidates.sort(key=lambda c: -c.value)
    tracks: list[dict[int, tuple[float, float, float, float] | None]] = []
    best: Anchor | None = None
    for candidate in candidates[: DISCOVERY.tried]:
        if candidate.value <= 0 or any(_meets(track.get(candidate.at), candidate.box, DISCOVERY.met) for track in tracks):
            continue
        track, fit = _follow(kept, candidate, encoder, device, seed)
        heard("what stays")
        tracks.append(track)
        worth = _worth(track, fit, looks, motions, candidates)
        if best is None or worth > best.worth:
            best = Anchor(kept.indices[candidate.at], candidate.box, worth)
        if len(tracks) == DISCOVERY.followed:
            break
    return best if best is not None and best.worth >= DISCOVERY.least_worth else None


def _candidates(frame: Pixels, at: int, motion: Map) -> list[Candidate]:
    colour = colour_map(frame)
    found = []
    for values in (motion, colour, standard(motion) + standard(colour)):
        for part in parts_of(values):
            outline = cut_out(frame, part)
            agrees = overlap(outline, part.box) if outline else 0.0
            box = outline if outline and agrees > DISCOVERY.agrees else part.box
            found.append(Candidate(at, box, agrees, box_contrast(motion, box), box_contrast(colour, box)))
    return found


def _recurrence(kept: Kept, candidates: list[Candidate], encoder: Encoder, device: torch.device, seed: int) -> None:
    """How much like each candidate the most similar one of each other frame is, on average over the frames that show it best."""
    rng = np.random.default_rng(seed)
    random = []
    for c in candidates:
        w, h = c.box[2] - c.box[0], c.box[3] - c.box[1]
        x, y = rng.random() * (1 - w), rng.random() * (1 - h)
        random.append(_crop(kept.frames[c.at], (x, y, x + w, y + h)))
    crops = [_crop(kept.frames[c.at], c.box) for c in candidates]
    embedded, usual = _embed(crops, encoder, device), _embed(random, encoder, device).mean(0)
    direction = F.normalize(embedded - usual, dim=1)
    alike = (direction @ direction.T).cpu()
    frames = torch.tensor([c.at for c in candidates])
    for number, c in enumerate(candidates):
        best = sorted(float(alike[number][frames == at].max()) for at in set(frames.tolist()) if at != c.at)
        shown = best[len(best) // DISCOVERY.hidden :]
        c.recurs = sum(shown) / len(shown) if shown else 0.0


def _crop(frame: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    h, w = frame.shape[:2]
    x1, y1 = min(int(box[0] * w), w - 1), min(int(box[1] * h), h - 1)
    x2, y2 = max(x1 + 1, int(np.ceil(box[2] * w))), max(y1 + 1, int(np.ceil(box[3] * h)))
    return cv2.resize(frame[y1:y2, x1:x2], (DISCOVERY.crop, DISCOVERY.crop), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


@torch.inference_mode()
def _embed(crops: list[Pixels], encoder: Encoder, device: torch.device) -> Tensor:
    parts = []
    for i in range(0, len(crops), DISCOVERY.batch):
        images = torch.from_numpy(np.stack(crops[i : i + DISCOVERY.batch])).to(device).permute(0, 3, 1, 2).float() / 255
        parts.append(encoder.appearance(images, objectness=False).cells.mean((2, 3)))
    return torch.cat(parts)


def _follow(
    kept: Kept, candidate: Candidate, encoder: Encoder, device: torch.device, seed: int
) -> tuple[dict[int, tuple[float, float, float, float] | None], float]:
    """A candidate through its piece of the video, both ways: boxes by kept frame (None where it is absent), and the mean fit."""
    own = [i for i, c in enumerate(kept.clips) if c == kept.clips[candidate.at]]
    frame = kept.frames[candidate.at]
    h, w = frame.shape[:2]
    track: dict[int, tuple[float, float, float, float] | None] = {candidate.at: candidate.box}
    fits = []
    scale = (w, h, w, h)
    for way in (range(candidate.at + 1, own[-1] + 1), range(candidate.at - 1, own[0] - 1, -1)):
        follower = Follower(encoder, frame, [v * s for v, s in zip(candidate.box, scale, strict=True)], device, seed)
        for at in way:
            seen = follower.step(kept.frames[at])
            x1, y1, x2, y2 = (v / s for v, s in zip(seen.box, scale, strict=True))
            track[at] = (x1, y1, x2, y2) if seen.present else None
            if seen.present:
                fits.append(seen.score)
    return track, sum(fits) / len(fits) if fits else 0.0


def _worth(
    track: dict[int, tuple[float, float, float, float] | None],
    fit: float,
    looks: list[int],
    motions: dict[int, Map],
    candidates: list[Candidate],
) -> float:
    """How much a track is the object's: presence x fit x own motion x how well it meets the candidates of each frame.

    Parts move with the whole, and fit as well: the area's fourth root decides between them, as for candidates.
    """
    own = [at for at in looks if at in track]
    present = sum(box is not None for box in track.values()) / len(track)
    moves, meets = 0.0, 0.0
    for at in own:
        box = track[at]
        if box is not None:
            moves += box_contrast(motions[at], box) / len(own)
            meets += max((overlap(box, c.box) for c in candidates if c.at == at), default=0.0) / len(own)
    boxes = [box for box in track.values() if box is not None]
    area = sum((b[2] - b[0]) * (b[3] - b[1]) for b in boxes) / len(boxes)
    return present * fit * max(0.0, moves) * meets * area**DISCOVERY.area_power


def _meets(box: tuple[float, ...] | None, other: tuple[float, ...], least: float) -> bool:
    return box is not None and overlap(box, other) > least
