"""Evaluation: how good each network is on crystals and prototypes that it never saw."""


rule evaluate:
    """Held-out patterns with counting noise, searched by the network and by classical correlation.

    Scores, position errors, R factors, strain and tilt errors over thickness, dose and tilt. The classical methods get their
    best threshold for each split and dose; the network's is chosen on the validation crystals. `shipped` is the network of
    this package: it is scored at the threshold that it is used with, on crystals of prototypes that it didn't learn from.
    """
    input:
        catalogue=f"{RESULTS}/catalogue.parquet",
        model=evaluated_model,
    output:
        scores=f"{RESULTS}/evaluation/{{experiment}}/scores.csv",
        summary=f"{RESULTS}/evaluation/{{experiment}}/summary.json",
        thickness=report(
            f"{RESULTS}/evaluation/{{experiment}}/over_thickness.png",
            caption="../report/evaluation_thickness.rst",
            category="4 Evaluation",
            labels={"experiment": "{experiment}", "figure": "accuracy over thickness"},
        ),
        dose=report(
            f"{RESULTS}/evaluation/{{experiment}}/over_dose.png",
            caption="../report/evaluation_dose.rst",
            category="4 Evaluation",
            labels={"experiment": "{experiment}", "figure": "accuracy over dose"},
        ),
        tilt=report(
            f"{RESULTS}/evaluation/{{experiment}}/over_tilt.png",
            caption="../report/evaluation_tilt.rst",
            category="4 Evaluation",
            labels={"experiment": "{experiment}", "figure": "accuracy over tilt"},
        ),
    log:
        f"{RESULTS}/logs/evaluate/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate/{{experiment}}.tsv"
    conda:
        "../../envs/learning.yaml"
    threads: 2
    params:
        settings=recipe.part(settings, "evaluation", "seed"),
        patterns=f"{RESULTS}/patterns",
        folder=lambda wildcards, output: str(Path(output.summary).parent),
    shell:
        "python $SCRIPTS/evaluate.py --settings {params.settings:q} --catalogue {input.catalogue}"
        " --patterns {params.patterns} --model {input.model} -o {params.folder} > {log} 2>&1"


rule evaluation:
    """All evaluations: `snakemake evaluation`."""
    input:
        expand(
            f"{RESULTS}/evaluation/{{experiment}}/summary.json",
            experiment=EVALUATED,
        ),
