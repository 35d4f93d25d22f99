"""Sound and pictures from files, microphones and cameras."""

from edge_msa_runtime.media.camera import Camera
from edge_msa_runtime.media.files import MediaFile, open_media
from edge_msa_runtime.media.microphone import Microphone
from edge_msa_runtime.media.signals import SAMPLE_RATE, Picture, Sound

__all__ = ["SAMPLE_RATE", "Camera", "MediaFile", "Microphone", "Picture", "Sound", "open_media"]
