"""`edge-msa train`: train a teacher."""

from __future__ import annotations

from edge_msa.cli.options import (
    Compile,
    Data,
    Device,
    Epochs,
    Features,
    OutputDir,
    Recipe,
    Seed,
    TaskName,
    Teacher,
    TensorBoard,
    TextModel,
    TrainingPrecision,
)


def train(
    output_dir: OutputDir,
    data: Data = "synthetic",
    model: Teacher = "hrlf",
    recipe: Recipe = None,
    epochs: Epochs = None,
    seed: Seed = 0,
    device: Device = "auto",
    precision: TrainingPrecision = "auto",
    compiled: Compile = False,
    tensorboard: TensorBoard = None,
    task: TaskName = None,
    text_model: TextModel = None,
    features: Features = None,
) -> None:
    """Train a teacher, HRLF or ALMT, on language, audio and vision features.

    HRLF is first trained on complete samples, then with missing modalities and frames. Run the same command
    under torchrun or `fabric run` to train on several processes.

    Example:
        edge-msa train --data synthetic --model hrlf --output-dir runs/teacher
    """
    from edge_msa.workflows.train import train as run

    run(
        data,
        output_dir=output_dir,
        model=model,
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        device=device,
        precision=precision,
        compiled=compiled,
        tensorboard=tensorboard,
        task=task,
        text_model=text_model,
        features=features,
    )
