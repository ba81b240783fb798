# 4D-Crystal: crystals -> supercells -> patterns -> catalogue -> models -> evaluation, and scans -> detection.
# The table of contents; each stage has its rules file in workflow/rules.
from snakemake.utils import min_version

min_version("9.27")


# A file given with --configfile replaces the embedded default; merging the two would mix two experiments.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/crystals.smk"
include: "workflow/rules/patterns.smk"
include: "workflow/rules/catalogue.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/detection.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        production_outputs,
        rules.overview.output,
