"""Train a network on a catalogue of quartets; settings as `experiment=NAME key=value ...`, sweeps with --multirun."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from fourdcrystal import commandline


@hydra.main(config_path=str(Path(__file__).parents[1] / "config" / "train"), config_name="train", version_base="1.3")
def main(composed: DictConfig) -> None:
    def train() -> None:
        from fourdcrystal import experiment, training  # after --help: Lightning takes seconds to import

        training.train(experiment.validate(composed))

    commandline.run(train)


if __name__ == "__main__":
    main()
