"""Make the quartet of one catalogue row again, from its store's own recipe, and compare it with the stored one."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("--row", type=int, required=True, help="row of the catalogue, from 0")
    parser.add_argument("--results", type=commandline.existing, default="results", help="folder of the data set")
    parser.add_argument("-o", "--output", type=Path, help="write probe, cbed, vg and qz there (.npz)")
    args = parser.parse_args()
    from fourdcrystal import remake

    found = remake.row(args.results / "catalogue.parquet", args.results / "patterns", args.row)
    if args.output:
        remake.write(args.output, found)
    differences = found.differences()
    same = not any(differences.values())
    words = ", ".join(f"{name} by {value:.3g}" for name, value in differences.items() if value)
    print(f"row {args.row} of {found.store}: {'equal bit by bit' if same else f'differs: {words}'}")
    raise SystemExit(not same)


if __name__ == "__main__":
    commandline.run(main)
