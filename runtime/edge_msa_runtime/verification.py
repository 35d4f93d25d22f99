"""Verify that a bundle's golden vectors give the predictions of torch on this machine.

This shows that a bundle is intact and runs correctly here. It does not show who made the bundle: the golden vectors and
the tolerances are part of it, and it is not signed.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Sequence

import numpy as np

from edge_msa_runtime.bundle.golden import GoldenCase, load_golden
from edge_msa_runtime.errors import ParityError, UsageError
from edge_msa_runtime.loading import load
from edge_msa_runtime.prediction import Prediction
from edge_msa_runtime.session import Session
from edge_msa_runtime.streams.stream import Stream
from edge_msa_runtime.tolerances import largest_tolerance, tolerance_for
from edge_msa_runtime.variants import Variants

_ROUTES = ("predict", "stream", "streams")


@dataclasses.dataclass(frozen=True)
class Check:
    """One golden case on one route.

    Attributes:
        subset: the modalities of the case, such as `la`.
        route: `predict` for `Session.predict`, `stream` for a stream, `streams` for as many streams at once as the
            graphs take, if the bundle has such graphs.
        difference: the largest |prediction - prediction of torch|.
        tolerance: the largest allowed difference.
        stated: the tolerance that follows from the parity in the manifest. If it exceeds `tolerance`, the runtime does
            not accept it, and the check fails.
    """

    subset: str
    route: str
    difference: float
    tolerance: float
    stated: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance, and the tolerance is acceptable. NaN is not."""
        return self.difference <= self.tolerance and self.stated <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Verification:
    """The checks of a bundle on one backend. `notes` are those of the bundle, and the session's fallbacks."""

    backend: str
    device: str
    precision: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def largest(self) -> Check:
        """The check with the largest difference; NaN counts as the largest."""
        return max(self.checks, key=lambda check: (np.isnan(check.difference), check.difference))

    def raise_if_failed(self) -> None:
        """Raise if a check failed.

        Raises:
            ParityError: names the failed check with the largest difference.
        """
        if not self.passed:
            excessive = max(self.checks, key=lambda check: check.stated - check.tolerance)
            if excessive.stated > excessive.tolerance:
                raise ParityError(
                    f"The tolerance of subset {excessive.subset} ({excessive.route}) must be at most "
                    f"{excessive.tolerance:.3g} at {self.precision}, got {excessive.stated:.3g} from the parity in the "
                    "manifest. Do not use the bundle; export it again."
                )
            worst = max(self.checks, key=lambda check: (not check.passed, check.difference))
            raise ParityError(
                f"The prediction of subset {worst.subset} ({worst.route}) must be within {worst.tolerance:.3g} of "
                f"torch, got a difference of {worst.difference:.3g} with {self.backend} on {self.device} at "
                f"{self.precision}. Use another backend or precision."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the verification as plain JSON values."""
        return {**dataclasses.asdict(self), "passed": self.passed, "largest_difference": self.largest.difference}


def verify_bundle(
    bundle: Session | str | os.PathLike[str], backend: str = "auto", precision: str | None = None
) -> Verification:
    """Predict the golden cases with a session, a stream and several streams, and compare with torch.

    The tolerance is max(1e-4, 2 * parity). The parity is that of the graph that predicts, plus that of the text encoder
    if the case has a text; the manifest states both. A check whose tolerance exceeds `largest_tolerance` fails.

    Args:
        bundle: a session, or a bundle's folder, which is verified when it is opened.
        backend: as for `load`; ignored for a session.
        precision: as for `load`; ignored for a session.

    Raises:
        UsageError: it is a cascade, whose members are verified one by one.
        EdgeMsaError: the bundle cannot be opened, or the backend failed. A difference is returned, not raised.
    """
    if not isinstance(bundle, Session):
        with load(bundle, backend, precision=precision) as session:
            return verify_bundle(session)
    if len(bundle.members) > 1:
        raise UsageError("verify_bundle takes one bundle, got a cascade. Pass each of session.members.")
    cases = load_golden(bundle.bundle)
    routes = _ROUTES if bundle.graphs.batch > 1 else _ROUTES[:-1]
    checks = [_check(bundle, case, route, _limit(bundle, case, cases)) for case in cases for route in routes]
    notes = (*bundle.bundle.notes, *bundle.fallbacks)
    return Verification(bundle.backend, bundle.device, bundle.precision, tuple(checks), notes)


def verify_all(variants: Variants) -> tuple[Verification, ...]:
    """Verify the variants of a bundle one after the other, so that only one of them is loaded at a time."""
    verifications = []
    for session in variants:
        with session:
            verifications.append(verify_bundle(session))
    return tuple(verifications)


def _check(session: Session, case: GoldenCase, route: str, limit: float) -> Check:
    predictions: Sequence[Prediction | Exception | None]
    if route == "predict":
        predictions = [session.predict(**case.inputs)]
    elif route == "stream":
        predictions = [_create_stream(session, case).predict()]
    else:
        predictions = session.predict_many([_create_stream(session, case) for _ in range(session.graphs.batch)])
    outputs = [prediction.outputs for prediction in predictions if isinstance(prediction, Prediction)]
    difference = float(np.abs(np.asarray(outputs) - case.prediction).max())
    stated = tolerance_for(_parity(session, case, route))
    return Check(case.subset.value, route, difference, min(stated, limit), stated)


def _create_stream(session: Session, case: GoldenCase) -> Stream:
    """Return a stream with the inputs of a golden case."""
    stream = session.create_stream()
    for name, frames in case.frames.items():
        if case.text is None or name != "language":
            stream.push(name, frames)
    if case.text is not None:
        stream.push_text(case.text)
    return stream


def _limit(session: Session, case: GoldenCase, cases: tuple[GoldenCase, ...]) -> float:
    """Return the largest tolerance for a case: that of the graphs, plus that of the text encoder for a text."""
    manifest = session.manifest
    precisions = [session.precision]
    if case.text is not None and manifest.language is not None:
        # The rows of a table are int8 at every precision.
        precisions.append("int8" if manifest.language.text_encoder == "table" else session.precision)
    predictions = [other.prediction for other in cases]
    return sum(largest_tolerance(precision, manifest.task, predictions) for precision in precisions)


def _parity(session: Session, case: GoldenCase, route: str) -> float:
    """Return the largest parity of the graphs that may predict a case, plus that of the text encoder for a text."""
    text = session.manifest.language if case.text is not None else None
    text_encoders, windows, fuse = [0.0 if text is None else text.parity], [], 0.0
    for spec in session.manifest.graphs:
        if (spec.backend, spec.precision) == (session.backend, session.precision):
            if spec.key.role == "text_encoder" and text is not None:
                text_encoders.append(spec.parity)
            elif spec.key.role == "window" and spec.key.subset is case.subset:
                windows.append(spec.parity)
            elif spec.key.role == "fuse" and (spec.key.batch > 1) == (route == "streams"):
                fuse = spec.parity
    return max(text_encoders) + max(windows if windows and route == "predict" else [fuse])
