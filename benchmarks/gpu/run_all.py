"""Every check and benchmark that wants a GPU, in one script; also runs on the CPU.

    python benchmarks/gpu/run_all.py [--device cuda|cpu] [--quick] [--out FILE.json]

1. Agreement: every transformation, kernel and the pyramid on the device against the CPU in float64, by a table of tolerances per dtype.
2. Crop sampler: crops per second, forward and backward, beside `grid_sample` (which aliases) and `torchvision.ops.roi_align`;
   share of the device's measured copy bandwidth that the forward pass reaches.
3. Localiser: images per second of the trained network and scorer on letterboxes that are already on the device.
4. Trainings on sample_data: CorLoc, seconds, optimiser steps per second.

The paper's tables take a device too: `python -m benchmarks.paper.table1 --device cuda --epochs 640`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

sys.path.insert(0, str(Path(__file__).parents[2]))  # so that it also runs as a file

from benchmarks.common import parser
from benchmarks.provenance import ROOT, TRACKING, begin, save
from stn_cli.coloc.model.localiser import Localiser
from stn_cli.coloc.scene import Scene
from stn_cli.coloc.train.run import train
from stn_cli.geometry import box_to_matrix, normalised_to_pixels
from stn_cli.runs.config import TrainConfig
from stn_cli.runs.folder import read_images
from stn_cli.runs.metrics import read_metrics
from stn_cli.stn import KERNELS, TRANSFORMS, TRANSFORMS_3D, Pyramid, affine_grid, by_name, sample, sample_reduced

TOLERANCES = {torch.float32: 2e-4, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def clock(device: torch.device, run: Callable[[], Any], seconds: float) -> float:
    """Seconds per call, after a warm-up, over at least `seconds`."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    for _ in range(3):
        run()
    wait()
    calls, begun = 0, time.perf_counter()
    while True:
        run()
        calls += 1
        if calls % 5 == 0:
            wait()
            spent = time.perf_counter() - begun
            if spent >= seconds:
                return spent / calls


def agreement(device: torch.device) -> list[dict[str, Any]]:
    """Largest difference from the CPU in float64: every transformation and kernel, per dtype of the picture; coordinates are float32."""
    rows = []
    for dtype, tolerance in TOLERANCES.items():
        if device.type == "cpu" and dtype == torch.float16:
            continue
        for name, (theirs, mine) in readings(device, dtype).items():
            off = float((mine.double().cpu() - theirs).abs().max())
            rows.append({"dtype": str(dtype), "what": name, "off": off, "tolerance": tolerance, "ok": off <= tolerance})
    return rows


@torch.no_grad()
def readings(device: torch.device, dtype: torch.dtype) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """What -> (on the CPU in float64, on the device)."""
    torch.manual_seed(0)
    U = F.interpolate(torch.rand(2, 3, 16, 20, dtype=torch.float64), size=(64, 80), mode="bicubic").clamp(0, 1)
    volume = F.interpolate(torch.rand(2, 1, 6, 6, 6, dtype=torch.float64), size=(24, 24, 24), mode="trilinear")
    out = {}
    for name in TRANSFORMS | TRANSFORMS_3D:
        transform, there = by_name(name), by_name(name)
        if isinstance(transform, torch.nn.Module) and isinstance(there, torch.nn.Module):
            transform.double()
            there.to(device)
        theta = transform.identity(torch.float64) * 0.8 + 0.02 * torch.rand(2, transform.theta_dim, dtype=torch.float64)
        source, size = (U, (16, 16)) if transform.dims == 2 else (volume, (8, 8, 8))
        points = there.grid(theta.float().to(device), size)
        out[name] = sample(source, transform.grid(theta, size)), sample(source.to(device, dtype), points)
    points = affine_grid(torch.eye(2, 3, dtype=torch.float64).repeat(2, 1, 1) * 0.51 + 0.003, (16, 16))
    for kernel in KERNELS:
        if kernel != "gaussian":
            out[kernel] = (
                sample(U, points, kernel=kernel),
                sample(U.to(device, dtype), points.float().to(device), kernel=kernel),
            )
    reduced = (
        sample_reduced(Pyramid(u), p[:, None]) for u, p in ((U, points), (U.to(device, dtype), points.float().to(device)))
    )
    out["reduced"] = next(reduced), next(reduced)
    return out


def copy_bandwidth(device: torch.device, size: int, seconds: float) -> float:
    """Bytes per second, read and written, of a copy on the device."""
    source = torch.rand(size // 4, device=device)
    target = torch.empty_like(source)
    return 2 * size / clock(device, lambda: target.copy_(source), seconds)


def sampler(device: torch.device, quick: bool) -> list[dict[str, Any]]:
    """Crops per second at three sizes of crop."""
    B, R, S, side = (4, 16, 128, 32) if quick else (64, 64, 256, 32)
    seconds = 0.3 if quick else 1.0
    torch.manual_seed(0)
    U = torch.rand(B, 3, S, S, device=device)
    bandwidth = copy_bandwidth(device, 64 << 20 if quick else 2 << 30, seconds)
    rows = []
    for share in (0.1, 0.25, 0.6):
        half = torch.full((B, R, 2), share, device=device)
        centre = (torch.rand(B, R, 2, device=device) * 2 - 1) * (1 - share)
        boxes = torch.cat([centre - half, centre + half], -1)
        matrix = box_to_matrix(boxes)
        rois = normalised_to_pixels(boxes.view(B, R, 2, 2), (S, S)).view(B * R, 4)
        rois = torch.cat([torch.arange(B, device=device).repeat_interleave(R)[:, None].float(), rois], 1)
        pyramid = Pyramid(U)

        def ours(u: torch.Tensor, p: Pyramid | None = None, m: torch.Tensor = matrix) -> torch.Tensor:
            return sample_reduced(p or Pyramid(u), affine_grid(m, (side, side)))

        def plain(u: torch.Tensor, m: torch.Tensor = matrix) -> torch.Tensor:
            return F.grid_sample(u, affine_grid(m, (side, side)).reshape(B, R * side, side, 2), align_corners=False)

        def roi(u: torch.Tensor, r: torch.Tensor = rois) -> torch.Tensor:
            return roi_align(u, r, (side, side), sampling_ratio=-1, aligned=True)

        read = min(U.numel(), B * R * 3 * (share * S) ** 2) * 4
        moved = read + B * R * 3 * side * side * 4
        row: dict[str, Any] = {"crop_share": share, "crops": B * R, "image": S, "side": side}
        with torch.no_grad():
            forward = clock(device, lambda u=U, p=pyramid: ours(u, p), seconds)
            row["ours"] = B * R / forward
            row["ours_with_pyramid"] = B * R / clock(device, lambda: ours(U), seconds)
            row["grid_sample"] = B * R / clock(device, lambda: plain(U), seconds)
            row["roi_align"] = B * R / clock(device, lambda: roi(U), seconds)
        row["share_of_bandwidth"] = moved / forward / bandwidth
        leaf = U.clone().requires_grad_()
        for name, function in (("ours", ours), ("grid_sample", plain), ("roi_align", roi)):
            spent = clock(device, lambda f=function, u=leaf: f(u).sum().backward(), seconds)
            row[f"{name}_forward_backward"] = B * R / spent
        rows.append(row)
    return rows


def trainings(device: torch.device, quick: bool, folder: Path) -> list[dict[str, Any]]:
    """The two sets of sample_data, default settings (fewer steps when quick)."""
    rows = []
    for name in ("cups", "digits"):
        config = TrainConfig(device=str(device), **({"steps": 40, "finetune": 5} if quick else {}))
        begun = time.perf_counter()
        result = train(ROOT / "sample_data" / name / "images", folder / name, config)
        seconds = time.perf_counter() - begun
        steps = sum(m.get("stage") == "regression" and "loss" in m for m in read_metrics(folder / name / "metrics.jsonl"))
        rows.append(
            {
                "set": name,
                "corloc": score(folder / name, ROOT / "sample_data" / name / "boxes.json", device),
                "seconds": seconds,
                "steps": steps,
                "steps_per_second": regression_rate(folder / name, device),
                "kind": result.kind,
            }
        )
    return rows


def score(run: Path, truth: Path, device: torch.device) -> float:
    """CorLoc of a run on its own images, percent."""
    from stn_cli.evaluate import score_boxes
    from stn_cli.records import ImageRecord

    localiser = Localiser.load(run, str(device))
    records = [r for r in localiser.localise_files(read_images(run)) if isinstance(r, ImageRecord)]
    return score_boxes(records, truth).corloc


def regression_rate(run: Path, device: torch.device) -> float:
    """Optimiser steps per second of the regression, batch 32."""
    from stn_cli.coloc.score.kinds import Kind
    from stn_cli.coloc.train.augment import Augmenter, draw_generator
    from stn_cli.coloc.train.optimise import descend
    from stn_cli.coloc.train.regress import regression_loss
    from stn_cli.media.cache import build_cache

    localiser = Localiser.load(run, str(device))
    cache = build_cache(read_images(run), localiser.letterbox)
    cache.settle(device)
    part = localiser.parts[0]
    transformer = part.finder.transformer().train().requires_grad_(True)
    localisation = part.finder.localisation()
    parameters = list(transformer.parameters())
    optimiser = torch.optim.AdamW(transformer.parameter_groups(1e-6))
    n = len(cache)
    boxes = torch.tensor([[[-0.4, -0.4, 0.4, 0.4]]], device=device).repeat(n, 1, 1)
    present = torch.ones(n, 1, dtype=torch.bool, device=device)
    kind = Kind("words", part.scorer, boxes, torch.zeros(n, 1, device=device), present, [], None, None)
    images = Augmenter(cache, kind, transformer.transform, 1, False, 32, localisation.reader.hideable)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            sample_ = images.augment(draw_generator(0, 0))
            seen = localisation.look(sample_.scene, sample_.shown)
            loss = regression_loss(localisation.body, seen, sample_)
        descend(loss, optimiser, parameters, 0)

    return 1 / clock(device, step, 1.0)


def localiser_rate(run: Path, device: torch.device, quick: bool) -> dict[str, float]:
    """Images per second of network and scorer, by batch."""
    localiser = Localiser.load(run, str(device))
    rates = {}
    for batch in (1, 16) if quick else (1, 16, 256, 1024):
        images = torch.rand(batch, 3, localiser.letterbox, localiser.letterbox, device=device)
        rectangles = torch.tensor([[-1.0, -1.0, 1.0, 1.0]], device=device).repeat(batch, 1)
        spent = clock(device, lambda i=images, r=rectangles: localiser.look(Scene(i, r)), 0.3 if quick else 1.0)
        rates[str(batch)] = batch / spent
    return rates


def pretraining(device: torch.device, quick: bool, folder: Path) -> dict[str, float]:
    """Pictures per second of the small encoder's two trainings, on made pictures of 64 x 64."""
    import numpy as np

    from stn_cli.geometry import Frame
    from stn_cli.media.cache import Cache
    from stn_cli.pretrain import selfsupervised, supervised
    from stn_cli.pretrain.pictures import Pictures

    batch = 32 if quick else 512
    pixels = np.random.default_rng(0).integers(0, 255, (4 * batch, 64, 64, 3), np.uint8)
    pictures = Pictures(torch.from_numpy(pixels), torch.arange(4 * batch) % 10)
    rates = {}
    for name in ("class labels", "self-supervised"):
        place = folder / name
        place.mkdir()
        begun = time.perf_counter()
        if name == "class labels":
            supervised.train_supervised(pictures, pictures, place, supervised.SupervisedRecipe(epochs=2, batch=batch), device)
            seen = 2 * len(pictures)
        else:
            cache = Cache(pixels, [Frame(64, 64, 64)] * len(pixels), [str(i) for i in range(len(pixels))], [], [])
            cache.settle(device)
            selfsupervised.train_selfsupervised(cache, place, selfsupervised.SelfSupervisedRecipe(steps=8, batch=batch), device)
            seen = 8 * batch
        rates[name] = seen / (time.perf_counter() - begun)
    return rates


def tracking(device: torch.device, quick: bool) -> dict[str, float]:
    """The follower on a made clip: least IoU with the truth, and frames per second of 1280x720."""
    import cv2
    import numpy as np

    from stn_cli.encoders import make_encoder
    from stn_cli.geometry import box_iou
    from stn_cli.tracking.follower import Follower

    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(30, 220, (720, 1280, 3), np.uint8), (0, 0), 3)
    frames, boxes = [], []
    for i in range(12 if quick else 60):
        x, y = round(640 + 300 * np.cos(i / 20)), round(360 + 200 * np.sin(i / 20))
        frame = ground.copy()
        cv2.circle(frame, (x, y), 60, (220, 30, 30), -1, cv2.LINE_AA)
        cv2.line(frame, (x - 30, y), (x + 30, y), (255, 255, 240), 12)
        frames.append(frame)
        boxes.append([x - 60.0, y - 60.0, x + 60.0, y + 60.0])
    encoder = make_encoder("small")
    encoder.to(device)
    follower = Follower(encoder, frames[0], boxes[0], device)
    found = [follower.step(frames[1]).box]
    begun = time.perf_counter()
    found += [follower.step(frame).box for frame in frames[2:]]
    rate = (len(frames) - 2) / (time.perf_counter() - begun)
    return {"least IoU": float(box_iou(torch.tensor(found), torch.tensor(boxes[1:])).min()), "frames per second": rate}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--out", type=Path, help="result file; none when left out")
    options = arguments.parse_args()
    device = torch.device(options.device)
    begin()
    result: dict[str, Any] = {"quick": options.quick}
    result["agreement"] = agreement(device)
    for dtype in dict.fromkeys(row["dtype"] for row in result["agreement"]):
        mine = [row for row in result["agreement"] if row["dtype"] == dtype]
        worst = max(mine, key=lambda row: row["off"])
        wrong = [row["what"] for row in mine if not row["ok"]]
        verdict = f"WRONG: {', '.join(wrong)}" if wrong else "all ok"
        print(f"agreement {dtype:15} of {len(mine)}, largest {worst['off']:.1e} ({worst['what']}): {verdict}")
    result["sampler"] = sampler(device, options.quick)
    for row in result["sampler"]:
        print(
            f"crops/s, crop {row['crop_share']:.2f} of the image: ours {row['ours']:.3g} (with its pyramid "
            f"{row['ours_with_pyramid']:.3g}), grid_sample {row['grid_sample']:.3g}, roi_align {row['roi_align']:.3g}; "
            f"{100 * row['share_of_bandwidth']:.0f} % of copy bandwidth"
        )
        print(
            f"  forward and backward: ours {row['ours_forward_backward']:.3g}, "
            f"grid_sample {row['grid_sample_forward_backward']:.3g}, roi_align {row['roi_align_forward_backward']:.3g}"
        )
    with tempfile.TemporaryDirectory() as temporary:
        result["trainings"] = trainings(device, options.quick, Path(temporary))
        for row in result["trainings"]:
            print(
                f"training {row['set']:7} CorLoc {row['corloc']:.1f}, {row['seconds']:.1f} s, {row['steps']} steps, "
                f"{row['steps_per_second']:.1f} steps/s"
            )
        result["localiser"] = localiser_rate(Path(temporary) / "cups", device, options.quick)
        result["pretraining"] = pretraining(device, options.quick, Path(temporary))
    result["tracking"] = tracking(device, options.quick)
    print(", ".join(f"tracking, {name}: {value:.3g}" for name, value in result["tracking"].items()))
    for batch, rate in result["localiser"].items():
        print(f"localiser, batch {batch:>4}: {rate:.0f} images/s")
    for name, rate in result["pretraining"].items():
        print(f"pretraining, {name}: {rate:.0f} pictures/s")
    if options.out:
        save("gpu", result, (*TRACKING, "stn_cli/pretrain"), out=options.out)
    if not all(row["ok"] for row in result["agreement"]):
        raise SystemExit("the device disagrees with the CPU")


if __name__ == "__main__":
    main()
