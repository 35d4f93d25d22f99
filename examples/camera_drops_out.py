"""Predict from a microphone and a camera. The camera stops twice and returns; the predictions continue without it.

What you need: a bundle with audio and vision, such as demo/bundle-laptop of `edge-msa demo`. No camera: the example
replays frames that are in the bundle.

How to run it: python examples/camera_drops_out.py demo/bundle-laptop [--fast]
What it prints: a line per half second for 10 seconds (`--fast`: at once), with the modalities that were used:

     3.5 s  camera silent     subset av  score +1.72  positive
     4.0 s  camera silent     subset a   score +1.60  positive
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

import edge_msa_runtime as emr
from edge_msa_runtime.bundle.golden import load_golden

TICK = 0.5  # seconds between predictions
MAX_AGE = 1.0  # seconds after which a silent sensor is forgotten
RATE = 10  # frames per second. Use the rate of the features that the model was trained on

Frames = NDArray[np.float32]


def audio_features(recording: Frames, seconds: float) -> Frames:
    """Return the audio frames (T, d) since the last tick. Replace this by your microphone and your features."""
    first = round((seconds - TICK) * RATE)
    return recording[np.arange(first, round(seconds * RATE)) % len(recording)]


def vision_features(recording: Frames, seconds: float) -> Frames | None:
    """Return the vision frames (T, d) since the last tick; None if there is no image. Replace this by your camera.

    With OpenCV, and a network in ONNX Runtime that turns an image into the features that the model was trained on:

        camera, network = cv2.VideoCapture(0), onnxruntime.InferenceSession("face_features.onnx")  # when you start

        found, image = camera.read()
        if not found:
            return None
        face = cv2.resize(image, (224, 224)).astype(np.float32).transpose(2, 0, 1) / 255
        return network.run(None, {"image": face[None]})[0]  # (1, d)

    Raises:
        OSError: the camera is unplugged.
    """
    if 3 <= seconds < 5.5:
        return None  # the camera is silent and nobody says why
    if 7 <= seconds < 8.5:
        raise OSError("camera unplugged")
    return audio_features(recording, seconds)


def main(bundle: str, *, fast: bool = False) -> None:
    """Predict every half second for ten seconds."""
    now = 0.0
    with emr.load(bundle) as session:
        frames = {case.subset: case.frames for case in load_golden(session.bundle)}.get(emr.Subset.AV)
        if frames is None:
            raise SystemExit(f"{bundle} must have the modalities audio and vision. Pass another bundle.")
        # `clock` is the time in the simulation. Omit it in your program: a stream has a clock of its own.
        stream = session.create_stream(max_age=MAX_AGE, clock=lambda: now)
        for tick in range(1, 21):
            now = tick * TICK
            camera, vision = "ok", None
            try:
                vision = vision_features(frames["vision"], now)
                camera = "ok" if vision is not None else "silent"  # max_age forgets it
            except OSError:
                camera = "unplugged"
                stream.forget("vision")  # no need to wait for max_age
            stream.push("audio", audio_features(frames["audio"], now))
            if vision is not None:
                stream.push("vision", vision)
            p = stream.predict()
            print(f"{now:4.1f} s  camera {camera:10} subset {p.subset:3} score {p.score:+.2f}  {p.label}")
            if not fast:
                time.sleep(TICK)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--fast", action="store_true", help="Do not wait between the predictions.")
    main(**vars(parser.parse_args()))
