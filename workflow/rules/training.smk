"""Networks: one folder per experiment, from the catalogue and the Hydra tree config/train."""


rule train:
    """A network learns V_g and q_z maps from quartets. A killed training goes on from its last checkpoint."""
    input:
        catalogue=learned_from,
    output:
        model=f"{RESULTS}/models/{{experiment}}/model.safetensors",
        config=f"{RESULTS}/models/{{experiment}}/config.yaml",
        metrics=f"{RESULTS}/models/{{experiment}}/metrics.json",
        history=f"{RESULTS}/models/{{experiment}}/history.csv",
        curve=report(
            f"{RESULTS}/models/{{experiment}}/learning_curve.png",
            caption="../report/learning_curve.rst",
            category="3 Training",
            labels={"experiment": "{experiment}", "figure": "learning curve"},
        ),
    log:
        f"{RESULTS}/logs/train/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{experiment}}.tsv"
    conda:
        "../../envs/learning.yaml"
    threads: WHOLE_MACHINE
    resources:
        gpu=GPU,
    params:
        experiment=composed,
        patterns=f"{RESULTS}/patterns",
        folder=lambda wildcards, output: str(Path(output.model).parent),
        seed=settings.seed,
        ranks=ranks,
    shell:
        "{params.ranks}python $SCRIPTS/train.py experiment={wildcards.experiment} seed={params.seed}"
        " paths.catalogue={input.catalogue} paths.patterns={params.patterns} paths.output={params.folder}"
        " 2>&1 | tee {log}"
