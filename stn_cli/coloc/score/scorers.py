"""The triplet margin as a scorer: how much more a crop is like the object than like a random patch.

A scorer keeps what the search found in a form that can be stored and asked about any crop of any image, and that
gradients pass through. The margin of a crop is d(crop, random) - d(crop, object).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stn_cli.coloc.crops import Crops, cut
from stn_cli.coloc.objective import ALPHA, SIZE_REWARD, triplet_margin_loss
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.search.discriminant import DIMENSIONS, LinearMargin, Projection, likeness
from stn_cli.coloc.search.rigid import RigidResult
from stn_cli.coloc.search.visual_words import FADED_PRIOR, Shares, Vocabulary, WordsResult
from stn_cli.coloc.search.windows import OUTSIDE, cells_of, lay_out, otsu
from stn_cli.encoders import Appearance, Encoder, embed_crops
from stn_cli.stn import Pyramid, sample

PROBES = 12
"""Points along a side at which a crop reads the margin map."""
RING = 1.6
"""How much larger the surroundings are that a crop is compared with."""
READ = 32
"""Components of the cells that f_loc reads."""
LIKENESS_PROBES = 6
"""Points along a side at which a crop reads what it holds."""
WHITEN, SHRINKAGE, MAP_SMOOTHING = 0.0, 1.0, 0.7
DENSE_PRIOR = 0.1


class RigidScorer(nn.Module):
    """Margins in the rigid embedding: 4 x 4 cells of structure in their places."""

    kind = "rigid"
    free_size = False
    """Sides stay as the search found them: the margin alone shrinks a crop, and its reward for size overshoots."""
    prototype: Tensor
    scale: Tensor
    random_mean: Tensor
    random_square: Tensor

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("prototype", torch.zeros(width))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("random_mean", torch.zeros(width))
        self.register_buffer("random_square", torch.zeros(()))

    @classmethod
    def of(cls, rigid: RigidResult, encoder: Encoder) -> RigidScorer:
        """The scorer of a finished search; its random patches come with `observe`."""
        scorer = cls(encoder, rigid.prototype.numel()).to(rigid.prototype.device)
        scorer.prototype.copy_(rigid.prototype)
        scorer.scale.fill_(rigid.scale)
        return scorer

    def embed(self, images: Tensor | Pyramid, crops: Crops) -> Tensor:
        """e of R crops of each image: (B, 3, S, S) -> (B, R, D)."""
        pictures = cut(images, crops, self.encoder.patch)  # (B, R, 3, patch, patch)
        return embed_crops(self.encoder, pictures.flatten(0, 1)).view(*pictures.shape[:2], -1) / self.scale

    def observe(self, positive: Tensor, random: Tensor) -> None:
        """Learn from embeddings of crops (N, 1, D) and of random patches (N, R, D) what both look like."""
        self.prototype.copy_(positive.mean((0, 1)))
        self.random_mean.copy_(random.mean((0, 1)))
        self.random_square.copy_(random.square().sum(-1).mean())

    def margin_of(self, e: Tensor) -> Tensor:
        """mean_r |e - r|^2 - |e - p|^2: embeddings (..., D) -> (...)."""
        away = -2 * e @ self.random_mean + self.random_square
        return away + 2 * e @ self.prototype - self.prototype.square().sum()

    def margins(self, scene: Scene, *crops: Crops) -> Tensor:
        """Margins of crops of each image, R in all: (B, R)."""
        return torch.cat([self.margin_of(self.embed(scene.pyramid, part)) for part in crops], 1)

    def loss(self, scene: Scene, crops: Crops, random: Crops, alpha: float) -> Tensor:
        """The objective for one crop of each image and some random patches of it: a scalar."""
        positive, away = self.embed(scene.pyramid, crops), self.embed(scene.pyramid, random)
        return triplet_margin_loss(positive[:, 0], away, alpha) - SIZE_REWARD * crops.log_area().mean()


class WordsScorer(nn.Module):
    """Margins in the loose embedding: the mean of a crop's cells' margins."""

    kind = "words"
    free_size = True
    """The closed form below has its best size inside."""
    centre: Tensor
    spread: Tensor
    words: Tensor
    inside_share: Tensor
    outside_share: Tensor
    guided: Tensor
    threshold: Tensor
    map_spread: Tensor

    def __init__(self, encoder: Encoder, words: int, channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self.register_buffer("words", torch.zeros(words, channels))
        self.register_buffer("inside_share", torch.zeros(words))
        self.register_buffer("outside_share", torch.zeros(words))
        self.register_buffer("guided", torch.zeros((), dtype=torch.bool))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("map_spread", torch.ones(()))

    @classmethod
    def of(cls, region: WordsResult, encoder: Encoder) -> WordsScorer:
        """The scorer of a finished search."""
        words = region.vocabulary.words
        scorer = cls(encoder, *words.shape).to(words.device)
        scorer.centre.copy_(region.vocabulary.centre)
        scorer.spread.copy_(region.vocabulary.spread)
        scorer.words.copy_(words)
        scorer.inside_share.copy_(region.shares.inside)
        scorer.outside_share.copy_(region.shares.outside)
        scorer.guided.fill_(region.guided)
        scorer.threshold.fill_(region.threshold)
        scorer.map_spread.fill_(region.spread)
        return scorer

    def region(self) -> WordsResult:
        """The search's result again, as far as `apply_words` needs it."""
        vocabulary = Vocabulary(self.centre, self.spread, self.words)
        shares = Shares(self.inside_share, self.outside_share)
        empty = self.words.new_zeros((0, 4))
        return WordsResult(
            vocabulary, shares, bool(self.guided), float(self.threshold), float(self.map_spread), empty, 0.0, 0.0
        )

    def score_map(self, scene: Scene) -> Tensor:
        """The margin map in standard deviations above the threshold: (B, h, w)."""
        with torch.no_grad():
            margins = self.region().margin_map(scene.appearance(self.encoder).cells)
            return (margins - self.threshold) / self.map_spread

    def margins(self, scene: Scene, *crops: Crops) -> Tensor:
        """Margins of crops of each image, R in all: mean inside less mean in a ring around it (B, R)."""
        return ring_margins(self.score_map(scene), crops)

    def loss(self, scene: Scene, crops: Crops, random: Crops, alpha: float) -> Tensor:
        """The size rule in closed form, minus the sum of (margin - threshold) over the crop: a scalar."""
        del random
        return window_loss(self.score_map(scene), scene.rectangles, crops, FADED_PRIOR[bool(self.guided)], alpha)


class DenseScorer(nn.Module):
    """Margins in a network's features, linear in each cell's (`LinearMargin`), and less where a crop is unlike the set's; also what f_loc reads.

    The direction of the margin tells objects from what lies around them, whatever they are: an object of another kind has a margin too.
    How alike a crop is to those of the set (`likeness`) tells kinds apart.

    Args:
        encoder: a dense one.
        channels: of its cells.
        objectness: whether it knows objects.
        dimensions: of the projected cells.
        examples: how many crops of the set it holds.
    """

    kind = "dense"
    free_size = False
    """Its windows were outlined in pixels: cells would only blur their sides."""
    centre: Tensor
    basis: Tensor
    direction: Tensor
    offset: Tensor
    threshold: Tensor
    map_spread: Tensor
    examples: Tensor

    def __init__(
        self, encoder: Encoder, channels: int, objectness: bool, dimensions: int = DIMENSIONS, examples: int = 0
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objectness = objectness
        self.hideable = min(READ, dimensions)
        self.channels = self.hideable + 1 + objectness
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("basis", torch.zeros(channels, dimensions))
        self.register_buffer("direction", torch.zeros(dimensions))
        self.register_buffer("examples", torch.zeros(examples, dimensions))
        self.register_buffer("offset", torch.zeros(()))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("map_spread", torch.ones(()))

    @classmethod
    def of(cls, encoder: Encoder, seen: Appearance, rectangles: Tensor, boxes: Tensor) -> DenseScorer:
        """The discriminant of what a search found.

        Args:
            encoder: a dense one.
            seen: what it sees of the set at the size that the transformer looks at.
            rectangles: (N, 4).
            boxes: (N, 4) of the objects, normalised letterbox boxes.
        """
        layout = lay_out((seen.cells.shape[-2], seen.cells.shape[-1]), rectangles)
        projection = Projection.of(seen.cells.movedim(1, -1)[layout.valid], WHITEN)
        z = projection(seen.cells)
        inside = cells_of(boxes, layout.size)
        margin = LinearMargin.fit(z, inside, layout, SHRINKAGE)
        values = margin.map(z, MAP_SMOOTHING)
        dimensions = projection.basis.shape[1]
        scorer = cls(encoder, len(projection.centre), seen.objectness is not None, dimensions, len(boxes)).to(z.device)
        scorer.centre.copy_(projection.centre)
        scorer.basis.copy_(projection.basis)
        scorer.direction.copy_(margin.direction)
        scorer.offset.copy_(margin.offset)
        scorer.threshold.copy_(otsu(values[layout.valid]))
        scorer.map_spread.copy_(values[layout.valid].std().clamp(min=1e-6))
        scorer.examples.copy_(_held(z, Crops.of_boxes(boxes[:, None]))[:, 0])
        return scorer

    def seen(self, scene: Scene) -> tuple[Tensor, Tensor]:
        """Projected cells (B, h, w, d), and the margin map in standard deviations above the threshold (B, h, w); both computed once."""
        return scene.once(self, lambda: self._seen(scene))

    @torch.no_grad()
    def _seen(self, scene: Scene) -> tuple[Tensor, Tensor]:
        z = Projection(self.centre, self.basis)(scene.appearance(self.encoder).cells)
        values = LinearMargin(self.direction, self.offset).map(z, MAP_SMOOTHING)
        return z, (values - self.threshold) / self.map_spread

    def maps(self, scene: Scene) -> Tensor:
        """What f_loc reads: the first components, the margin map, and objectness (B, channels, h, w)."""
        z, score_map = self.seen(scene)
        parts = [z[..., :READ].movedim(-1, 1), score_map[:, None]]
        odds = scene.appearance(self.encoder).objectness
        if odds is not None:
            parts.append(odds.detach()[:, None])
        return torch.cat(parts, 1)

    @torch.no_grad()
    def margins(self, scene: Scene, *crops: Crops) -> Tensor:
        """Margins of crops of each image, R in all: mean inside less mean in a ring around it, times their likeness squared (B, R)."""
        z, score_map = self.seen(scene)
        plain = ring_margins(score_map, crops)
        alike = torch.cat([likeness(_held(z, part), self.examples) for part in crops], 1).clamp(min=0)
        return plain.clamp(max=0) + plain.clamp(min=0) * alike.square()

    def loss(self, scene: Scene, crops: Crops, random: Crops, alpha: float) -> Tensor:
        """The size rule in closed form, minus the sum of (margin - threshold) over the crop: a scalar."""
        del random
        return window_loss(self.seen(scene)[1], scene.rectangles, crops, DENSE_PRIOR, alpha)


Scorer = RigidScorer | WordsScorer | DenseScorer


def ring_margins(score_map: Tensor, crops: tuple[Crops, ...]) -> Tensor:
    """Mean of a margin map (B, h, w) inside crops less half of its mean in a ring around them: (B, R) for R crops in all."""
    return torch.cat([_beyond_ring(score_map[:, None], part, PROBES)[..., 0] for part in crops], 1)


def _held(z: Tensor, crops: Crops) -> Tensor:
    """What R crops hold beyond their surroundings, in projected cells (B, h, w, d): (B, R, d)."""
    return _beyond_ring(z.movedim(-1, 1), crops, LIKENESS_PROBES)


def _beyond_ring(maps: Tensor, crops: Crops, probes: int) -> Tensor:
    """Mean of maps (B, C, h, w) inside R crops less half of their mean in a ring around each: (B, R, C)."""
    inner, whole = (_mean_in(maps, crops, probes, zoom) for zoom in (1.0, RING))
    return inner - 0.5 * (whole * RING**2 - inner) / (RING**2 - 1)


def window_loss(score_map: Tensor, rectangles: Tensor, crops: Crops, prior: float, alpha: float) -> Tensor:
    """Minus the sum of a margin map (B, h, w) over one crop of each image, the centre favoured by `prior`: a scalar."""
    layout = lay_out((score_map.shape[-2], score_map.shape[-1]), rectangles)
    wanted = score_map - prior * layout.off_centre + (ALPHA - alpha)
    mean = _mean_in(wanted.masked_fill(~layout.valid, OUTSIDE)[:, None], crops, PROBES)[..., 0]
    return -(mean * crops.log_area().exp()).mean()


def _mean_in(maps: Tensor, crops: Crops, probes: int, zoom: float = 1.0) -> Tensor:
    """Mean of maps (B, C, h, w) inside R crops of each, `zoom` times as large -> (B, R, C)."""
    points = crops.points((probes, probes), zoom)  # (B, R, probes, probes, 2)
    values = sample(maps, points.flatten(1, 2), padding="border")  # (B, C, R probes, probes)
    return values.unflatten(2, points.shape[1:3]).mean((-2, -1)).movedim(1, -1)


def encoder_state(encoder: Encoder) -> dict[str, Tensor]:
    """An encoder's tensors as a model stores them; none where it has no weights."""
    return {f"encoder.{name}": value for name, value in encoder.state_dict().items()} if isinstance(encoder, nn.Module) else {}


def own_state(scorer: Scorer) -> dict[str, Tensor]:
    """A scorer's tensors without those of its encoder, which several judges share."""
    return {name: value for name, value in scorer.state_dict().items() if not name.startswith("encoder.")}


def dimensions(scorer: Scorer) -> list[int]:
    """What `make_scorer` needs to build a scorer of the same shape."""
    if isinstance(scorer, RigidScorer):
        return [scorer.prototype.numel()]
    if isinstance(scorer, WordsScorer):
        return list(scorer.words.shape)
    return [scorer.basis.shape[0], int(scorer.objectness), scorer.basis.shape[1], len(scorer.examples)]


def make_scorer(kind: str, dimensions: list[int], encoder: Encoder) -> Scorer:
    """An empty scorer of a kind, to load a state into."""
    if kind == RigidScorer.kind:
        return RigidScorer(encoder, *dimensions)
    if kind == WordsScorer.kind:
        return WordsScorer(encoder, *dimensions)
    channels, objectness, components, examples = dimensions
    return DenseScorer(encoder, channels, bool(objectness), components, examples)
