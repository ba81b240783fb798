"""Score a trained network on held-out crystals and prototypes, beside classical detection at its best threshold."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("--catalogue", type=commandline.existing, required=True, help="catalogue.parquet")
    parser.add_argument("--patterns", type=commandline.existing, required=True, help="folder of the stores")
    parser.add_argument("--model", type=commandline.existing, required=True, help="model.safetensors")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cpu or cuda")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for tables and plots")
    args = parser.parse_args()
    from fourdcrystal import evaluation_report, recipe  # after --help: torch takes seconds to import

    settings = recipe.read(args.settings)
    evaluation_report.make(args.catalogue, args.patterns, args.model, args.output, settings, args.device)


if __name__ == "__main__":
    commandline.run(main)
