"""Golden vectors: inputs and torch's predictions that travel with a bundle, and whether they come back here.

`golden.npz` holds, for each case, `<case>/<modality>` (T, d) raw float32 frames and `<case>/prediction` (outputs,), the
prediction of torch in float32. A case is named by its subset (`la`). Where the bundle reads words, `<case>/text` is what
was said: it is read in place of the frames of language, which are those that torch read.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from edge_msa_runtime.bundle.manifest import GOLDEN_NAME
from edge_msa_runtime.errors import BundleError, ParityError
from edge_msa_runtime.modalities import Subset
from edge_msa_runtime.session import Session, load
from edge_msa_runtime.variants import open_variants

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edge_msa_runtime.bundle.reader import Bundle

# Below this nothing is told apart: backends and processors round differently.
_LEAST_TOLERANCE = 1e-4
# What was measured when the graph was written may double on another processor before it counts as another answer.
_MARGIN = 2.0


@dataclasses.dataclass(frozen=True)
class GoldenCase:
    """One case: raw `frames` (T, d) by modality, torch's `prediction` (outputs,) at float32, and the `text` if any."""

    subset: Subset
    frames: Mapping[str, Any]
    prediction: NDArray[np.float32]
    text: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What a session reads: the text in place of language's frames where there is one."""
        return {**self.frames, **({} if self.text is None else {"language": self.text})}


@dataclasses.dataclass(frozen=True)
class Check:
    """One case on one route (`predict` or `stream`): largest |prediction - torch|, and how large it may be."""

    subset: str
    route: str
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the prediction came back; not so for NaN."""
        return self.difference <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Verification:
    """What `verify_bundle` found on one backend; `notes`: what ran otherwise than is usual on it."""

    backend: str
    device: str
    precision: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every case came back on every route."""
        return all(check.passed for check in self.checks)

    @property
    def largest(self) -> Check:
        """The check that is farthest from torch; one whose difference is no number comes first."""
        return max(self.checks, key=lambda check: (check.difference != check.difference, check.difference))

    def require(self) -> None:
        """Refuse what did not come back.

        Raises:
            ParityError: names the worst case.
        """
        if not self.passed:
            worst = max(self.checks, key=lambda check: (not check.passed, check.difference))
            raise ParityError(
                f"{self.backend} on {self.device} at {self.precision} reads {worst.subset} ({worst.route}) "
                f"{worst.difference:.3g} away from torch, allowed is {worst.tolerance:.3g}; "
                "use another --backend or --precision"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**dataclasses.asdict(self), "passed": self.passed, "largest_difference": self.largest.difference}


def read_golden(bundle: Bundle) -> tuple[GoldenCase, ...]:
    """The golden cases of a bundle, in the order of the subsets.

    Raises:
        BundleError: there are none, or the file is not laid out as golden vectors are.
    """
    if bundle.golden is None:
        raise BundleError(f"the bundle has no {GOLDEN_NAME}; export it again")
    try:
        # Opened here: NumPy leaves a file open when it is no archive.
        with bundle.golden.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise BundleError(f"{GOLDEN_NAME} cannot be read: {error}; export the bundle again") from error
    cases = []
    for subset in Subset:
        if f"{subset.value}/prediction" in arrays:
            absent = [name for name in subset.modalities if f"{subset.value}/{name}" not in arrays]
            if absent:
                raise BundleError(f"{GOLDEN_NAME} lacks {subset.value}/{absent[0]}; export the bundle again")
            frames = {name: arrays[f"{subset.value}/{name}"] for name in subset.modalities}
            said = arrays.get(f"{subset.value}/text")
            text = None if said is None or bundle.manifest.language is None else str(said)
            cases.append(GoldenCase(subset, frames, arrays[f"{subset.value}/prediction"], text))
    if not cases:
        raise BundleError(f"{GOLDEN_NAME} has no case in it; export the bundle again")
    return tuple(cases)


def verify_bundle(
    bundle: Session | str | os.PathLike[str], backend: str = "auto", precision: str | None = None
) -> Verification:
    """Read the golden inputs here, words where there are any, whole and as streams, and compare with what torch read.

    A difference may be as large as max(1e-4, twice the parity in the manifest of the graph that gave the prediction);
    the parity of what turned words into frames is added to it.

    Args:
        bundle: a session, or a bundle's folder, whose bytes are verified as it is opened.
        backend: as for `load`; not used with a session.
        precision: as for `load`; not used with a session.

    Raises:
        EdgeMsaError: as `load`, or a backend that fails; a difference is told in the result, not raised.
    """
    if not isinstance(bundle, Session):
        with load(bundle, backend, precision=precision) as session:
            return verify_bundle(session)
    checks = []
    for case in read_golden(bundle.bundle):
        checks += [_check(bundle, case, route) for route in ("predict", "stream")]
    return Verification(bundle.backend, bundle.device, bundle.precision, tuple(checks), bundle.notes)


def verify_all(
    bundle: str | os.PathLike[str], backend: str = "auto", *, strict: bool = False, threads: int = 1, device: str = ""
) -> tuple[tuple[Verification, ...], tuple[str, ...]]:
    """Verify every precision of a backend, or of every backend of the bundle that is here; see `open_variants`.

    Returns:
        What was found, and why each backend or precision that was left out cannot run.
    """
    sessions, left_out = open_variants(bundle, backend, strict=strict, threads=threads, device=device)
    found = []
    for session in sessions:
        with session:
            found.append(verify_bundle(session))
    return tuple(found), left_out


def _check(session: Session, case: GoldenCase, route: str) -> Check:
    if route == "predict":
        outputs = session.predict(**case.given).outputs
    else:
        stream = session.create_stream()
        stream.push(**case.given)
        outputs = stream.predict().outputs
    difference = float(np.abs(np.asarray(outputs) - case.prediction).max())
    return Check(case.subset.value, route, difference, max(_LEAST_TOLERANCE, _MARGIN * _parity(session, case, route)))


def _parity(session: Session, case: GoldenCase, route: str) -> float:
    """The worst parity of the graphs that may have given a prediction, with that of the words before them."""
    text = session.manifest.language if case.text is not None else None
    text_encoders, windows, fuse = [0.0 if text is None else text.parity], [], 0.0
    for spec in session.manifest.graphs:
        if (spec.backend, spec.precision) == (session.backend, session.precision):
            if spec.key.role == "text_encoder" and text is not None:
                text_encoders.append(spec.parity)
            elif spec.key.role == "window" and spec.key.subset is case.subset:
                windows.append(spec.parity)
            elif spec.key.role == "fuse":
                fuse = spec.parity
    return max(text_encoders) + max(windows if windows and route == "predict" else [fuse])
