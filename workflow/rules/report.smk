"""What a person sees: pictures of quartets, what the run has cost, and the key figures.

`snakemake --report results/report.html` puts everything marked with report() into one self-contained page.
"""


report: "../report/workflow.rst"


rule gallery:
    """A few quartets of as many prototypes as possible: vacuum probe and pattern in, V_g and q_z maps out."""
    input:
        catalogue=f"{RESULTS}/catalogue.parquet",
    output:
        report(
            f"{RESULTS}/gallery.png",
            caption="../report/gallery.rst",
            category="2 Patterns",
            labels={"figure": "image quartets"},
        ),
    log:
        f"{RESULTS}/logs/gallery.log",
    conda:
        "../../envs/simulation.yaml"
    params:
        patterns=f"{RESULTS}/patterns",
    shell:
        "python $SCRIPTS/gallery.py --catalogue {input.catalogue} --patterns {params.patterns} -o {output} > {log} 2>&1"


rule physics_checks:
    """Where intensity goes with thickness, what comes near the seam, and thin disks against kinematical diffraction."""
    input:
        catalogue=f"{RESULTS}/catalogue.parquet",
    output:
        report(
            f"{RESULTS}/physics_checks.png",
            caption="../report/physics_checks.rst",
            category="2 Patterns",
            labels={"figure": "physics checks"},
        ),
    log:
        f"{RESULTS}/logs/physics_checks.log",
    conda:
        "../../envs/simulation.yaml"
    params:
        patterns=f"{RESULTS}/patterns",
    shell:
        "python $SCRIPTS/physics_checks.py {input.catalogue} {params.patterns} -o {output} > {log} 2>&1"


rule runtimes:
    """Wall time and memory of every rule, and of every class of crystals, from the benchmark files of the jobs."""
    input:
        production_outputs,
        sheet=ancient(sheet_path),
    output:
        figure=report(
            f"{RESULTS}/runtimes.png",
            caption="../report/runtimes.rst",
            category="6 Cost",
            labels={"figure": "time and memory per rule"},
        ),
        table=report(
            f"{RESULTS}/runtimes.csv",
            caption="../report/runtimes.rst",
            category="6 Cost",
            labels={"figure": "table of rules"},
        ),
        class_figure=report(
            f"{RESULTS}/runtimes_classes.png",
            caption="../report/runtimes_classes.rst",
            category="6 Cost",
            labels={"figure": "time and memory per class"},
        ),
        class_table=report(
            f"{RESULTS}/runtimes_classes.csv",
            caption="../report/runtimes_classes.rst",
            category="6 Cost",
            labels={"figure": "table of classes"},
        ),
    log:
        f"{RESULTS}/logs/runtimes.log",
    localrule: True
    conda:
        "../../envs/learning.yaml"
    params:
        results=lambda wildcards, output: os.path.dirname(output.table),
    shell:
        "python $SCRIPTS/runtimes.py {params.results} --sheet {input.sheet} --figure {output.figure}"
        " --table {output.table} --class-figure {output.class_figure} --class-table {output.class_table} > {log} 2>&1"


rule overview:
    """The key figures of the run on one page."""
    input:
        production_outputs,
        runtimes=rules.runtimes.output.table,
        gallery=rules.gallery.output,
        checks=rules.physics_checks.output,
    output:
        page=report(
            f"{RESULTS}/overview.html",
            caption="../report/overview.rst",
            category="0 Overview",
            labels={"figure": "key figures"},
        ),
        figures=f"{RESULTS}/overview.json",
    log:
        f"{RESULTS}/logs/overview.log",
    localrule: True
    conda:
        "../../envs/simulation.yaml"
    params:
        results=lambda wildcards, output: os.path.dirname(output.figures),
    shell:
        "python $SCRIPTS/overview.py {params.results} --page {output.page} --figures {output.figures} > {log} 2>&1"
