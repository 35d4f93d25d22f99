"""The exception tree of all four packages. Every error that is raised on purpose derives from `EdgeMsaError`.

EdgeMsaError                        exit code 1
├── UsageError                      exit code 2   an argument, option or input that cannot be used
│   ├── BadTimeError                exit code 2   an event time or period that a stream cannot use
│   ├── NothingToPredictError       exit code 2   a stream without a valid frame or word
│   └── UnstatedTaskError           exit code 2   (edge_msa) a data file that does not name its task
├── BundleError                     exit code 1   a bundle that is damaged, incomplete or of another schema
│   └── SignatureError              exit code 1   a signature that is missing, invalid, of an unknown key, or too old
├── InferenceError                  exit code 1   a backend that failed while running, or a non-finite output
├── BuildError                      exit code 1   a TensorRT plan that could not be built correctly
├── CacheError                      exit code 1   a backend cache that cannot be written
├── ParityError                     exit code 3   golden predictions that differ by more than the tolerance
├── BackendUnavailableError         exit code 4   a backend, library or device that this machine does not have
│   ├── CaptureError                exit code 4   a microphone or camera that cannot be used
│   └── PackageImportError          exit code 4   a package that is not installed or cannot be imported
├── CalibrationError                exit code 1   (edge_msa_calibrate) unusable samples, statistics or graphs
│   └── GateFailedError             exit code 3   (edge_msa_calibrate) a precision that fails the accuracy gate
├── ExportError                     exit code 1   (edge_msa_export) a graph or file that cannot be exported
│   ├── ProfileError                exit code 2   (edge_msa_export) an unknown or invalid device profile
│   ├── LintError                   exit code 2   (edge_msa_export) no lint rules for a backend version, or no graph
│   └── OutputError                 exit code 2   (edge_msa_export) an output folder that may not be replaced
├── DataError                       exit code 1   a data file that cannot be loaded or used
│   └── MediaError                  exit code 1   a sound or video file that cannot be decoded
├── RunError                        exit code 1   (edge_msa) a run folder that is damaged or cannot be written
│   └── RunUsageError               exit code 2   (edge_msa) a path that is not a run of the required kind
├── TrainingError                   exit code 1   (edge_msa) a training that diverged
├── StorageError                    exit code 1   (edge_msa) a search storage that is locked, damaged or unreachable
├── FiguresChangedError             exit code 3   (edge_msa) figures of a report that got worse or changed
└── RemoteError                     exit code 1-4 (edge_msa) a command that failed on a remote device

Messages are one line: what is wrong, the actual value, and what to do. The command lines print the message and exit
with `exit_code`; a signal exits with 128 + its number, such as 130 for Ctrl-C.
"""

from __future__ import annotations


class EdgeMsaError(Exception):
    """Base class of all edge-msa errors. `exit_code` is the exit code of a command line that fails with it.

    What to do: Correct what the message names, and run the command again.
    """

    exit_code: int = 1


class UsageError(EdgeMsaError):
    """An argument, option or input cannot be used: wrong shape, non-finite value, unknown name.

    What to do: Correct the argument, option or input that the message names. `--help` shows what a command takes.
    """

    exit_code = 2


class BadTimeError(UsageError):
    """A time or a period is invalid, or too far in the future of a stream.

    What to do: Pass seconds, or create the stream with a larger max_jump.
    """


class NothingToPredictError(UsageError):
    """No modality of a stream has a valid frame or word now.

    What to do: Push frames or words before calling predict().
    """


class DataError(EdgeMsaError):
    """A data file cannot be loaded, or its content cannot be used.

    What to do: Correct the file, or choose another one. `edge-msa data inspect FILE` shows its content.
    """


class MediaError(DataError):
    """A sound or video file is empty, damaged, or not a recording.

    What to do: Copy or record the file again, or convert it. `ffprobe FILE` shows its content.
    """


class BundleError(EdgeMsaError):
    """The bundle does not match its manifest, or its manifest is missing or invalid.

    What to do: Copy the whole folder of the bundle again, or export it again.
    """


class SignatureError(BundleError):
    """A bundle is not signed by a trusted key as it is now, or its release has expired or is too old.

    What to do: Get the bundle again from those who made it. Do not use it as it is.
    """


class InferenceError(EdgeMsaError):
    """A backend failed while running a graph, or the graph returned a non-finite output.

    What to do: Run `edge-msa-run verify BUNDLE`. If it fails too, choose another backend or export again.
    """


class BuildError(EdgeMsaError):
    """A TensorRT plan could not be built, or the built plan is not the requested one.

    What to do: Build again with `edge-msa-run build BUNDLE`. `edge-msa-run doctor` examines the device.
    """


class CacheError(EdgeMsaError):
    """The backend cache cannot be written.

    What to do: Free disk space, or set `EDGE_MSA_CACHE` to a folder that you can write to.
    """


class ParityError(EdgeMsaError):
    """A golden prediction differs from the torch prediction by more than the tolerance.

    What to do: Choose another backend or precision. `edge-msa-run doctor BUNDLE` examines the device.
    """

    exit_code = 3


class BackendUnavailableError(EdgeMsaError):
    """A backend, library or device is not available on this machine. The message says how to get it.

    What to do: Install what the message names, or choose another backend or device.
    """

    exit_code = 4


class CaptureError(BackendUnavailableError):
    """A microphone or camera does not exist, is in use, may not be used, or stopped.

    What to do: Connect it, close the program that uses it, or allow its use. The message lists the devices.
    """


class PackageImportError(BackendUnavailableError):
    """A package is not installed, or cannot be imported.

    What to do: Run the command in the message.

    Attributes:
        reason: what is wrong, without the fix.
        requirement: what `pip install` must install.
        culprit: name of the package that is missing, damaged or of the wrong version: this one or one that it needs.
    """

    def __init__(self, reason: str, requirement: str, culprit: str) -> None:
        super().__init__(f"{reason}. Run: pip install {requirement}")
        self.reason = reason
        self.requirement = requirement
        self.culprit = culprit


def first_line(error: object) -> str:
    """Return the first non-empty line of an error's message, or the error's type when it has no text."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
