from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_msa.models.hrlf import Hrlf, HrlfConfig, HrlfEncoder, Pooling
from tests.tolerances import assert_close_to_scale, relative_error

DIMS = {"language": 5, "audio": 4, "vision": 3}
LENGTHS = {"language": 6, "audio": 9, "vision": 7}


def network(dims: dict[str, int] | None = None, layers: int = 2, pooling: Pooling = "last") -> Hrlf:
    torch.manual_seed(0)
    return Hrlf(HrlfConfig(dims or DIMS, d=8, heads=2, layers=layers, outputs=2, pooling=pooling)).eval()


def sample(count: int = 3, dims: dict[str, int] | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    names = dims or DIMS
    frames = {name: torch.randn(count, LENGTHS[name], dim, generator=generator) for name, dim in names.items()}
    return frames, {name: torch.ones(count, LENGTHS[name], dtype=torch.bool) for name in names}


@pytest.mark.parametrize("names", [("language", "audio", "vision"), ("language", "audio"), ("vision",)])
def test_shapes_follow_the_number_of_modalities(names: tuple[str, ...]) -> None:
    dims = {name: DIMS[name] for name in names}
    features, count = network(dims).features(*sample(dims=dims)), len(names)
    assert features.encoded.shape == (3, count, 8)
    assert features.relevant.shape == features.specific.shape == (3, count, 4)
    assert [scale.shape[1] for scale in features.scales] == [2 * count * 8, 4 * 8, 8]
    assert features.outputs.shape == (3, 2)
    assert network(dims).exchange(features).shape == (3, count, count, 8)


def test_exchange_decodes_all_pairs_of_modalities() -> None:
    model = network()
    features = model.features(*sample())
    expected = model.decoder(torch.cat([features.relevant[:, 0], features.specific[:, 2]], dim=1))
    assert_close_to_scale(model.exchange(features)[:, 0, 2], expected)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_padding_does_not_change_the_prediction(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    padded = {name: torch.cat([rows, torch.full((3, 4, rows.shape[2]), 9.0)], dim=1) for name, rows in frames.items()}
    masks = {name: torch.cat([mask, torch.zeros(3, 4, dtype=torch.bool)], dim=1) for name, mask in valid.items()}
    assert_close_to_scale(model(padded, masks), model(frames, valid))


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_masked_modality_equals_an_omitted_one(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    masked = model(frames, valid | {"audio": torch.zeros_like(valid["audio"])})
    omitted = model(
        {name: rows for name, rows in frames.items() if name != "audio"},
        {name: mask for name, mask in valid.items() if name != "audio"},
    )
    assert_close_to_scale(masked, omitted)
    assert relative_error(masked, model(frames, valid)) > 1e-4


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_masked_frames_do_not_change_the_prediction(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    valid["audio"][:, 3] = False
    other = frames | {"audio": frames["audio"].clone()}
    other["audio"][:, 3] = 100.0
    assert_close_to_scale(model(frames, valid), model(other, valid))


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_order_of_frames_matters(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    reversed_frames = frames | {"language": frames["language"].flip(1)}
    assert relative_error(model(frames, valid), model(reversed_frames, valid)) > 1e-4


def test_last_layer_queries_with_the_last_valid_frame() -> None:
    model = network(layers=1)
    encoder = model.encoders["audio"]
    assert isinstance(encoder, HrlfEncoder)
    frames, valid = sample()
    whole: list[Tensor] = []
    layer = next(iter(encoder.layers))
    layer.register_forward_hook(lambda module, args, _out: whole.append(module.forward(args[1], args[1], args[2])))
    valid["audio"][:, 6:] = False
    encoded = encoder(frames["audio"], valid["audio"])
    assert_close_to_scale(encoded, encoder.norm(whole[0][:, 5]))


def test_max_pooling_takes_the_maximum_over_frames() -> None:
    torch.manual_seed(0)
    config = HrlfConfig(DIMS, d=8, heads=2, layers=1, pooling="max")
    encoder = HrlfEncoder(5, config).eval()
    frames, valid = torch.randn(2, 6, 5), torch.ones(2, 6, dtype=torch.bool)
    outputs: list[Tensor] = []
    encoder.layers[-1].register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    assert_close_to_scale(encoder(frames, valid), outputs[0].amax(dim=1))


def test_invalid_sizes_raise_an_error() -> None:
    with pytest.raises(ValueError, match="pooling must be one of last, max"):
        HrlfConfig(DIMS, pooling="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="multiple of heads"):
        HrlfConfig(DIMS, d=8, heads=3)
    with pytest.raises(ValueError, match="language, audio, vision"):
        HrlfConfig({"text": 3})
