from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from stn_cli.encoders import PretrainedEncoder, SmallEncoder, embed_crops, make_encoder
from stn_cli.encoders import small_network as backbone
from stn_cli.encoders.dino import VisionTransformer
from stn_cli.encoders.pretrained import published_preprocessing
from stn_cli.encoders.small import FILE, write_encoder
from stn_cli.encoders.small_network import PackedConvolution, SmallNetwork, fused
from stn_cli.errors import CheckpointError, ResourceError, UsageError
from stn_cli.runs.container import pack


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
    assert make_encoder("resnet18", weights, "layer2").layer == "layer2"  # type: ignore[attr-defined]


def test_every_kind_of_network_finds_its_layer() -> None:
    wanted = {
        "resnet50": ("layer3", 1024),
        "mobilenet_v3_small": ("features.8", 48),
        "efficientnet_b0": ("features.5", 112),
        "convnext_tiny": ("features.5", 384),
        "swin_t": ("features.5", 384),
        "vit_b_16": ("encoder", 768),
    }
    for name, (layer, channels) in wanted.items():
        encoder = make_encoder(name, pretrained=False)
        assert isinstance(encoder, PretrainedEncoder)
        assert encoder.layer == layer
        with torch.no_grad():
            maps = encoder.maps(torch.rand(1, 3, 96, 64))
        assert maps.shape[:2] == (1, channels)
        assert maps.shape[2:] == ((14, 14) if name == "vit_b_16" else (6, 4))


def test_networks_that_cannot_be_used_say_so() -> None:
    with pytest.raises(UsageError, match="no map of stride 16"):
        make_encoder("vit_b_32", pretrained=False)
    with pytest.raises(UsageError, match="cannot read pictures of any size"):
        make_encoder("maxvit_t", pretrained=False)


def test_published_preprocessing_is_the_networks_own() -> None:
    assert published_preprocessing("efficientnet_v2_l")[0] == [0.5, 0.5, 0.5]
    assert published_preprocessing("resnet18")[0] == [0.485, 0.456, 0.406]


@pytest.mark.parametrize("name", ["dino_vits16", "dino_resnet50"])
def test_dino_from_a_file(name: str, tmp_path: Path) -> None:
    """State dicts with the published keys and shapes."""
    import torchvision

    torch.manual_seed(0)
    if name == "dino_vits16":
        state = published_vit(384, 12)
        state["head.mlp.0.weight"] = torch.zeros(2, 2)  # the full checkpoint's projection head
    else:
        state = {k: v for k, v in torchvision.models.resnet50(weights=None).state_dict().items() if not k.startswith("fc.")}
    path = tmp_path / "dino.pth"
    torch.save(state, path)
    encoder = make_encoder(name, path)
    with torch.no_grad():
        seen = encoder.appearance(torch.rand(2, 3, 64, 48), 16)
    assert seen.cells.shape == (2, 384 if name == "dino_vits16" else 1024, 8, 6)
    assert seen.objectness is None
    torch.save({"teacher": {f"module.backbone.{k}": v for k, v in state.items()}}, path)
    make_encoder(name, path)
    shorter = dict(state)
    missing = next(iter(k for k in state if "weight" in k))
    del shorter[missing]
    torch.save(shorter, path)
    with pytest.raises(CheckpointError, match=f"weights do not fit {name}.*missing {missing}"):
        make_encoder(name, path)
    with pytest.raises(ResourceError, match=f"weights of this encoder are read from a file: '{name}'.*https://.*--weights"):
        make_encoder(name)


def published_vit(width: int, depth: int) -> dict[str, torch.Tensor]:
    """Names and shapes as in facebookresearch/dino's vision_transformer.py."""
    shapes = {"cls_token": (1, 1, width), "pos_embed": (1, 197, width), "norm.weight": (width,), "norm.bias": (width,)}
    shapes |= {"patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,)}
    for n in range(depth):
        for part, out, into in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
            shapes |= {f"blocks.{n}.{part}.weight": (out * width, into * width), f"blocks.{n}.{part}.bias": (out * width,)}
        for part in ("norm1", "norm2"):
            shapes |= {f"blocks.{n}.{part}.weight": (width,), f"blocks.{n}.{part}.bias": (width,)}
    return {name: 0.02 * torch.randn(shape) for name, shape in shapes.items()}


def test_the_keys_are_those_of_the_last_attention() -> None:
    """Against a plain computation of the last block's keys."""
    torch.manual_seed(0)
    network = VisionTransformer(12, 3, depth=2, trained_side=2)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        x = network.patch_embed.proj(images).flatten(2).transpose(1, 2)
        x = torch.cat([network.cls_token, x], 1) + network.pos_embed
        block = network.blocks[0]
        y = block.norm1(x)
        q, k, v = (part.unflatten(-1, (3, 4)).transpose(1, 2) for part in block.attn.qkv(y).chunk(3, -1))
        weights = (q @ k.transpose(-1, -2) / 2.0).softmax(-1)
        x = x + block.attn.proj((weights @ v).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
        keys = network.blocks[1].attn.qkv(network.blocks[1].norm1(x))[..., 12:24]
        torch.testing.assert_close(network(images), keys[:, 1:].transpose(1, 2).unflatten(2, (2, 2)))
        assert network(torch.rand(1, 3, 48, 80)).shape == (1, 12, 3, 5)


def test_the_small_encoder_is_in_the_package() -> None:
    encoder = make_encoder("small")
    assert isinstance(encoder, SmallEncoder)
    path = Path(__file__).parents[2] / "stn_cli/encoders/small.safetensors"
    assert path.stat().st_size <= 4_000_000
    with torch.no_grad():
        seen = encoder.appearance(torch.rand(2, 3, 64, 96))
        padded = encoder.appearance(torch.rand(2, 3, 64, 96), 16)
    for one in (seen, padded):
        assert one.cells.shape == (2, 256, 8, 12)
        torch.testing.assert_close(one.cells.norm(dim=1), torch.full((2, 8, 12), 2**0.5), atol=1e-3, rtol=0)
        assert one.objectness is not None
        assert one.objectness.shape == (2, 8, 12)
    assert embed_crops(encoder, torch.rand(2, 3, 32, 32)).shape == (2, 12 * 16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_network_is_the_network(dtype: torch.dtype) -> None:
    encoder = make_encoder("small")
    assert isinstance(encoder, SmallEncoder)
    quick = fused(encoder.network, dtype)
    packed = torch.backends.mkldnn.is_available()
    assert any(isinstance(module, PackedConvolution) for module in quick.modules()) == packed
    with torch.no_grad():
        for size in ((1, 3, 128, 128), (3, 3, 72, 100)):
            images = torch.randn(size).contiguous(memory_format=torch.channels_last)
            for wanted, got in zip(encoder.network(images), quick(images.to(dtype)), strict=True):
                close = 1e-4 if dtype == torch.float32 else 3e-2
                torch.testing.assert_close(got.float(), wanted, atol=close * float(wanted.abs().max()), rtol=close)


def test_without_packed_operators_the_network_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make_encoder("small")
    assert isinstance(encoder, SmallEncoder)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = encoder.network(images)[0]

        def missing(*_: object) -> None:
            raise AttributeError("no such operator")

        monkeypatch.setattr(backbone, "PackedConvolution", missing)
        torch.testing.assert_close(fused(encoder.network, torch.float32)(images)[0], wanted, atol=1e-4, rtol=1e-3)


def test_an_encoder_that_was_used_can_be_copied() -> None:
    encoder = make_encoder("small")
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = encoder.appearance(images).cells
        torch.testing.assert_close(copy.deepcopy(encoder).appearance(images).cells, wanted)


def test_an_encoder_file_is_checked(tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tmp_path / "encoder"
    folder.mkdir()
    write_encoder(folder / FILE, SmallNetwork(), None, {"recipe": "test"})
    encoder = make_encoder(str(folder))
    assert isinstance(encoder, SmallEncoder)
    assert encoder.facts["recipe"] == "test"
    assert encoder.name == "small-headless"
    data = bytearray((folder / FILE).read_bytes())
    data[-100] ^= 1
    (folder / FILE).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"damaged encoder.*checksum"):
        make_encoder(str(folder))
    (folder / FILE).write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged encoder"):
        make_encoder(str(folder))
    (folder / FILE).write_bytes(pack({"x": torch.zeros(1)}, {"architecture": "other"}))
    with pytest.raises(CheckpointError, match="encoder of another version"):
        make_encoder(str(folder))
    (folder / FILE).unlink()
    with pytest.raises(CheckpointError, match="no encoder"):
        make_encoder(str(folder))


def test_wrong_names(weights: Path) -> None:
    with pytest.raises(UsageError, match="unknown encoder: 'resnet17'"):
        make_encoder("resnet17")
    with pytest.raises(UsageError, match="--layer names no layer"):
        make_encoder("resnet18", weights, "layer9")
    with pytest.raises(UsageError, match="must give a map"):
        make_encoder("resnet18", weights, "fc")


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


@pytest.mark.parametrize("search", ["rigid", "deformable"])
def test_a_run_with_a_network_carries_its_weights(weights: Path, tmp_path: Path, search: str) -> None:
    """Trained with a weights file, moved elsewhere, used without it; all offline."""
    from stn_cli.coloc.model.localiser import Localiser
    from stn_cli.coloc.train.run import train
    from stn_cli.runs.config import TrainConfig
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
