"""Crystals: from a source, through structure prototypes and the square-root law, to one file per crystal.

With `crystals.sheet` the crystals are known while the workflow is parsed: `snakemake -n` shows every job, and a row more
adds one crystal's jobs. Without it one checkpoint selects them from what the source offers.
"""

import subprocess

if SHEET:

    onstart:
        # Not a rule: in Snakemake 9.27 a rule that runs again hides what is missing or changed behind its `ancient`
        # outputs until the next call, and without `ancient` every new row would make all crystals again.
        collected = recipe.part(settings, *SOURCE)
        try:
            shell("python $SCRIPTS/collect.py --settings {collected:q} --sheet {SHEET:q} -o {STRUCTURES:q}")
        except subprocess.CalledProcessError as error:
            raise WorkflowError("the crystals of the sample sheet can't be collected") from error

else:

    rule collect:
        """Structures of a source in one table, with their licence; what can't be used is kept with the reason.

        Partial occupancy is rejected: a site that several elements share has no potential, only an average over many
        crystals has.
        """
        input:
            files=STRUCTURE_FILES,
        output:
            STRUCTURES,
        log:
            f"{RESULTS}/logs/collect.log",
        benchmark:
            f"{RESULTS}/benchmarks/collect.tsv"
        localrule: True  # nodes of a cluster often have no network
        conda:
            "../../envs/crystals.yaml"
        params:
            settings=recipe.part(settings, *SOURCE),
        shell:
            "python $SCRIPTS/collect.py --settings {params.settings:q} -o {output} > {log} 2>&1"

    rule classify:
        """Prototype, space group and measures of every structure.

        The prototype is the crystal's type of structure, whatever its elements and cell lengths: rock salt, zincblende,
        perovskite. It decides which reflections exist and how strong they are, so the network's training set is
        balanced over prototypes and its test set holds some out whole.
        """
        input:
            rules.collect.output,
        output:
            CLASSES,
        log:
            f"{RESULTS}/logs/classify.log",
        benchmark:
            f"{RESULTS}/benchmarks/classify.tsv"
        conda:
            "../../envs/crystals.yaml"
        threads: WHOLE_MACHINE
        shell:
            "python $SCRIPTS/classify.py {input} -o {output} --workers {threads} > {log} 2>&1"

    checkpoint select_crystals:
        """The square-root law: of a prototype with N crystals, √N are taken, and split into training and test.

        Copy the sample sheet and the counts beside it, and name the sheet in `crystals.sheet`, to freeze the selection.
        """
        input:
            structures=rules.collect.output,
            classes=rules.classify.output,
        output:
            sheet=f"{RESULTS}/crystals.csv",
            counts=f"{RESULTS}/crystals.counts.json",
        log:
            f"{RESULTS}/logs/select_crystals.log",
        benchmark:
            f"{RESULTS}/benchmarks/select_crystals.tsv"
        localrule: True
        conda:
            "../../envs/crystals.yaml"
        params:
            settings=recipe.part(
                settings,
                "seed",
                *(
                    f"crystals.{name}"
                    for name in type(settings.crystals).model_fields
                    if name not in ("sheet", "per_job", "aflow", "mp", "optimade", "files")
                ),
            ),
        shell:
            "python $SCRIPTS/select_crystals.py --settings {params.settings:q} {input.structures} {input.classes}"
            " -o {output.sheet} > {log} 2>&1"


rule census:
    """Crystals by class, crystal system and split, and those that were rejected, by reason.

    What was rejected is known from the selection, whose counts lie beside the sample sheet.
    """
    input:
        sheet=SHEET or rules.select_crystals.output.sheet,
        counts=COUNTS if SHEET else rules.select_crystals.output.counts,
    output:
        counts=f"{CRYSTALS}/census.json",
        picture=report(
            f"{CRYSTALS}/census.png",
            caption="../report/census.rst",
            category="1 Crystals",
            labels={"figure": "class sizes and selection"},
        ),
    log:
        f"{RESULTS}/logs/census.log",
    benchmark:
        f"{RESULTS}/benchmarks/census.tsv"
    localrule: True
    conda:
        "../../envs/crystals.yaml"
    shell:
        "python $SCRIPTS/census.py {input.sheet} -o {output.counts} --picture {output.picture}" " > {log} 2>&1"


rule crystals:
    """One crystal of the sample sheet as a file: structure as the source has it, prototype, licence and citation.

    A crystal is written again if its own row, its own file or the meaning of its id has changed, not because another
    one has been added.
    """
    input:
        file=crystal_file,
        sheet=ancient(sheet_path),
    output:
        f"{CRYSTALS}/{{crystal}}.json",
    log:
        f"{RESULTS}/logs/crystals/{{crystal}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/crystals/{{crystal}}.tsv"
    wildcard_constraints:
        crystal=r"(?!census\.json$)[A-Za-z0-9][A-Za-z0-9._-]*",
    localrule: True
    conda:
        "../../envs/crystals.yaml"
    params:
        identity=crystal_identity,
        structures=STRUCTURES,
    shell:
        "python $SCRIPTS/crystals.py {params.structures} {input.sheet} --id {wildcards.crystal} -o {output} > {log} 2>&1"
