"""Write a trained network as an ONNX file, for programs without PyTorch."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("model", type=commandline.existing, help="model.safetensors")
    parser.add_argument(
        "--shape", type=commandline.count, nargs=2, default=[128, 128], help="pixels of a pattern along qx and qy"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write (.onnx)")
    args = parser.parse_args()
    from fourdcrystal import exchange, modelfile  # after --help: torch takes seconds to import

    exchange.to_onnx(modelfile.load(args.model), args.output, (args.shape[0], args.shape[1]))


if __name__ == "__main__":
    commandline.run(main)
