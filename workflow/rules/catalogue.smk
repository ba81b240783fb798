"""The catalogue: what there is, one row per quartet."""


rule catalogue:
    """One row per quartet: crystal, class, orientation, energy, semi-angle, thickness, split and measures of quality.

    Splits come from the sheet of crystals: nothing of a test crystal, and nothing of a prototype that is held out
    whole, is ever trained on. The catalogue also keeps the checksum of every store.
    """
    input:
        sheet=sheet_path,
        stores=finished_patterns,
    output:
        f"{RESULTS}/catalogue.parquet",
    log:
        f"{RESULTS}/logs/catalogue.log",
    benchmark:
        f"{RESULTS}/benchmarks/catalogue.tsv"
    conda:
        "../../envs/simulation.yaml"
    params:
        patterns=f"{RESULTS}/patterns",
    shell:
        "python $SCRIPTS/catalogue.py {input.sheet} {params.patterns} -o {output} > {log} 2>&1"


rule verify:
    """Every byte, the contract, the physics, and the catalogue against the stores: fails where anything is wrong."""
    input:
        rules.catalogue.input.stores,
        sheet=sheet_path,
        catalogue=rules.catalogue.output,
    output:
        f"{RESULTS}/verification.json",
    log:
        f"{RESULTS}/logs/verify.log",
    benchmark:
        f"{RESULTS}/benchmarks/verify.tsv"
    conda:
        "../../envs/simulation.yaml"
    threads: WHOLE_MACHINE
    params:
        results=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "python $SCRIPTS/verify.py {params.results} --sheet {input.sheet} --workers {threads} -o {output} > {log} 2>&1"


rule data_card:
    """What the data set holds, where its crystals come from, under which licences, and how to read it."""
    input:
        rules.catalogue.output,
    output:
        f"{RESULTS}/data_card.md",
    log:
        f"{RESULTS}/logs/data_card.log",
    conda:
        "../../envs/simulation.yaml"
    params:
        patterns=f"{RESULTS}/patterns",
    shell:
        "python $SCRIPTS/data_card.py {input} {params.patterns} -o {output} > {log} 2>&1"


rule histograms:
    """What the data set is made of: classes, thicknesses, semi-angles, tilts, and intensities on the detector."""
    input:
        rules.catalogue.output,
    output:
        report(
            f"{RESULTS}/histograms.png",
            caption="../report/histograms.rst",
            category="2 Patterns",
            labels={"figure": "histograms"},
        ),
    log:
        f"{RESULTS}/logs/histograms.log",
    conda:
        "../../envs/simulation.yaml"
    shell:
        "python $SCRIPTS/histograms.py {input} -o {output} > {log} 2>&1"


rule preview:
    """A page to browse quartets in, by class, split, thickness and tilt; it needs nothing but a browser."""
    input:
        rules.catalogue.output,
    output:
        report(
            f"{RESULTS}/quartets.html",
            caption="../report/quartets.rst",
            category="2 Patterns",
            labels={"figure": "quartets to browse"},
        ),
    log:
        f"{RESULTS}/logs/preview.log",
    conda:
        "../../envs/simulation.yaml"
    params:
        patterns=f"{RESULTS}/patterns",
    shell:
        "python $SCRIPTS/preview.py --catalogue {input} --patterns {params.patterns} -o {output} > {log} 2>&1"
