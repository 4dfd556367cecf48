"""`stn-coloc doctor`."""

from __future__ import annotations

from stn_cli.cli.options import Debug, Json

NEEDED = (
    "torch",
    "torchvision",
    "numpy",
    "opencv-python",
    "pillow",
    "typer",
    "rich",
    "tqdm",
    "safetensors",
    "tomli-w",
    "jinja2",
    "defusedxml",
    "pycocotools",
    "av",
)
"""What pyproject.toml requires; a test holds them together."""
OPTIONAL = {
    "trackers": "several objects in a video: pip install 'stn-coloc[track]'",
    "scipy": "several objects in a video: pip install 'stn-coloc[track]'",
    "pyarrow": "Parquet: pip install 'stn-coloc[parquet]'",
    "onnx": "runs as ONNX files: pip install 'stn-coloc[onnx]'",
    "onnxscript": "runs as ONNX files: pip install 'stn-coloc[onnx]'",
    "ray": "many machines: pip install 'stn-coloc[ray]'",
    "pillow-heif": "HEIC of phones: pip install 'stn-coloc[heif]'",
    "starlette": "reviewing boxes in the browser: pip install 'stn-coloc[review]'",
    "uvicorn": "reviewing boxes in the browser: pip install 'stn-coloc[review]'",
    "pillow-jxl-plugin": "JPEG XL: pip install 'stn-coloc[heif]'",
}
LEAST_TORCH = (2, 10)
"""The version that pyproject.toml asks for."""


def doctor(json: Json = False, debug: Debug = False) -> None:
    """Print versions and devices, and what is missing."""
    import importlib.metadata
    import importlib.util
    import platform
    import sys

    from stn_cli.cli.console import print_json, print_table
    from stn_cli.errors import ResourceError
    from stn_cli.version import __version__

    rows = [("stn-coloc", __version__), ("python", platform.python_version()), ("system", platform.platform())]
    missing = []
    for name in NEEDED:
        try:
            rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            if name == "opencv-python" and importlib.util.find_spec("cv2"):
                rows.append((name, "other build of OpenCV"))
                continue
            rows.append((name, "missing"))
            missing.append(name)
    for name, use in OPTIONAL.items():
        try:
            rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((name, f"not installed; for {use}"))
    unloadable: list[ImportError] = []
    rows += _devices(missing, unloadable)
    if json:
        print_json(dict(rows))
    else:
        print_table(rows, "stn-coloc doctor")
    if missing:
        raise ResourceError("packages are missing or too old", ", ".join(missing), sys.executable, "pip install stn-coloc")
    if unloadable:
        raise unloadable[0]


def _devices(missing: list[str], unloadable: list[ImportError]) -> list[tuple[str, str]]:
    import os

    from stn_cli.errors import counted
    from stn_cli.runtime.threads import available_cores

    try:
        import cv2
        import torch
    except ModuleNotFoundError:  # said before
        return []
    except ImportError as error:
        unloadable.append(error)
        return []
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < LEAST_TORCH:
        missing.append("torch >= 2.10 (older ones load pickles unsafely)")
    cores, free = os.cpu_count() or 1, available_cores()
    fewer = f", {free} of them for this process" if free < cores else ""
    rows = [("cpu", f"{counted(cores, 'core')}{fewer}, {counted(min(torch.get_num_threads(), free), 'torch thread')}")]
    for i in range(torch.cuda.device_count()):
        p = torch.cuda.get_device_properties(i)
        rows.append((f"cuda:{i}", f"{p.name}, {p.total_memory / 2**30:.0f} GiB"))
    if not torch.cuda.is_available():
        rows.append(("cuda", "none"))
    rows.append(("mps", "yes" if torch.backends.mps.is_available() else "none"))
    build = cv2.getBuildInformation()
    jpeg = next((line.split(":")[1].strip() for line in build.splitlines() if line.strip().startswith("JPEG:")), "unknown")
    rows.append(("jpeg decoder", jpeg))
    return rows
