"""Store what MediaPipe's Face Landmarker finds in the pictures of `face_pictures.py`, in `face_scores.json`.

In an environment with mediapipe, which nothing else needs, in the root of the repository:

    pip install mediapipe==1.2.3
    PYTHONPATH=.:runtime python -m tests.make_face_scores face_landmarker.task
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.face_pictures import PICTURES

FILE = Path(__file__).with_name("face_scores.json")
LANDMARKS = (1, 10, 33, 61, 152, 263, 291, 468, 473)
"""The landmarks that are stored: nose, forehead, eyes, corners of the mouth, chin, irises."""


def main() -> None:
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    model = Path(sys.argv[1])
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)), output_face_blendshapes=True, num_faces=4
    )
    pictures: dict[str, Any] = {}
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        for name, make in PICTURES.items():
            pixels = make()
            height, width = pixels.shape[:2]
            result = landmarker.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
            pictures[name] = [
                {
                    "landmarks": [[round(face[at].x * width, 2), round(face[at].y * height, 2)] for at in LANDMARKS],
                    "blendshapes": [round(item.score, 4) for item in scores],
                }
                for face, scores in zip(result.face_landmarks, result.face_blendshapes, strict=True)
            ]
            print(f"{name}: {len(pictures[name])} faces")
    content = {
        "mediapipe": mediapipe.__version__,
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "landmarks": LANDMARKS,
        "pictures": pictures,
    }
    lines = json.dumps(content).replace('{"landmarks"', '\n{"landmarks"').replace('], "', '],\n"')
    FILE.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
