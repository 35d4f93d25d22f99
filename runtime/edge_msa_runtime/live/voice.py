"""Where there is voice, from the voice activity of the audio front end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_msa_runtime.front_ends import FrontEnd, TimedFrames
    from edge_msa_runtime.media.signals import Sound

_VOICED = 0.5
"""Voice activity from which on there is voice."""


class VoiceDetector:
    """Finds voice in sound.

    Args:
        front_end: computes audio frames where nothing else does.
        column: of the voice activity in the frames.
        period: seconds between frames.
    """

    def __init__(self, front_end: FrontEnd, column: int, period: float) -> None:
        self._front_end = front_end
        self._column = column
        self._period = period

    def push(self, sound: Sound, frames: TimedFrames | None) -> list[tuple[float, bool]]:
        """Return moments with whether there is voice.

        Args:
            sound: the sound.
            frames: its audio frames, if they were computed already.
        """
        found = self._front_end.push(sound) if frames is None else frames
        active = found.frames[:, self._column] >= _VOICED
        return [(found.time + index * self._period, bool(is_active)) for index, is_active in enumerate(active)]


def open_voice() -> VoiceDetector:
    """Return a detector of voice.

    Raises:
        PackageImportError: kaldi-native-fbank is not installed.
    """
    from edge_msa_runtime.audio.front_end import VOICE_ACTIVITY, AudioFrontEnd

    front_end = AudioFrontEnd()
    return VoiceDetector(front_end, VOICE_ACTIVITY, front_end.period)
