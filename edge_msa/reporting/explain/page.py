"""The HTML page that explains a model, which works offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_msa.reporting.templates import Table, render_template


@dataclass(frozen=True)
class Figure:
    """A figure with notes. `svg` is markup that this package generated, "" if there is no figure."""

    svg: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class SampleSection:
    """The section of one sample.

    Attributes:
        name: Id of the sample.
        text: Transcript, "" if unknown.
        description: Label and prediction in words.
        attention: Heat maps.
    """

    name: str
    text: str
    description: str
    attention: Figure = field(default_factory=Figure)


@dataclass(frozen=True)
class Explanation:
    """Content of the page.

    Attributes:
        title: Heading.
        subtitle: Model, dataset and split.
        model: `hrlf`, `almt` or `student`.
        summary: Main results as sentences.
        removal: Effect of removing each modality over the whole split.
        selection: How the shown samples were selected.
        predictions: Plot of the samples' predictions.
        samples: Table of the samples' predictions.
        sections: Attention of each sample.
        averaged_over: Description of the samples that averages and projections use.
        streams_over: Description of the samples that the projection of the streams uses.
        guided: Mean attention of AHL.
        embedding_shares: Where the attention of the embeddings goes.
        joint: Projections of the joint representation.
        streams: Projection of ALMT's streams.
        omissions: Sentences on what the page does not show, and why.
        provenance: Run, data and methods.
    """

    title: str
    subtitle: str
    model: str
    summary: Sequence[str]
    removal: Table
    selection: str
    predictions: Figure
    samples: Table
    sections: Sequence[SampleSection]
    averaged_over: str = ""
    streams_over: str = ""
    guided: Figure = field(default_factory=Figure)
    embedding_shares: Table | None = None
    joint: Figure = field(default_factory=Figure)
    streams: Figure = field(default_factory=Figure)
    omissions: Sequence[str] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)


def render_explanation(explanation: Explanation) -> str:
    """Return the page as HTML."""
    return render_template(
        "edge_msa.reporting.explain",
        "explain.html.j2",
        title=explanation.title,
        subtitle=explanation.subtitle,
        page=explanation,
    )
