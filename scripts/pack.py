"""Pack a data set into a few files for upload, or unpack and verify it."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("source", type=commandline.existing, help="folder of results; with --unpack, the packed one")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--unpack", action="store_true", help="unpack and verify")
    parser.add_argument("--size", type=commandline.positive, default=2.0, help="of an archive at most, GB")
    args = parser.parse_args()
    from fourdcrystal import packing

    if args.unpack:
        verdict = packing.unpack(args.source, args.output)
        print(f"{args.output}: {verdict.quartets} quartets of {verdict.stores} crystals, verified")
    else:
        written = packing.pack(args.source, args.output, int(1e9 * args.size))
        print(f"{args.output}: {', '.join(written)}")


if __name__ == "__main__":
    commandline.run(main)
