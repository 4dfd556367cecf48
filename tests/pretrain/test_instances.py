"""The instance network: truth of canvases, targets and their inverse, learning, files."""

import cv2
import numpy as np
import pytest
import torch

from stn_cli.encoders.small_network import SmallNetwork
from stn_cli.errors import CheckpointError, InputError
from stn_cli.instances.network import STRIDE, InstanceNetwork, Maps
from stn_cli.instances.overlap import iou_and_giou
from stn_cli.instances.proposals import Proposals, merged, propose, read_maps, suppress, voted
from stn_cli.instances.weights import FILE, quick, read_instances, write_instances
from stn_cli.pretrain.instances.__main__ import main
from stn_cli.pretrain.instances.canvases import compose, seen_boxes
from stn_cli.pretrain.instances.cutouts import Cutout, cut_out_object
from stn_cli.pretrain.instances.finish import compressed
from stn_cli.pretrain.instances.learning import losses, targets_of
from stn_cli.pretrain.instances.plan import SLOTS, Dice, Mix, draw_plan
from stn_cli.pretrain.instances.stock import Stock, extents, read_stock, write_stock
from stn_cli.pretrain.instances.train import Recipe, train_instances

CPU = torch.device("cpu")


def discs(n: int = 12, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (n, side, side, 3) of a bright ellipse on dark noise, and the ellipses."""
    g = torch.Generator().manual_seed(0)
    at = torch.arange(side) + 0.5
    pictures, masks = [], []
    for k in range(n):
        rx, ry = 10 + k, 24 - k
        mask = (((at - 32) / rx)[None] ** 2 + ((at - 32) / ry)[:, None] ** 2) < 1
        colour = torch.tensor([230, 60 + 10 * k, 40])
        noise = torch.randint(0, 60, (side, side, 3), generator=g)
        pictures.append(torch.where(mask[..., None], colour + noise // 4, noise).clamp(0, 255).byte())
        masks.append(mask)
    return torch.stack(pictures), torch.stack(masks)


@pytest.fixture(scope="module")
def stock() -> Stock:
    pictures, masks = discs()
    cut = torch.zeros((len(masks), 4), dtype=torch.bool)
    cut[-2:, 3] = True
    return Stock.of(pictures, masks.byte(), torch.arange(len(masks)) // 4, cut)


def test_an_outline_is_found_and_says_which_sides_cut_it():
    pictures, masks = discs(4)
    shifted = [*range(26, 64), *range(44, 64), *range(44, 50)]  # over the left side; the gap is filled with ground
    picture, mask = pictures[2].numpy()[:, shifted], masks[2].numpy()[:, shifted]
    margins = cv2.resize(mask.astype(np.float32) - 0.5, (16, 16), interpolation=cv2.INTER_AREA)
    columns = np.flatnonzero(mask.any(0))
    box = torch.tensor([-1.0, -0.7, columns[-1] / 32 - 1, 0.7])
    found = cut_out_object(picture, box, margins)
    assert found is not None
    assert (found.mask.astype(bool) & mask).sum() / (found.mask.astype(bool) | mask).sum() > 0.9
    assert found.cut == (True, False, False, False)
    assert cut_out_object(np.full_like(picture, 90), box, margins) is None  # nothing to tell apart


def test_colours_of_a_cutout_reach_beyond_it_and_scenes_are_without_it(stock):
    rim = (stock.alpha[:, 0] > 0) & (stock.alpha[:, 0] < 100)
    assert stock.objects[:, 0][rim].float().mean() > 200  # no dark fringe
    assert stock.scenes[:, 0].float().mean() < 60  # the bright thing is gone
    assert len(stock.whole) == 10
    assert len(stock.edged) == 2


def test_extents_are_the_masks_own():
    mask = torch.zeros((1, 1, 64, 64))
    mask[..., 8:24, 16:64] = 1
    assert extents(mask).tolist() == [[-0.5, -0.75, 1.0, -0.25]]


def test_boxes_of_a_canvas_are_what_is_seen():
    visible = torch.zeros((1, 2, 32, 32))
    visible[0, 0, 3:9, 5:20] = 0.9
    visible[0, 0, 9, 5:20] = 0.4  # a soft edge does not count
    boxes, some = seen_boxes(visible)
    assert boxes[0, 0].tolist() == [5, 3, 20, 9]
    assert some.tolist() == [[True, False]]


def test_a_canvas_tells_the_truth(stock):
    """With one bright thing on dark scenes the box can be read off the pixels' own plan: where the alpha is."""
    truth = compose(stock, 24, 96, 3)
    again = compose(stock, 24, 96, 3)
    assert torch.equal(truth.images, again.images)
    assert 0 <= float(truth.images.min()) <= float(truth.images.max()) <= 1
    assert truth.seen.shape == (24, SLOTS, 96 // STRIDE, 96 // STRIDE)
    assert int(truth.known.sum()) >= 24
    assert not (truth.known & truth.unsure).any()
    for b, k in truth.known.nonzero().tolist():
        x1, y1, x2, y2 = truth.boxes[b, k].tolist()
        rows, columns = (truth.seen[b, k] > 0.99).nonzero().unbind(1)  # cells that are wholly the object's lie in its box
        if len(rows):
            assert STRIDE * int(columns.min()) >= x1
            assert STRIDE * int(rows.min()) >= y1
            assert STRIDE * (int(columns.max()) + 1) <= x2
            assert STRIDE * (int(rows.max()) + 1) <= y2
    assert float(truth.seen.sum(1).max()) <= 1 + 1e-4  # one topmost thing to a pixel


def test_a_plan_lays_cutouts_where_its_maps_say(stock):
    """A cutout's middle lies on the canvas where the plan's affine map is its extents' middle, and cut sides lie at the edge."""
    plan = draw_plan(stock, 128, Dice(64, CPU, 0), Mix())
    assert plan.is_object.any(1).float().mean() > 0.9
    assert not (plan.is_object & plan.is_stuff).any()
    low = torch.isin(plan.which, stock.edged) & plan.is_object
    low[:, 0] &= ~plan.natural
    assert low.any()
    bottom = torch.einsum("bkij,j->bki", plan.affine, torch.tensor([64.0, 128.0, 1.0]))[
        ..., 1
    ]  # in the picture, at the lower edge
    edge = stock.extents[plan.which][..., 3]
    height = edge - stock.extents[plan.which][..., 1]
    assert ((edge - bottom) / height)[low].min() > -0.01
    assert ((edge - bottom) / height)[low].max() < 0.11


def test_pictures_as_they_are_lie_under_what_is_pasted(stock):
    dice, mix = Dice(32, CPU, 0), Mix(natural=1.0, close=0.0, stuff=0.0)
    plan = draw_plan(stock, 64, dice, mix)
    assert plan.natural.all()
    assert plan.is_object[:, 0].all()
    truth = compose(stock, 32, 64, 0, mix)
    assert truth.known[:, 0].float().mean() > 0.5
    near = compose(stock, 32, 64, 0, Mix(natural=0.0, close=1.0))
    assert not (near.known | near.unsure)[:, 0].all()  # too near to be asked for, and to be left open


def truth_of(stock: Stock) -> tuple:
    truth = compose(stock, 16, 128, 5)
    return truth, targets_of(truth)


def test_proposals_are_the_inverse_of_targets(stock):
    """Maps that say the targets exactly give every object's box back."""
    truth, targets = truth_of(stock)
    B, h, w = targets.owner.shape
    boxes = truth.boxes.gather(1, targets.owner.clamp(min=0).flatten(1)[..., None].expand(B, h * w, 4)).view(B, h, w, 4)
    y, x = ((torch.arange(n) + 0.5) * STRIDE for n in (h, w))
    sides = torch.stack(
        [x[None] - boxes[..., 0], y[:, None] - boxes[..., 1], boxes[..., 2] - x[None], boxes[..., 3] - y[:, None]], 1
    )
    fit = torch.where(targets.central, 8.0, -8.0)
    found_all = 0
    for b in range(B):
        maps = Maps(fit[b : b + 1], fit[b : b + 1], sides[b : b + 1], torch.ones((1, 64, h, w)))
        found = merged([read_maps(maps, 0, (128, 128))], 100)
        true = truth.boxes[b][truth.known[b]]
        sure = found.boxes[found.scores > 0.5] * 128
        owned = torch.isin(truth.known[b].nonzero()[:, 0], targets.owner[b][targets.central[b]])
        iou = iou_and_giou(true[owned][:, None], sure[None])[0].amax(1) if len(sure) else torch.zeros(int(owned.sum()))
        assert (iou > 0.6).all()  # two true boxes that are alike count as one
        found_all += int((iou > 0.999).sum())
    assert found_all > 0.9 * int(truth.known.sum()) - 4


def test_boxes_that_are_alike_become_their_mean():
    """By their scores; what is not alike has no vote, nor has a box that is none."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 12], [2, 0, 10, 10], [30, 30, 40, 40], [0, 0, 10, 11]])
    scores = torch.tensor([0.4, 0.2, 0.2, 0.9, -1.0])
    found = voted(boxes[[3, 0]], boxes, scores, 0.6)
    assert torch.allclose(found, torch.tensor([[30.0, 30, 40, 40], [0.5, 0, 10, 10.5]]))
    nothing = torch.zeros(2, 4)
    assert torch.equal(voted(nothing, nothing, torch.ones(2), 0.6), nothing)  # no area: like none, not even itself
    parts = [
        Proposals(boxes[:2] / 50, scores[:2], torch.zeros(2, 64), boxes[:2] / 50),
        Proposals(boxes[2:4] / 50, scores[2:4], torch.ones(2, 64), boxes[2:4] / 50),
    ]
    both = merged(parts, 10)
    assert torch.allclose(both.means * 50, found)
    assert torch.allclose(both.boxes * 50, boxes[[3, 0]])  # by these it is told which ones are apart
    assert both.scores.tolist() == pytest.approx([0.9, 0.4])
    assert merged(parts, 1).scores.tolist() == pytest.approx([0.9])


def test_cells_belong_to_the_topmost(stock):
    truth, targets = truth_of(stock)
    owned = targets.owner >= 0
    most, top = (truth.seen * truth.known[..., None, None]).max(1)
    assert torch.equal(targets.owner[most > 0.5], top[most > 0.5])
    assert (targets.central <= owned).all()
    assert truth.known.gather(1, targets.owner.clamp(min=0).flatten(1))[owned.flatten(1)].all()


def test_overlap_is_iou_and_its_generalisation():
    a, b = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]]), torch.tensor([[1.0, 0, 3, 2], [3, 0, 4, 1]])
    iou, giou = iou_and_giou(a, b)
    assert iou.tolist() == pytest.approx([1 / 3, 0])
    assert giou.tolist() == pytest.approx([1 / 3, -0.5])  # apart: half of the hull is neither's


def test_a_box_like_a_better_one_is_left_out():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 1, 0.55], [0, 0, 0.5, 1]])
    assert suppress(boxes, 0.6).tolist() == [0, 2, 3]


def test_compression_keeps_what_is_flat_and_coarsens_the_rest():
    g = torch.Generator().manual_seed(0)
    step = torch.full((1, 1, 1, 1), 0.1)
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert torch.allclose(compressed(flat, step), flat, atol=1e-5)
    noise = torch.rand((1, 3, 16, 16), generator=g)
    assert torch.allclose(compressed(noise, step * 1e-4), noise, atol=1e-3)
    error = (compressed(noise, step) - noise).square().mean().sqrt()
    assert 0.02 < float(error) < 0.2


def test_the_loss_falls_on_a_few_canvases(stock):
    torch.manual_seed(0)
    network, classifier = InstanceNetwork(), torch.nn.Linear(64, 3)
    truth = compose(stock, 2, 64, 1)
    optimiser = torch.optim.AdamW([*network.parameters(), *classifier.parameters()], 3e-3)
    seen = []
    for _ in range(8):
        loss = sum(losses(network(truth.images - 0.5), truth, classifier).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen.append(float(loss.detach()))
    assert seen[-1] < 0.7 * seen[0]


def test_training_writes_weights_that_are_read_back_and_propose(stock, tmp_path):
    lines = []
    kept = train_instances(stock, SmallNetwork(), tmp_path, Recipe(minutes=1, pixels=1, steps=2), CPU, lines.append)
    network, facts = read_instances(tmp_path / FILE)
    assert facts["steps"] == 2
    assert facts["canvases"] >= 4
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            assert torch.allclose(tensor, kept.state_dict()[name], atol=2e-3), name
    image = torch.rand((3, 70, 100), generator=torch.Generator().manual_seed(0))
    for each in (network, quick(network, CPU)):
        found = propose(each, image[None], (64, 96), 20)[0]
        assert 0 < len(found.boxes) <= 20
        assert bool((found.scores[:-1] >= found.scores[1:]).all())
        assert bool((found.boxes >= 0).all())
        assert bool((found.boxes <= 1).all())


def test_maps_of_any_size_fit_their_images():
    maps = InstanceNetwork().eval()(torch.rand(1, 3, 64, 96))
    assert maps.fit.shape == (1, 16, 24)
    assert maps.boxes().shape == (1, 16, 24, 4)
    assert maps.looks.shape == (1, 64, 16, 24)


@pytest.mark.parametrize("damage", ["missing", "short", "other"])
def test_weights_that_cannot_be_used_are_refused(damage, tmp_path):
    path = tmp_path / FILE
    if damage != "missing":
        write_instances(path, InstanceNetwork(), {"architecture": "another"} if damage == "other" else {})
    if damage == "short":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        CheckpointError, match={"missing": "no instance", "short": "damaged", "other": "another version"}[damage]
    ):
        read_instances(path)


def test_a_stock_is_read_as_it_was_written(tmp_path):
    pictures, masks = discs(4)
    blobs = [cv2.imencode(".png", p.numpy()[..., ::-1])[1].tobytes() for p in pictures]
    outlines = [Cutout(m.numpy().astype(np.uint8), 0.9, (False, False, False, k == 1)) for k, m in enumerate(masks)]
    write_stock(tmp_path / "stock.npz", blobs, outlines, np.array([1, 0, 1, 0], np.int16))
    stock = read_stock(tmp_path / "stock.npz")
    assert stock.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(stock.pictures[0], pictures[1].permute(2, 0, 1))
    assert stock.cut[0].tolist() == [False, False, False, True]
    assert stock.whole.tolist() == [1, 2, 3]


def test_a_file_that_is_no_stock_is_refused(tmp_path):
    (tmp_path / "stock.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a file of cutouts"):
        read_stock(tmp_path / "stock.npz")


def test_the_command_cuts_and_trains(tmp_path, capsys):
    pictures, _ = discs(8)
    blobs = [cv2.imencode(".png", p.numpy()[..., ::-1])[1].tobytes() for p in pictures]
    np.savez(
        tmp_path / "shard.npz",
        blob=np.frombuffer(b"".join(blobs), np.uint8),
        offset=np.cumsum([0, *map(len, blobs)]),
        label=np.arange(8) // 4,
    )
    main(["cut", str(tmp_path / "shard.npz"), "--out", str(tmp_path / "stock.npz"), "--device", "cpu", "--workers", "1"])
    stock = read_stock(tmp_path / "stock.npz")
    assert len(stock.labels) >= 4  # bright discs on dark ground: most outlines agree
    command = ["train", str(tmp_path / "stock.npz"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    main([*command, "--steps", "1", "--pixels", "1"])
    before = read_instances(tmp_path / "out" / FILE)[0].state_dict()
    main([*command, "--steps", "1", "--pixels", "1", "--lr", "0", "--begin", str(tmp_path / "out" / FILE)])
    after = read_instances(tmp_path / "out" / FILE)[0].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "running" not in name and "tracked" not in name)
    assert capsys.readouterr().out.strip().endswith(FILE)


def test_images_of_different_sizes_are_looked_at_together_where_their_canvases_are_of_one_size():
    """And what is found is what is found in each alone."""
    g = torch.Generator().manual_seed(0)
    images = [torch.rand((3, *size), generator=g) for size in ((70, 100), (66, 100), (100, 40), (70, 100))]
    torch.manual_seed(0)
    network, looked = InstanceNetwork().eval(), []
    torch.nn.init.normal_(network.read.weight, std=0.3)

    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, canvases):
            looked.append(len(canvases))
            return self.network(canvases)

    together = propose(Counting(), images, (64,), 20)
    assert sorted(looked) == [1, 3]
    for image, found in zip(images, together, strict=True):
        (alone,) = propose(network, [image], (64,), 20)
        assert len(found.boxes) > 0
        assert torch.allclose(found.scores, alone.scores, atol=1e-5)
        assert torch.allclose(found.boxes, alone.boxes, atol=1e-4)
        assert torch.allclose(found.means, alone.means, atol=1e-4)
