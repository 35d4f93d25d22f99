"""From your own features to predictions: archive, teacher, student, calibration, bundle.

What you need: edge-msa. The features are simulated here: replace `load_my_utterances` by yours. Features are arrays of
shape (frames, features) per utterance and modality, as your extractor computes them: not normalized and not padded.

How to run it: python examples/own_features.py [--quick]   (one minute on two cores; --quick: 20 seconds)
What it prints: what is in the archive, each finished step, the accuracy for every subset of the modalities beside that
of a constant, and a prediction. It writes into the folder own-features/ or own-features-quick/. An interrupted run
continues when you run it again.
"""

from __future__ import annotations

import argparse

import numpy as np

import edge_msa as em


def load_my_utterances(videos: int) -> list[em.Utterance]:
    """Return simulated utterances. With your data: one `Utterance` per clip, with the arrays that you have of it."""
    generator = np.random.default_rng(0)
    audio_direction, vision_direction = generator.normal(size=25), generator.normal(size=17)
    utterances = []
    for video in range(videos):
        speaker = generator.normal(size=25)
        for clip in range(8):
            score = float(generator.uniform(-3, 3))
            seconds = generator.uniform(1.0, 3.0)
            audio = generator.normal(size=(round(10 * seconds), 25)) + 0.2 * score * audio_direction + 0.5 * speaker
            vision = generator.normal(size=(round(5 * seconds), 17)) + 0.1 * score * vision_direction
            face_found = generator.random() < 0.9  # a modality that an utterance lacks is None
            utterances.append(
                em.Utterance(
                    id=f"video-{video}/{clip}",
                    video=f"video-{video}",  # the utterances of a video stay in one split
                    label=score,  # from -3, negative, to 3, positive: the task mosi
                    audio=audio,
                    vision=vision if face_found else None,
                )
            )
    return utterances


def main(*, quick: bool = False, folder: str = "") -> None:
    """Run all steps. A step whose result exists is skipped."""
    folder = folder or ("own-features-quick" if quick else "own-features")
    utterances = load_my_utterances(videos=100 if quick else 300)
    # What computed the features, so that a prediction from others has a warning.
    features = {"audio": {"extractor": "simulated", "rate_hz": 10}, "vision": {"extractor": "simulated", "rate_hz": 5}}
    data = em.save_data(utterances, output=f"{folder}/data.npz", task="mosi", features=features, overwrite=True)
    print(em.inspect_data(data), end="\n\n")

    epochs = 6 if quick else None  # None: as many as the recipe says
    teacher = em.train(data, epochs=epochs, output_dir=f"{folder}/teacher")
    print(teacher)
    student = em.distill(teacher, data=data, epochs=epochs, output_dir=f"{folder}/student")
    print(student)
    calibrated = em.calibrate(student, data=data, num_samples=64 if quick else 512, output_dir=f"{folder}/calibrated")
    bundle = em.export(calibrated, target="laptop-x86", output_dir=f"{folder}/bundle")
    print(bundle, em.evaluate(bundle, data=data), sep="\n\n", end="\n\n")

    with bundle.load() as session:  # on a device: edge_msa_runtime.load("bundle"), without torch
        new = utterances[0]
        prediction = session.predict(audio=new.audio, vision=new.vision)
        print(f"{new.id}: {prediction.score:+.2f} from {prediction.subset}, labeled {new.label:+.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="Use few samples and train for few epochs.")
    main(**vars(parser.parse_args()))
