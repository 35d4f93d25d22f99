from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_msa.benchmark.almt import compute_every_token
from edge_msa.models.almt import Almt, AlmtConfig
from edge_msa_runtime.modalities import MODALITIES
from tests.locations import SHARED_DATA
from tests.tolerances import assert_close_to_scale, relative_error

GOLDEN = SHARED_DATA / "golden"
SMALL = AlmtConfig({"language": 6, "audio": 5, "vision": 3}, {"language": 7, "audio": 11, "vision": 9})

VARIANTS = {
    "without AHL": dataclasses.replace(SMALL, ahl=False),
    "one scale": dataclasses.replace(SMALL, scales=1),
    "two scales": dataclasses.replace(SMALL, scales=2),
    "four tokens": dataclasses.replace(SMALL, tokens=4),
    "concatenation": dataclasses.replace(SMALL, fusion="concatenation"),
    "neither": dataclasses.replace(SMALL, ahl=False, fusion="concatenation", scales=1),
}


def randomized(config: AlmtConfig) -> Almt:
    """A network without constant tensors: initial biases, norms and tokens of 0 or 1 could hide mistakes."""
    torch.manual_seed(0)
    network = Almt(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network


def sample(config: AlmtConfig, batch: int = 3) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    frames = {
        name: torch.randn(batch, config.lengths[name], dim, generator=generator) for name, dim in config.dims.items()
    }
    return frames, {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}


@pytest.mark.case("E4")
def test_without_ahl_the_features_are_concatenated() -> None:
    network = randomized(VARIANTS["without AHL"])
    width = network.concatenation.in_features // len(MODALITIES)
    parts = [torch.randn(2, SMALL.tokens, width, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    combined = network.hyper_modality([parts[0]], *parts[1:])
    weights = network.concatenation.weight.chunk(3, dim=1)
    expected = sum((part @ weight.T for part, weight in zip(parts, weights, strict=True)), network.concatenation.bias)
    assert_close_to_scale(combined, expected)
    swapped = network.hyper_modality([parts[0]], parts[2], parts[1])
    assert relative_error(swapped, combined) > 1e-4  # a sum would not tell audio from vision


def test_authors_weights_give_the_authors_outputs() -> None:
    if not GOLDEN.exists():
        pytest.skip(f"{GOLDEN} does not exist")
    network = Almt(AlmtConfig({"language": 64, "audio": 5, "vision": 20}, dict.fromkeys(MODALITIES, 50))).eval()
    network.load_state_dict(torch.load(GOLDEN / "almt_authors_mosi50.pth", weights_only=True))
    with np.load(GOLDEN / "almt_authors_mosi50_io.npz", allow_pickle=False) as arrays:
        frames = {name: torch.from_numpy(arrays[name]) for name in MODALITIES}
        expected = torch.from_numpy(arrays["output"])
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
    with torch.no_grad():
        assert_close_to_scale(network(frames, valid), expected)
        assert_close_to_scale(compute_every_token(network, frames), expected)


@pytest.mark.case("E9")
@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        AlmtConfig({"language": 6, "audio": 5, "vision": 3}, {"language": 1, "audio": 40, "vision": 2}, 4, 3, 5, True),
        AlmtConfig({"language": 768, "audio": 5, "vision": 20}, {"language": 50, "audio": 375, "vision": 500}),
        *VARIANTS.values(),
    ],
    ids=["small", "deep", "mosi", *VARIANTS],
)
def test_output_equals_that_with_every_token_computed(config: AlmtConfig) -> None:
    network = randomized(config)
    frames, valid = sample(config)
    with torch.no_grad():
        assert_close_to_scale(network(frames, valid), compute_every_token(network, frames))


def test_gradients_equal_those_with_every_token_computed() -> None:
    network = randomized(SMALL)
    frames, valid = sample(SMALL)
    parameters = list(network.parameters())
    actual = torch.autograd.grad(network(frames, valid).square().sum(), parameters)
    expected = torch.autograd.grad(compute_every_token(network, frames).square().sum(), parameters)
    # The biases of key norms have no gradient in exact arithmetic, so the scale is that of all gradients.
    scale = max(float(gradient.abs().max()) for gradient in expected)
    for gradient, reference in zip(actual, expected, strict=True):
        assert_close_to_scale(gradient, reference, scale=scale)


@pytest.mark.parametrize(
    ("dims", "lengths", "depth", "count"),
    [
        ((768, 5, 20), (50, 375, 500), 2, 2_603_649),
        ((768, 5, 20), (50, 50, 50), 2, 2_504_449),
        ((768, 74, 35), (50, 500, 500), 4, 3_223_041),
        ((768, 33, 709), (39, 400, 55), 4, 3_232_897),
    ],
)
def test_parameter_counts_are_the_published_ones(
    dims: tuple[int, ...], lengths: tuple[int, ...], depth: int, count: int
) -> None:
    config = AlmtConfig(
        dict(zip(MODALITIES, dims, strict=True)), dict(zip(MODALITIES, lengths, strict=True)), fusion_depth=depth
    )
    assert sum(parameter.numel() for parameter in Almt(config).parameters()) == count


def test_shared_ahl_layer_equals_three_equal_layers() -> None:
    shared = randomized(AlmtConfig(SMALL.dims, SMALL.lengths, share_ahl=True))
    whole = Almt(SMALL).eval()
    prefix = "h_hyper_layer.layers."
    weights = shared.state_dict()
    copies = {f"{prefix}{i}{n[len(prefix) + 1 :]}": v for n, v in weights.items() if n.startswith(prefix) for i in "12"}
    whole.load_state_dict(weights | copies)
    frames, valid = sample(SMALL)
    with torch.no_grad():
        assert_close_to_scale(shared(frames, valid), whole(frames, valid))
    assert sum(value.numel() for value in copies.values()) == 198_912


@pytest.mark.parametrize("name", MODALITIES)
def test_missing_modality_equals_zeros(name: str) -> None:
    network = randomized(SMALL)
    frames, valid = sample(SMALL)
    zeros = frames | {name: torch.zeros_like(frames[name])}
    hidden = valid | {name: torch.zeros_like(valid[name])}
    others = {key: values for key, values in frames.items() if key != name}
    with torch.no_grad():
        expected = network(zeros, valid)
        assert_close_to_scale(network(frames, hidden), expected)
        assert_close_to_scale(network(others, valid), expected)
        assert relative_error(network(frames, valid), expected) > 1e-3


def test_samples_are_padded_and_truncated_at_the_end() -> None:
    network = randomized(SMALL)
    frames, valid = sample(SMALL)
    more = {name: torch.cat([values, torch.randn(3, 4, values.shape[2])], dim=1) for name, values in frames.items()}
    ones = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in more.items()}
    fewer = {name: values[:, :2] for name, values in frames.items()}
    first = {name: (torch.arange(mask.shape[1]) < 2).expand_as(mask) for name, mask in valid.items()}
    with torch.no_grad():
        assert_close_to_scale(network(more, ones), network(frames, valid))
        assert_close_to_scale(
            network(fewer, {name: mask[:, :2] for name, mask in valid.items()}), network(frames, first)
        )


def test_invalid_frames_do_not_change_the_prediction() -> None:
    network = randomized(SMALL)
    frames, valid = sample(SMALL)
    valid["audio"][:, 4] = False
    with torch.no_grad():
        expected = network(frames, valid)
        frames["audio"][:, 4] += 5
        torch.testing.assert_close(network(frames, valid), expected, rtol=0, atol=0)


def test_network_without_a_modality_has_all_tensors() -> None:
    config = AlmtConfig({"language": 6, "audio": 5}, {"language": 7, "audio": 11})
    network = randomized(config)
    assert list(network.state_dict()) == list(Almt(SMALL).state_dict())
    assert network.proj_v[0].in_features == 1
    with torch.no_grad():
        assert network(*sample(config)).shape == (3, 1)


@pytest.mark.parametrize(
    ("dims", "lengths", "message"),
    [
        ({}, {}, "dims must name"),
        ({"smell": 3}, {"smell": 3}, "dims must name"),
        ({"audio": 3}, {"vision": 3}, "lengths must name"),
        ({"audio": 3}, {"audio": 0}, "at least 1"),
    ],
)
def test_invalid_sizes_raise_an_error(dims: dict[str, int], lengths: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlmtConfig(dims, lengths)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_modality_affects_every_variant(name: str) -> None:
    network = randomized(VARIANTS[name])
    frames, valid = sample(SMALL)
    with torch.no_grad():
        whole = network(frames, valid)
        for modality in MODALITIES:
            others = {key: values for key, values in frames.items() if key != modality}
            assert relative_error(network(others, valid), whole) > 1e-4, modality


def test_language_has_no_effect_with_one_token() -> None:
    """Attention over a single key ignores the query, which is why the paper's token length of 1 is not offered."""
    config = dataclasses.replace(SMALL, tokens=1)
    frames, valid = sample(config)
    with torch.no_grad():
        network = randomized(config)
        without = network({name: values for name, values in frames.items() if name != "language"}, valid)
        assert_close_to_scale(network(frames, valid), without)


def test_every_parameter_of_every_variant_is_used() -> None:
    for config in VARIANTS.values():
        network = randomized(config)
        network(*sample(SMALL)).sum().backward()
        unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert unused == []


def test_unknown_variants_raise_an_error() -> None:
    for change in ({"scales": 0}, {"scales": 4}, {"fusion": "sum"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            dataclasses.replace(SMALL, **change)


def test_default_variant_is_the_authors_network() -> None:
    sizes = {n: value for n, value in dataclasses.asdict(SMALL).items() if n not in {"scales", "ahl", "fusion"}}
    assert AlmtConfig(**sizes) == SMALL
