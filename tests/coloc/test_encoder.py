from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stn_cli.coloc.encoders import PretrainedEncoder, embed_crops, make_encoder
from stn_cli.errors import CheckpointError, ResourceError, UsageError


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torchvision

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def test_weights_file_gives_dense_features_of_a_stated_layer(weights: Path) -> None:
    encoder = make_encoder("resnet18", weights)
    assert isinstance(encoder, PretrainedEncoder)
    assert encoder.layer == "layer3"  # the last of stride 16
    with torch.no_grad():
        assert encoder.structure(torch.rand(2, 3, 96, 64)).shape == (2, 256, 6, 4)
        assert encoder.appearance(torch.rand(1, 3, 64, 64)).cells.shape == (1, 256, 8, 8)
        assert embed_crops(encoder, torch.rand(2, 3, 64, 64)).shape == (2, 256 * 16)
        assert encoder.groups(torch.rand(50, 256)).shape == (256,)
    assert make_encoder("resnet18", weights, "layer2").layer == "layer2"  # type: ignore[attr-defined]


def test_every_kind_of_network_finds_its_layer() -> None:
    for name, layer in (("mobilenet_v3_small", "features"), ("efficientnet_b0", "features"), ("convnext_tiny", "features")):
        encoder = make_encoder(name, pretrained=False)
        assert encoder.layer.startswith(layer)  # type: ignore[attr-defined]


def test_wrong_names(weights: Path) -> None:
    with pytest.raises(UsageError, match="unknown encoder: 'resnet17'"):
        make_encoder("resnet17")
    with pytest.raises(UsageError, match="--layer names no layer"):
        make_encoder("resnet18", weights, "layer9")
    encoder = make_encoder("resnet18", weights, "fc")
    with pytest.raises(UsageError, match="must give a map"):
        encoder.structure(torch.rand(1, 3, 64, 64))


def test_wrong_weights(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="weights do not fit resnet34"):
        make_encoder("resnet34", weights)
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot read weights"):
        make_encoder("resnet18", bad)


def test_offline_says_what_to_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    def offline(name: str, weights: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "get_model", offline)
    with pytest.raises(ResourceError) as caught:
        make_encoder("resnet18")
    line = str(caught.value)
    assert "cannot download the weights of encoder: 'resnet18' (no route to host)" in line
    assert "resnet18" in line.split("Download ")[1].split(" ")[0]  # the library's own URL
    assert "--weights" in line
    assert "--encoder small" in line


@pytest.mark.parametrize("search", ["template", "region"])
def test_a_run_with_a_network_carries_its_weights(weights: Path, tmp_path: Path, search: str) -> None:
    """Trained with a weights file, moved elsewhere, used without it; all offline."""
    from stn_cli.coloc.config import TrainConfig
    from stn_cli.coloc.localiser import Localiser
    from stn_cli.coloc.trainer import train
    from tests.conftest import QUICK, make_folder

    make_folder(tmp_path, 8)
    own = tmp_path / "own.pth"
    own.write_bytes(weights.read_bytes())
    settings = {**QUICK, "steps": 4, "finetune": 2, "batch": 4, "size": (0.35, 0.45)}
    train(tmp_path / "images", tmp_path / "run", TrainConfig(encoder="resnet18", weights=str(own), search=search, **settings))
    own.unlink()
    (tmp_path / "run").rename(tmp_path / "moved")
    localiser = Localiser.load(tmp_path / "moved")
    found = localiser.localise(tmp_path / "images/000.png")
    assert 0 <= found.score <= 1
    assert localiser.facts["encoder"] == "resnet18"
