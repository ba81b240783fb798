"""Train a network on a catalogue of quartets; settings as `experiment=NAME key=value ...`, sweeps with --multirun."""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fourdcrystal import commandline


@hydra.main(config_path=str(Path(__file__).parents[1] / "config" / "train"), config_name="train", version_base="1.3")
def main(composed: DictConfig) -> None:
    def train() -> None:
        from fourdcrystal import experiment, training  # after --help: Lightning takes seconds to import

        # in a sweep each job has a folder of its own below paths.output
        composed.paths.output = HydraConfig.get().runtime.output_dir
        training.train(experiment.validate(composed))

    commandline.run(train)


if __name__ == "__main__":
    commandline.run_composed(main)
