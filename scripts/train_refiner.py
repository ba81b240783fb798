"""Train the sub-pixel refiner: rocking maps of AFLOW crystals (those that exist are kept), training, validation."""

from pathlib import Path

from fourdcrystal import commandline
from fourdcrystal.commandline import count, positive


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="refiner (.safetensors); .json beside")
    parser.add_argument("--maps", type=Path, default=Path("results/rocking"), help="folder of rocking maps (400 MB)")
    parser.add_argument("--per-crystal", type=count, default=1, help="rocking maps of each crystal")
    parser.add_argument("--crops", type=count, default=120000, help="crops to learn from")
    parser.add_argument("--steps", type=count, default=6000, help="optimiser steps")
    parser.add_argument("--batch", type=count, default=256, help="crops per step")
    parser.add_argument("--width", type=count, default=64, help="channels of a ray")
    parser.add_argument("--learning-rate", type=positive, default=1.5e-3, help="highest learning rate of the cycle")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training")
    parser.add_argument("--start", type=commandline.existing, help="refiner to go on from; none: random weights")
    args = parser.parse_args()
    from fourdcrystal import refiner_training

    recipe = refiner_training.Recipe(args.crops, args.steps, args.batch, args.width, args.learning_rate, args.seed)
    for figures in refiner_training.make(args.maps, recipe, args.output, args.per_crystal, args.start):
        print(figures.words())


if __name__ == "__main__":
    commandline.run(main)
