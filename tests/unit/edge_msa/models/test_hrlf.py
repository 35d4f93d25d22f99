from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edge_msa.models.hrlf import Hrlf, HrlfConfig, Pooling, StreamEncoder

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
def test_shapes_follow_the_streams_there_are(names: tuple[str, ...]) -> None:
    dims = {name: DIMS[name] for name in names}
    features, count = network(dims).features(*sample(dims=dims)), len(names)
    assert features.encoded.shape == (3, count, 8)
    assert features.relevant.shape == features.specific.shape == (3, count, 4)
    assert [scale.shape[1] for scale in features.scales] == [2 * count * 8, 4 * 8, 8]
    assert features.outputs.shape == (3, 2)
    assert network(dims).exchange(features).shape == (3, count, count, 8)


def test_exchange_pairs_the_sentiment_of_the_first_stream_with_the_rest_of_the_second() -> None:
    model = network()
    features = model.features(*sample())
    expected = model.decoder(torch.cat([features.relevant[:, 0], features.specific[:, 2]], dim=1))
    torch.testing.assert_close(model.exchange(features)[:, 0, 2], expected)


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_padding_behind_changes_nothing(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    padded = {name: torch.cat([rows, torch.full((3, 4, rows.shape[2]), 9.0)], dim=1) for name, rows in frames.items()}
    masks = {name: torch.cat([mask, torch.zeros(3, 4, dtype=torch.bool)], dim=1) for name, mask in valid.items()}
    torch.testing.assert_close(model(padded, masks), model(frames, valid))


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_an_absent_modality_is_the_same_whether_masked_left_out_or_of_another_length(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    masked = model(frames, valid | {"audio": torch.zeros_like(valid["audio"])})
    left_out = model(
        {name: rows for name, rows in frames.items() if name != "audio"},
        {name: mask for name, mask in valid.items() if name != "audio"},
    )
    torch.testing.assert_close(masked, left_out)
    assert not torch.allclose(masked, model(frames, valid))


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_what_a_masked_frame_holds_is_never_read(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    valid["audio"][:, 3] = False
    other = frames | {"audio": frames["audio"].clone()}
    other["audio"][:, 3] = 100.0
    torch.testing.assert_close(model(frames, valid), model(other, valid))


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_order_of_frames_matters(pooling: Pooling) -> None:
    model = network(pooling=pooling)
    frames, valid = sample()
    turned = frames | {"language": frames["language"].flip(1)}
    assert not torch.allclose(model(frames, valid), model(turned, valid), atol=1e-4)


def test_the_last_layer_asks_with_the_last_valid_frame() -> None:
    model = network(layers=1)
    encoder = model.encoders["audio"]
    assert isinstance(encoder, StreamEncoder)
    frames, valid = sample()
    whole: list[Tensor] = []
    layer = next(iter(encoder.layers))
    layer.register_forward_hook(lambda module, args, _out: whole.append(module.forward(args[1], args[1], args[2])))
    valid["audio"][:, 6:] = False
    found = encoder(frames["audio"], valid["audio"])
    torch.testing.assert_close(found, encoder.norm(whole[0][:, 5]))


def test_max_pooling_hears_the_largest_value_of_valid_frames() -> None:
    torch.manual_seed(0)
    config = HrlfConfig(DIMS, d=8, heads=2, layers=1, pooling="max")
    encoder = StreamEncoder(5, config).eval()
    frames, valid = torch.randn(2, 6, 5), torch.ones(2, 6, dtype=torch.bool)
    answered: list[Tensor] = []
    encoder.layers[-1].register_forward_hook(lambda _module, _given, answer: answered.append(answer))
    torch.testing.assert_close(encoder(frames, valid), answered[0].amax(dim=1))
    with pytest.raises(ValueError, match="pooling must be one of last, max"):
        HrlfConfig(DIMS, pooling="mean")  # type: ignore[arg-type]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        HrlfConfig(DIMS, d=8, heads=3)
    with pytest.raises(ValueError, match="language, audio, vision"):
        HrlfConfig({"text": 3})
