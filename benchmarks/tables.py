"""The tables of README.md and docs, each made from its result file; under each stands where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from benchmarks import photo_table
from benchmarks.common import CHOSEN
from benchmarks.markdown import Figure, markdown, result, shown, source
from benchmarks.paper import tables as paper
from benchmarks.paper.reported import TABLE5
from benchmarks.soak import record

RIVALS = ("CSRT", "KCF", "MIL")


def digits() -> str:
    rows = []
    for kind in ("T", "TC"):
        own = [r for name, r in result("digits")["sets"].items() if name.rstrip("0123456789") == kind]
        mean = {key: sum(r[key] for r in own) / len(own) for key in own[0]}
        least, most = min(r["corloc"] for r in own), max(r["seconds"] for r in own)
        seconds = f"{mean['seconds']:.0f} (most {most:.0f})"
        rows.append(
            [
                f"{kind}0 to {kind}9",
                f"{mean['corloc']:.1f}",
                f"{least:.0f}",
                f"{mean['corloc_new']:.0f}",
                seconds,
                f"{mean['gigabytes']:.1f} GB",
            ]
        )
    rows.append(
        ["the paper, T / TC: its encoder was trained with the digits' labels", " / ".join(TABLE5.values()), *[None] * 4]
    )
    return markdown(["", "mean", "least", "new images", "seconds", "memory"], rows) + source("digits")


def photos() -> str:
    rows = result("photos")["sets"]
    lines = [[name, seeds, corloc if corloc == "-" else f"**{corloc}**", *rest]
             for name, seeds, corloc, *rest in photo_table.cells(rows, photo_table.ACCURACY, units=True)]  # fmt: skip
    return markdown(["", "seeds", *(c.title for c in photo_table.ACCURACY)], lines) + source("photos")


def photos_cost() -> str:
    rows = result("photos")["sets"]
    columns = ["", "seeds", *(c.title for c in photo_table.COST)]
    return markdown(columns, photo_table.cells(rows, photo_table.COST, units=True)) + source("photos")


def photos_more() -> str:
    halves, absent = result("photos_halves")["sets"], result("photos_absent")["sets"]
    rows = [
        ["trained on", *(f"{r['trained on']:.0f}" for r in halves.values())],
        ["new", *(f"{r['new']:.0f}" for r in halves.values())],
        ["mixed with", *(absent[n]["with"] for n in halves)],
        ["AUROC", *(f"{absent[n]['auroc']:.2f}" for n in halves)],
    ]
    return markdown(["", *halves], rows) + source("photos_halves", "photos_absent")


def photos_several() -> str:
    rows = [[n, f"{r['precision']:.0f}", f"{r['recall']:.0f}", r["found"]] for n, r in result("photos_several")["sets"].items()]
    return markdown(["`--objects 3`", "precision", "recall", "objects that score 0.5"], rows) + source("photos_several")


def gradient_photos() -> str:
    rows = [
        [n, f"{r['corloc']:.1f}", *(f"{r[key]:.0f}" for key in ("centred", "best_half", "rest", "seconds"))]
        for n, r in result("gradient_photos")["sets"].items()
    ]
    return markdown(["", "CorLoc", "best centred box", "better-scored half", "the rest", "seconds"], rows) + source(
        "gradient_photos"
    )


def localise_speed() -> str:
    large, small = result("localise_speed"), result("photos_speed")["sets"]
    columns = ["images/s", "files", "`localise`", "plain loop", "best loop", "to the plain one", "to the best one", "memory"]
    rows = []
    for name, r in (("12 megapixels", large), *small.items()):
        rates = [shown(r[key]) for key in ("images", "ours", "full_loop", "best_loop")]
        rows.append([name, *rates, shown(r["ratio_full"], 2), shown(r["ratio_best"], 2), shown(r["gigabytes"], 2, " GB")])
        if "model" in r:
            ratios = shown(r["model_ratio_full"], 2), shown(r["model_ratio_best"], 2)
            rows.append([f"{name}, without the start", None, shown(r["model"]), None, None, *ratios, None])
    return markdown(columns, rows) + source("localise_speed", "photos_speed")


def video() -> str:
    def cell(r: dict[str, Any]) -> str:
        ends = [f"{word} {r[key]:.2f}" for word, key in (("least", "least"), ("most", "most")) if r[key] is not None]
        return f"{r['mean']:.2f}" + (f" ({', '.join(ends)})" if ends else "")

    sets = result("video")["sets"]
    nothing = sets["none"]
    rows = [
        [name, *(cell(r[who]) for who in ("ours", *RIVALS)), f"{nothing[name]['ours']:.2f}"] for name, r in sets["init"].items()
    ]
    rows[-1] = [f"**{c}**" for c in rows[-1]]
    return markdown(["", "ours", *RIVALS, "ours, nothing given"], rows) + source("video", rows=("init", "none"))


def video_absent() -> str:
    rows = []
    for name, r in result("video")["sets"]["absent"].items():
        waits = "; ".join(", ".join("never" if w is None else str(w) for w in seed) for seed in r["ours"]["found_again"])
        rows.append([name, f"{r['ours']['false_alarms']:.2f}", f"{r['CSRT']['false_alarms']:.2f}", waits])
    columns = ["", "false alarms", "CSRT", "frames until it is found again, seeds 0; 1; 2"]
    return markdown(columns, rows) + source("video", rows=("absent",))


def video_several() -> str:
    rows = [[n, *(f"{r[key]:.2f}" for key in ("hota", "idf1", "mota"))] for n, r in result("video")["sets"]["several"].items()]
    return markdown(["given", "HOTA", "IDF1", "MOTA"], rows) + source("video", rows=("several",))


def video_speed() -> str:
    columns = ["frames/s", "frames", "`track`", "CSRT", "ratio", "success AUC", "CSRT's"]
    rows = [
        [
            n,
            r["frames"],
            *(shown(r[k], d) for k, d in (("ours", 0), ("CSRT", 0), ("ratio", 1), ("success", 2), ("CSRT_success", 2))),
        ]
        for n, r in result("video")["sets"]["speed"].items()
    ]
    return markdown(columns, rows) + source("video", rows=("speed",))


def large_folders() -> str:
    sets = result("large_folders")["sets"]
    rows = []
    for part, cells in sets.items():
        for name, r in cells.items():
            if isinstance(r, dict) and "search" in r:
                corloc = "; ".join(f"{c:.1f}" for c in r.get("corloc", []))
                seconds = f"{r['after_decoding']:.0f} ({r['search']:.0f})"
                rows.append([f"{part} {name}", corloc, seconds, f"{r['anonymous_mb']:,}", f"{r['resident_mb']:,}"])
    columns = ["", "CorLoc; of images in both", "seconds (search)", "anonymous memory, MB", "resident, MB"]
    return markdown(columns, rows) + source("large_folders")


def scale() -> str:
    said = result("scale")["rows"]
    rows = [
        [f"{r['workers']} that sleep" if share else f"{r['workers']} that find" if r["workers"] else "the local engine",
         shown(r["images_per_second"], 1), share and f"{share:.3f}", shown(r.get("worker_ms"), 2), shown(r.get("driver_ms"), 3),
         shown(r.get("start_seconds")),
         shown(r.get("store_megabytes"))]
        for part in ("asleep", "real") for r in said[part].values() for share in [r.get("share")]
    ]  # fmt: skip
    rows += [[f"8 that sleep, {int(n):,} images", *[None] * 5, shown(r["store_megabytes"])] for n, r in said["memory"].items()]
    rows.append(["listing a folder", *[None] * 3, shown(said["listing"]["driver_ms"], 3), None, None])
    columns = [
        "workers",
        "images/s",
        "share of linear",
        "worker, ms an image",
        "driver, ms an image",
        "start, s",
        "object store, MB",
    ]
    return markdown(columns, rows) + source("scale")


def million() -> str:
    rows = [
        [what, f"{r['images']:,}", f"{r['megabytes']:,}", f"{r['seconds']:,}"] for what, r in result("million")["rows"].items()
    ]
    return markdown(["", "images", "memory, MB", "seconds"], rows) + source("million")


def aliasing() -> str:
    said = result("aliasing")["rows"]
    shown = [k for k in said if "OpenCV" not in k and k != "64, bicubic"]
    rows = [[f"512 to {k}", said[k]["false"], said[k]["lost"]] for k in shown]
    return markdown(["", "false contrast, %", "lost below half the limit, %"], rows) + source("aliasing")


def warps() -> str:
    said = result("warps")["rows"]
    pictures = ("photograph", "zone plate", "noise")
    ways = [f"{p}, {way}" for p in pictures for way in ("one level", "footprints")]
    rows = [[f"**{name}**" if name == "mean" else name, *(f"{row[way]:.1f}" for way in ways)] for name, row in said.items()]
    return markdown(["error, % of the range", *(w.replace("footprints", "ours") for w in ways)], rows) + source("warps")


def warps_speed() -> str:
    said = result("warps")["rows"]
    rows = []
    for way in ("bilinear", "one level", "footprints"):
        cells = [[said[name][f"{what}, {way}"] for name in said if name != "mean"] for what in ("ms", "ms of many")]
        rows.append([way.replace("footprints", "ours"), *(f"{f(cell):.1f}" for cell in cells for f in (fmean, max))])
    columns = ["a crop of each", "slowest warp", "fifty crops of each, pyramid made before", "slowest warp"]
    return markdown(["ms of eight pictures", *columns], rows) + source("warps")


SAMPLERS = ("grid affine", "grid projective", "grid thin_plate_spline", "grid affine3d", "sample bilinear, zeros", "sample bilinear, reflection",
            "sample bicubic, zeros", "sample integer, zeros", "sample integer, 16 channels", "sample trilinear, volume")  # fmt: skip


def sampler() -> str:
    said = result("sampler")["microseconds"]
    rows = []
    for name in SAMPLERS:
        r = said[name]
        times = [None if r[k] is None else f"{r[k]:.0f}" for k in ("ours", "torch", "kornia")]
        rows.append([name, *times, f"{r['ratio']:.2f}", f"{r['ratio_backward']:.2f}"])
    return markdown(["", "ours", "torch", "kornia", "ratio", "with backward"], rows) + source("sampler")


def gpu_sampler() -> str:
    said = result("gpu")["sampler"]
    lines = {
        "pyramid, fused kernels": ("ours", ".1f"),
        "... with the making of the pyramid": ("ours_with_pyramid", ".1f"),
        "roi_align": ("roi_align", ".1f"),
        "grid_sample": ("grid_sample", ".1f"),
        "forward and backward: fused, with its pyramid": ("ours_forward_backward", ".2f"),
        "... roi_align": ("roi_align_forward_backward", ".2f"),
    }
    rows = [[what, *(format(r[key] / 1e6, how) for r in said)] for what, (key, how) in lines.items()]
    return markdown(["crop, share of the image's side", *(f"{r['crop_share']:.2f}" for r in said)], rows) + source("gpu")


def video_reading() -> str:
    sets = result("video_reading")["sets"]
    ways = ("OpenCV", "PyAV")
    rows = [
        [
            "to a random frame of 300, ms (wrong ones)",
            *(f"{r['milliseconds']:.0f} ({r['wrong']})" for r in _of(ways, sets["seeking"])),
        ]
    ]
    rows += [
        [f"worst time stamp, ms off: {name}", *(f"{r['worst_ms']:.0f}" for r in _of(ways, by))]
        for name, by in sets["stamps"].items()
    ]
    for name, by in sets["damage"].items():
        said = [
            f"{r['frames']} frames, {r['differ']} of them not as they were; {r['says'] or 'says nothing'}"
            for r in _of(ways, by)
        ]
        rows.append([name, *said])
    for codec, by in sets["codecs"].items():
        rows.append([f"{codec}, frames of 30", *(str(count) for count in _of(ways, by))])
    return markdown(["", *ways], rows) + source("video_reading", rows=("seeking", "stamps", "damage", "codecs"))


def video_reading_speed() -> str:
    sets = result("video_reading")["sets"]["speed"]
    rows = []
    for way in sets["h264"]:
        cells = [
            (f"{r['cpu_ms']:.2f}", f"{r['frames_per_second']:.0f}") for r in (sets[codec][way] for codec in ("h264", "mpeg4"))
        ]
        rows.append([way, *(cell for pair in cells for cell in pair)])
    columns = ["", "H.264, ms of the processor", "frames/s", "MPEG-4, ms of the processor", "frames/s"]
    return markdown(columns, rows) + source("video_reading", rows=("speed",))


def _of(ways: Sequence[str], by: dict[str, Any]) -> list[Any]:
    return [by[way] for way in ways]


def soak() -> str:
    return record.table(result("soak"))


def front() -> str:
    large, small, moving = result("localise_speed"), result("photos_speed")["sets"]["raccoon"], result("video")["sets"]
    rows: list[list[Any]] = []

    def beside(what: str, other: str, ours: float, theirs: float | None, digits: int = 0) -> None:
        if theirs is not None:
            rows.append([what, other, f"{Figure(ours):.{digits}f} / {Figure(theirs):.{digits}f} = {Figure(ours / theirs):.2f}"])

    pictured = result("photos")["sets"]
    for name, theirs in photo_table.LOST.items():
        corloc = photo_table.mean_of_set(pictured, name, "corloc")
        if corloc is not None:
            beside(f"boxes on {name.removeprefix('voc07_')}s (VOC 2007), CorLoc", "LOST, DINO ViT-S/16", corloc, theirs, 1)
    given = moving["init"]["mean"]
    for who in RIVALS:
        what = f"following from a first box, success AUC, mean of {len(moving['init']) - 1} videos"
        beside(what if who == RIVALS[0] else "...", f"OpenCV's {who}", given["ours"]["mean"], given[who]["mean"], 2)
    for name, r in moving["speed"].items():
        beside(f"following, {name}, frames/s", "OpenCV's CSRT", r["ours"], r["CSRT"])
    for what, r in (("JPEGs of 12 megapixels", large), ("photographs of 400 pixels", small)):
        beside(f"`localise`, {what}, images/s", "a plain loop that only decodes them", r["ours"], r["full_loop"])
        beside("...", "the best loop that only decodes them", r["ours"], r["best_loop"])
    helped = result("help_time")
    beside("`stn-coloc --help`, milliseconds", "`import typer`", 1000 * helped["help_seconds"], 1000 * helped["typer_seconds"])
    return markdown(["", "beside", "ours / theirs"], rows)


def review() -> str:
    said = result("review")
    rows = [
        ["from the command to the address", f"{said['start_ms']:.0f} ms"],
        ["from the address to a screen full of thumbnails", f"{said['first_screen_ms']:.0f} ms"],
        [
            "from one frame to the next while scrolling: median, 95 of 100",
            f"{said['frame_median_ms']:.0f}, {said['frame_95_ms']:.0f} ms",
        ],
        ["a screen anywhere else: median, longest", f"{said['screen_median_ms']:.0f}, {said['screen_max_ms']:.0f} ms"],
        ["from a key to what is on disk and shown as done", f"{said['action_ms']:.0f} ms"],
        ["memory of the server at its peak", f"{said['memory_mb']:.0f} MB"],
    ]
    return markdown([f"{said['images']:,} photographs", ""], rows) + source("review")


def instances() -> str:
    columns = ["", *(f"{n} proposals" for n in (1, 5, 20, 50)), "AP50", "CorLoc of the first", "best of 10", "best centred box"]
    said = result("instances")
    keys = ("r1", "r5", "r20", "r50", "ap", "c1", "c10", "centred")
    rows: list[list[str]] = [[n, *(f"{r[key]:.0f}" for key in keys)] for n, r in said["sets"].items()]
    halves = {
        "constants may be chosen on": [n for n in said["sets"] if n in CHOSEN],
        "the other half": [n for n in said["sets"] if n not in CHOSEN],
    }
    for title, names in {"mean": list(said["sets"]), **halves}.items():
        rows.append([title, *(f"{sum(said['sets'][n][key] for n in names) / len(names):.0f}" for key in keys)])
    return markdown(columns, rows) + source("instances")


def masks() -> str:
    columns = ["", "mean IoU", "below .5", "boxes off: mean IoU", "below .5", "ms an object"]
    rows = [
        [
            name,
            f"{r['iou']:.3f}",
            f"{100 * r['bad']:.0f} %",
            f"{r['iou_off']:.3f}",
            f"{100 * r['bad_off']:.0f} %",
            f"{r['ms']:.0f}",
        ]
        for name, r in result("masks")["rows"].items()
    ]
    return markdown(columns, rows) + source("masks")


def finetuning() -> str:
    columns = ["", "CorLoc", "after", "mean IoU", "after", "held-out objective", "after", "kept"]
    sets = result("finetuning")["sets"]
    keys = ("corloc_before", "corloc_after", "iou_before", "iou_after", "objective_before", "objective_after")
    digits = (1, 1, 3, 3, 3, 3)
    rows = [
        [name.removesuffix(" 0"), *(f"{r[k]:.{d}f}" for k, d in zip(keys, digits, strict=True)), "yes" if r["kept"] else "no"]
        for name, r in sets.items()
    ]
    for title, own in photo_table.HALVES.items():
        if not (some := [r for name, r in sets.items() if name.rpartition(" ")[0] in own]):
            continue
        figures = [sum(r[k] for r in some) / len(some) for k in keys[:4]]
        rows.append([title, *(f"{f:.{d}f}" for f, d in zip(figures, digits, strict=False)), "", "", ""])
    return markdown(columns, rows) + source("finetuning")


def kept() -> str:
    sets = result("kept")["sets"]
    rules = {"all": "all boxes", "from_half": "from 0.5 on", "kept": "and the best of each image"}
    keys = {"corloc": 1, "ap50": 1, "f1": 1, "precision": 1, "recall": 1, "boxes": 2}
    rows = [
        [name, title, *(shown(r[rule][key], digits) for key, digits in keys.items())]
        for name, r in sets.items()
        for rule, title in rules.items()
    ]
    for rule, title in rules.items():
        means = [sum(r[rule][key] for r in sets.values()) / len(sets) for key in keys]
        rows.append(["mean", title, *(shown(mean, digits) for mean, digits in zip(means, keys.values(), strict=True))])
    return markdown(["", "kept", "CorLoc", "AP50", "F1", "precision", "recall", "boxes an image"], rows) + source("kept")


def doubt() -> str:
    sets = result("kept")["sets"]
    orders = {"best": "best box", "worst": "worst box of all", "sureness": "worst box that is kept"}
    rows = [[name, shown(100 * r["wrong"]), *(shown(r["auroc"][order], 2) for order in orders)] for name, r in sets.items()]
    known = [r["auroc"] for r in sets.values() if r["auroc"]["best"] is not None]
    rows.append(["mean", None, *(shown(sum(a[order] for a in known) / len(known), 2) for order in orders)])
    return markdown(["", "% of images with a mistake", *orders.values()], rows) + source("kept")


def busy() -> str:
    names = {"now": "as it is", "spinning": "threads that spin while they wait, as before", "one thread": "`--threads 1`"}
    ways = result("busy")["ways"]
    rows = [
        [title, shown(ways[way]["alone"], 2), *(shown(ratio, 2) for ratio in [*ways[way]["ratios"][1:], None, None][:2])]
        for way, title in names.items()
    ]
    return markdown(["", "alone, to the one that spins", "beside one loop", "beside two"], rows) + source("busy")


def busy_localise() -> str:
    names = {
        "own images": "as it is: each thread looks at images of its own",
        "shared": "threads share the images of a call, as before",
    }
    rates: dict[str, list[float]] = result("busy")["localise"]
    rows = [[names.get(way, "`--threads 1`"), *(shown(rate, 1) for rate in of)] for way, of in rates.items()]
    return markdown(["images/s", "alone", "beside one loop", "beside two"], rows) + source("busy")


def localise_rivals() -> str:
    names = {
        "decoding": "decoding alone, reduced by the decoder",
        "localise": "`localise`, from files to records",
        "localise --fast": "`localise --fast`, the same",
        "ViT-S/16 at 224": "ViT-S/16 at 224 x 224",
        "ViT-S/16 at full size": "ViT-S/16 at full size",
        "ssdlite320": "`ssdlite320_mobilenet_v3_large`",
    }
    ways = result("localise_rivals")["ways"]
    rows = [
        [title, shown(ways[way]["per_second"], 1), shown(ways[way]["to_ours"], 2)]
        for way, title in names.items()
        if way in ways
    ]
    return markdown(["", "images/s", "to ours"], rows) + source("localise_rivals")


def fast() -> str:
    sets = result("fast")["sets"]
    columns = ["", "CorLoc", "fast", "AP50", "fast", "images/s", "fast", "decoding", "look", "agreement, held out", "seconds"]
    rows = []
    for name, r in sets.items():
        accurate = [shown(r.get(key), 1) for key in ("exact_corloc", "fast_corloc", "exact_ap50", "fast_ap50")]
        speeds = [shown(r.get(key)) for key in ("exact_per_second", "fast_per_second", "decoding_per_second")]
        look = "own path" if r["side"] is None else f"{r['side']} pixels"
        rows.append([name, *accurate, *speeds, look, shown(r["agreement"]), shown(r["seconds"])])
    return markdown(columns, rows) + source("fast")


def decoders() -> str:
    rows = [[name, shown(r["ratio"], 2), shown(r["apart"])] for name, r in result("decoders")["rows"].items()]
    return markdown(["", "to OpenCV", "levels apart at most"], rows) + source("decoders")


LEARNT = ("chosen 1", "random 1", "chosen 5", "chosen 10", "random 10", "chosen 20", "random 20", "chosen 40")
RIVALS_OF_20 = {"detector": "FCOS, 20", "neighbours": "neighbours, 20"}


def loop_corloc() -> str:
    return _loop("corloc") + source("loop")


def loop_ap50() -> str:
    return _loop("ap50")


def _loop(what: str) -> str:
    """A row for each set, before and after on the same images; means over the sets that have every column."""
    sets = result("loop")["sets"]
    here = [key for key in LEARNT if any(key in rows for rows in sets.values())]
    lines, whole = [], list[list[float]]()
    for name, rows in sets.items():
        pairs = [(rows[key]["before"][what], rows[key]["after"][what]) if key in rows else None for key in here]
        rivals = [rows.get("chosen 20", {}).get(rival) for rival in RIVALS_OF_20]
        told = [f"{pair[0]:.0f} → {pair[1]:.0f}" if pair else None for pair in pairs]
        lines.append([name, *told, *(f"{rival[what]:.0f}" if rival else None for rival in rivals)])
        if all(pairs) and all(rivals):
            whole.append([v for pair in pairs for v in pair or ()] + [rival[what] for rival in rivals if rival])
    means = [Figure(sum(column) / len(whole)) for column in zip(*whole, strict=True)]
    n = 2 * len(here)
    told = [f"{means[i]:.1f} → {means[i + 1]:.1f}" for i in range(0, n, 2)]
    lines.append([f"mean of the {len(whole)} with all figures", *told, *(f"{mean:.1f}" for mean in means[n:])])
    return markdown(["", *here, *RIVALS_OF_20.values()], lines)


def near_duplicates() -> str:
    columns = ["", "images", "groups", "largest", "val of 80,20", "moved when as many are added"]
    said = result("near_duplicates")
    rows = [
        [
            name,
            f"{r['images']:.0f}",
            f"{r['groups']:.0f}",
            f"{r['largest']:.0f}",
            f"{r['val']:.0f}",
            f"{100 * r['moved']:.0f} %",
        ]
        for name, r in said["sets"].items()
    ]
    return markdown(columns, rows) + source("near_duplicates")


def near_duplicates_found() -> str:
    said = result("near_duplicates")
    clips, copies = said["clips"], said["copies"]
    rows = [
        [f"groups of {clips['frames']} frames of {clips['clips']} clips", f"{clips['groups']}"],
        ["of them with frames of two clips", f"{clips['mixed']}"],
        ["clips in one group", f"{clips['whole']}"],
        *(
            [f"of {copies['photographs']} photographs grouped with a copy: {how}", f"{100 * share:.1f} %"]
            for how, share in copies.items()
            if how != "photographs"
        ),
    ]
    return markdown(["", ""], rows)


def onnx_runs() -> str:
    columns = ["", "scorer", "images", "from the letterbox on", "from the image on", "halves", "images with other objects"]
    rows = [
        [
            name,
            r["scorer"],
            r["images"],
            *(f"{r[way]['pixels']:.1e} px" for way in ("from_letterbox", "from_image", "halves")),
            " / ".join(str(r[way]["counts"]) for way in ("from_letterbox", "from_image", "halves")),
            shown(r["ratio_single"], 2),
            shown(r["ratio_default"], 2),
            shown(r["megabytes"], 0, " MB"),
        ]
        for name, r in result("onnx_runs")["sets"].items()
    ]
    return markdown([*columns, "torch / file", "`localise` / file", "size"], rows) + source("onnx_runs")


TABLES: dict[str, Callable[[], str]] = {
    make.__name__: make
    for make in (
        *(front, digits, photos, photos_cost, photos_more, photos_several, gradient_photos, localise_speed, large_folders),
        *(video, video_absent, video_several, video_speed, video_reading, video_reading_speed),
        *(aliasing, sampler, gpu_sampler, soak, instances, masks, finetuning, review, near_duplicates, near_duplicates_found),
        *(kept, doubt, busy, busy_localise, decoders, localise_rivals, fast, loop_corloc, loop_ap50),
        *(onnx_runs, warps, warps_speed, scale, million),
        *(paper.table1, paper.table4, paper.table5, paper.volume, paper.rotated, paper.several),
        *(
            paper.pooling,
            paper.basis,
            paper.theta_forward,
            paper.parts,
            paper.house_numbers,
            paper.high_resolution,
            paper.oversampling,
            paper.segmentation,
        ),
    )
}
