"""Gather what a run has cost, by rule and by class of crystals, from the benchmark files of its jobs."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("results", type=commandline.existing, help="folder of all outputs")
    parser.add_argument("--sheet", type=commandline.existing, required=True, help="sample sheet (.csv)")
    parser.add_argument("--figure", type=Path, required=True, help="picture by rule to write")
    parser.add_argument("--table", type=Path, required=True, help="table by rule to write (CSV)")
    parser.add_argument("--class-figure", type=Path, required=True, help="picture by class to write")
    parser.add_argument("--class-table", type=Path, required=True, help="table by class to write (CSV)")
    args = parser.parse_args()
    from fourdcrystal import files, runtimes, sheet

    rules = runtimes.by_rule(runtimes.read(args.results / "benchmarks"))
    classes = runtimes.by_class(args.results, {row.id: row.prototype for row in sheet.read(args.sheet)})
    for table, path in ((rules, args.table), (classes, args.class_table)):
        with files.replaced(path) as temporary:
            table.round(2).to_csv(temporary)
    runtimes.draw(args.figure, rules)
    runtimes.draw_classes(args.class_figure, classes)


if __name__ == "__main__":
    commandline.run(main)
