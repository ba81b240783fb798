"""Verify a store, a folder of stores or a data set, packed or not: every byte, contract, physics, catalogue."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("path", type=commandline.place, help="store, folder of stores, of results, packed, or s3://...")
    parser.add_argument("-o", "--output", type=Path, help="write the verdict there, too (JSON)")
    parser.add_argument("--sheet", type=commandline.existing, help="sheet of crystals, which says what is held out")
    parser.add_argument("--workers", type=commandline.count, default=1, help="processes that share the work")
    args = parser.parse_args()
    from fourdcrystal import packing, verification

    if packing.is_packed(args.path):
        verdict = packing.verified(args.path)
    else:
        verdict = verification.verify(args.path, args.workers, args.sheet)
    print(verdict.words())
    if args.output:
        verdict.write(args.output)
    raise SystemExit(bool(verdict.problems))


if __name__ == "__main__":
    commandline.run(main)
