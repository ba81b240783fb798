"""Patterns: crystals turned under the beam, and the diffraction patterns they give with a convergent beam."""

from fourdcrystal import PATTERNS_VERSION
from fourdcrystal.settings import PATTERN_SECTIONS

SIMULATED = recipe.part(settings, *PATTERN_SECTIONS)


if settings.crystals.per_job == 1:

    rule supercells:
        """Every crystal in all its orientations: unrotated, on zone axes, slightly off them, and at random.

        The infinite crystal is rotated, then a box is cut from it. Each box is checked: density, composition, distances and
        the surroundings of atoms are the crystal's. The box can't fit a rotated crystal, so its lateral seam is a defect
        that the probe must not see.
        """
        input:
            f"{RESULTS}/crystals/{{crystal}}.json",
        output:
            temp(f"{RESULTS}/supercells/{{crystal}}.npz"),
        log:
            f"{RESULTS}/logs/supercells/{{crystal}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/supercells/{{crystal}}.tsv"
        conda:
            "../../envs/simulation.yaml"
        params:
            settings=SIMULATED,
            version=PATTERNS_VERSION,
        shell:
            "python $SCRIPTS/supercells.py --settings {params.settings:q} {input} -o {output} > {log} 2>&1"

    rule simulate:
        """Multislice: the probe at every energy and semi-angle through every supercell, recorded at every thickness.

        All waves of an orientation share one potential. Beside each pattern go its labels, drawn from the crystal's
        structure factors where the Ewald sphere comes near a reflection.
        """
        input:
            crystal=f"{RESULTS}/crystals/{{crystal}}.json",
            supercells=rules.supercells.output,
        output:
            # A link to the store's metadata. Snakemake removes the outputs of a job that starts or fails, and would put
            # older metadata back into a newer store; so the store itself, which replaces itself as a whole and takes
            # over what it already has, is none of them.
            f"{RESULTS}/stores/{{crystal}}.json",
        log:
            f"{RESULTS}/logs/simulate/{{crystal}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate/{{crystal}}.tsv"
        conda:
            "../../envs/simulation.yaml"
        resources:
            gpu=GPU,
        params:
            settings=SIMULATED,
            version=PATTERNS_VERSION,
            store=f"{RESULTS}/patterns/{{crystal}}.zarr",
        shell:
            "python $SCRIPTS/simulate.py --settings {params.settings:q} {input.crystal} {input.supercells}"
            " -o {params.store} > {log} 2>&1 && ln -sf ../patterns/{wildcards.crystal}.zarr/zarr.json {output}"

else:

    rule simulate_shard:
        """The same for several crystals in one job: the start of a process or a GPU is paid once for all of them.

        Stores are the same, in the same places; those that are complete and current are kept. The record lists their
        checksums.
        """
        input:
            sheet=ancient(sheet_path),
        output:
            f"{RESULTS}/shards/{{shard}}.json",
        log:
            f"{RESULTS}/logs/simulate_shard/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate_shard/{{shard}}.tsv"
        conda:
            "../../envs/simulation.yaml"
        resources:
            gpu=GPU,
        params:
            settings=SIMULATED,
            version=PATTERNS_VERSION,
            ids=lambda wildcards: shards(wildcards)[wildcards.shard],
            identities=shard_identities,
            patterns=f"{RESULTS}/patterns",
            structures=STRUCTURES,
        shell:
            "python $SCRIPTS/simulate_shard.py --settings {params.settings:q} {params.structures} {input.sheet}"
            " --ids {params.ids} --patterns {params.patterns} -o {output} > {log} 2>&1"
