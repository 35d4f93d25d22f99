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


def randomised(config: AlmtConfig) -> Almt:
    """A network whose every tensor says something: initial biases, norms and tokens would hide mistakes."""
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


def test_the_authors_weights_give_the_authors_outputs() -> None:
    if not GOLDEN.exists():
        pytest.skip("../shared/data/golden is not here")
    network = Almt(AlmtConfig({"language": 64, "audio": 5, "vision": 20}, dict.fromkeys(MODALITIES, 50))).eval()
    network.load_state_dict(torch.load(GOLDEN / "almt_authors_mosi50.pth", weights_only=True))
    with np.load(GOLDEN / "almt_authors_mosi50_io.npz", allow_pickle=False) as arrays:
        frames = {name: torch.from_numpy(arrays[name]) for name in MODALITIES}
        expected = torch.from_numpy(arrays["output"])
    valid = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in frames.items()}
    with torch.no_grad():
        torch.testing.assert_close(network(frames, valid), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(compute_every_token(network, frames), expected, rtol=0, atol=1e-5)


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
def test_computing_only_what_survives_changes_nothing(config: AlmtConfig) -> None:
    network = randomised(config)
    frames, valid = sample(config)
    with torch.no_grad():
        torch.testing.assert_close(network(frames, valid), compute_every_token(network, frames), rtol=0, atol=1e-5)


def test_gradients_are_those_of_computing_everything() -> None:
    network = randomised(SMALL)
    frames, valid = sample(SMALL)
    parameters = dict(network.named_parameters())
    found = torch.autograd.grad(network(frames, valid).square().sum(), list(parameters.values()))
    expected = torch.autograd.grad(compute_every_token(network, frames).square().sum(), list(parameters.values()))
    for name, own, theirs in zip(parameters, found, expected, strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(
    ("dims", "lengths", "depth", "count"),
    [
        ((768, 5, 20), (50, 375, 500), 2, 2_603_649),
        ((768, 5, 20), (50, 50, 50), 2, 2_504_449),
        ((768, 74, 35), (50, 500, 500), 4, 3_223_041),
        ((768, 33, 709), (39, 400, 55), 4, 3_232_897),
    ],
)
def test_parameters_are_the_published_ones_in_number(
    dims: tuple[int, ...], lengths: tuple[int, ...], depth: int, count: int
) -> None:
    config = AlmtConfig(
        dict(zip(MODALITIES, dims, strict=True)), dict(zip(MODALITIES, lengths, strict=True)), fusion_depth=depth
    )
    assert sum(parameter.numel() for parameter in Almt(config).parameters()) == count


def test_a_shared_ahl_layer_is_three_alike() -> None:
    shared = randomised(AlmtConfig(SMALL.dims, SMALL.lengths, share_ahl=True))
    whole = Almt(SMALL).eval()
    prefix = "h_hyper_layer.layers."
    weights = shared.state_dict()
    copies = {f"{prefix}{i}{n[len(prefix) + 1 :]}": v for n, v in weights.items() if n.startswith(prefix) for i in "12"}
    whole.load_state_dict(weights | copies)
    frames, valid = sample(SMALL)
    with torch.no_grad():
        torch.testing.assert_close(shared(frames, valid), whole(frames, valid))
    assert sum(value.numel() for value in copies.values()) == 198_912


@pytest.mark.parametrize("name", MODALITIES)
def test_a_missing_modality_is_zeros_however_it_is_said(name: str) -> None:
    network = randomised(SMALL)
    frames, valid = sample(SMALL)
    zeros = frames | {name: torch.zeros_like(frames[name])}
    hidden = valid | {name: torch.zeros_like(valid[name])}
    others = {key: values for key, values in frames.items() if key != name}
    with torch.no_grad():
        expected = network(zeros, valid)
        torch.testing.assert_close(network(frames, hidden), expected)
        torch.testing.assert_close(network(others, valid), expected)
        assert not torch.allclose(network(frames, valid), expected, atol=1e-3)


def test_samples_are_padded_and_cut_behind() -> None:
    network = randomised(SMALL)
    frames, valid = sample(SMALL)
    more = {name: torch.cat([values, torch.randn(3, 4, values.shape[2])], dim=1) for name, values in frames.items()}
    ones = {name: torch.ones(values.shape[:2], dtype=torch.bool) for name, values in more.items()}
    fewer = {name: values[:, :2] for name, values in frames.items()}
    first = {name: (torch.arange(mask.shape[1]) < 2).expand_as(mask) for name, mask in valid.items()}
    with torch.no_grad():
        torch.testing.assert_close(network(more, ones), network(frames, valid))
        torch.testing.assert_close(
            network(fewer, {name: mask[:, :2] for name, mask in valid.items()}), network(frames, first)
        )


def test_frames_that_are_not_valid_leave_no_trace() -> None:
    network = randomised(SMALL)
    frames, valid = sample(SMALL)
    valid["audio"][:, 4] = False
    with torch.no_grad():
        expected = network(frames, valid)
        frames["audio"][:, 4] += 5
        torch.testing.assert_close(network(frames, valid), expected, rtol=0, atol=0)


def test_a_data_set_without_a_modality_keeps_its_tensors() -> None:
    config = AlmtConfig({"language": 6, "audio": 5}, {"language": 7, "audio": 11})
    network = randomised(config)
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
def test_sizes_that_make_no_network_are_named(dims: dict[str, int], lengths: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlmtConfig(dims, lengths)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_modality_reaches_the_answer_of_every_variant(name: str) -> None:
    network = randomised(VARIANTS[name])
    frames, valid = sample(SMALL)
    with torch.no_grad():
        whole = network(frames, valid)
        for modality in MODALITIES:
            others = {key: values for key, values in frames.items() if key != modality}
            assert not torch.allclose(network(others, valid), whole, atol=1e-4), modality


def test_with_one_token_language_cannot_reach_an_answer() -> None:
    """An attention over a single key hears it whatever is asked: nothing that the language says is in the answer."""
    config = dataclasses.replace(SMALL, tokens=1)
    frames, valid = sample(config)
    with torch.no_grad():
        network = randomised(config)
        without = network({name: values for name, values in frames.items() if name != "language"}, valid)
        torch.testing.assert_close(network(frames, valid), without)


def test_a_variant_has_no_tensor_that_it_does_not_use() -> None:
    for config in VARIANTS.values():
        network = randomised(config)
        network(*sample(SMALL)).sum().backward()
        unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
        assert unused == []


def test_a_variant_that_does_not_exist_is_refused() -> None:
    for change in ({"scales": 0}, {"scales": 4}, {"fusion": "sum"}):
        with pytest.raises(ValueError, match=next(iter(change))):
            dataclasses.replace(SMALL, **change)


def test_a_config_of_before_the_variants_is_the_authors_network() -> None:
    before = {
        name: value for name, value in dataclasses.asdict(SMALL).items() if name not in {"scales", "ahl", "fusion"}
    }
    assert AlmtConfig(**before) == SMALL
