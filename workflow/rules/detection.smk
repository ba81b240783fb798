"""Detection: Bragg vectors, strain and orientation of the scans in the configuration."""


rule make_scan:
    """A thick, strained and bent crystal that no network was trained on, scanned by multislice, with its exact truth.

    Each position has a unit cell and a tilt of its own, so strain and bending are in the atoms, not painted on patterns.
    """
    input:
        crystal=scanned_crystal,
    output:
        f"{RESULTS}/scans/{{scan}}.npz",
    log:
        f"{RESULTS}/logs/make_scan/{{scan}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_scan/{{scan}}.tsv"
    wildcard_constraints:
        scan="|".join(SIMULATED_SCANS) or "(?!)",
    conda:
        "../../envs/simulation.yaml"
    threads: WHOLE_MACHINE
    params:
        settings=lambda wildcards: recipe.part(
            settings,
            f"scans.{wildcards.scan}",
            "microscope",
            "specimen",
            "detector",
            "labels",
            "seed",
        ),
    shell:
        "python $SCRIPTS/make_scan.py --settings {params.settings:q} --scan {wildcards.scan}"
        " --crystal {input.crystal} --jobs {threads} -o {output} > {log} 2>&1"


rule detect_chunk:
    """One of several equal parts of a scan's search, which may run on as many nodes; `detect` puts them together.

    What it found so far is kept where `detect` looks for it, so a part that was killed goes on.
    """
    input:
        unpack(scan_files),
    output:
        temp(touch(f"{RESULTS}/detection/{{scan}}/chunks/{{part}}-of-{{parts}}")),
    log:
        f"{RESULTS}/logs/detect_chunk/{{scan}}.{{part}}-of-{{parts}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/detect_chunk/{{scan}}.{{part}}-of-{{parts}}.tsv"
    wildcard_constraints:
        scan="|".join(settings.scans) or "(?!)",
        part=r"\d+",
        parts=r"\d+",
    conda:
        "../../envs/learning.yaml"
    threads: 2
    resources:
        gpu=GPU,
    params:
        options=scan_options,
        folder=f"{RESULTS}/detection/{{scan}}",
    shell:
        "python $SCRIPTS/detect_chunk.py {input.scan:q} {params.options:q} --part {wildcards.part}/{wildcards.parts}"
        " -o {params.folder} > {log} 2>&1"


rule detect:
    """Bragg peaks of every pattern of a scan; from them the lattice, strain, tilt and orientation at every position.

    Strain is relative to the scan's median lattice, unless `reference` names another. Where the scan's truth is known,
    classical detection with its best threshold and the truth are drawn beside it.
    """
    input:
        unpack(scan_files),
        chunks=scan_chunks,
    output:
        vectors=f"{RESULTS}/detection/{{scan}}/bragg_vectors.parquet",
        emd=f"{RESULTS}/detection/{{scan}}/bragg_vectors.h5",
        strain=f"{RESULTS}/detection/{{scan}}/strain.zarr/zarr.json",
        orientation=f"{RESULTS}/detection/{{scan}}/orientation.zarr/zarr.json",
        summary=f"{RESULTS}/detection/{{scan}}/summary.json",
        patterns=report(
            f"{RESULTS}/detection/{{scan}}/patterns.png",
            caption="../report/detection_patterns.rst",
            category="5 Detection",
            labels={"scan": "{scan}", "figure": "patterns and peaks"},
        ),
        map=report(
            f"{RESULTS}/detection/{{scan}}/bragg_vector_map.png",
            caption="../report/detection_map.rst",
            category="5 Detection",
            labels={"scan": "{scan}", "figure": "Bragg vector map"},
        ),
        strain_maps=report(
            f"{RESULTS}/detection/{{scan}}/strain.png",
            caption="../report/detection_strain.rst",
            category="5 Detection",
            labels={"scan": "{scan}", "figure": "strain"},
        ),
        tilt=report(
            f"{RESULTS}/detection/{{scan}}/tilt.png",
            caption="../report/detection_tilt.rst",
            category="5 Detection",
            labels={"scan": "{scan}", "figure": "tilt"},
        ),
        virtual=report(
            f"{RESULTS}/detection/{{scan}}/virtual_images.png",
            caption="../report/detection_virtual.rst",
            category="5 Detection",
            labels={"scan": "{scan}", "figure": "virtual images"},
        ),
    log:
        f"{RESULTS}/logs/detect/{{scan}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/detect/{{scan}}.tsv"
    wildcard_constraints:
        scan="|".join(settings.scans) or "(?!)",
    conda:
        "../../envs/learning.yaml"
    threads: 2
    resources:
        gpu=GPU,
    params:
        options=scan_options,
        analysis=analysis_options,
        folder=lambda wildcards, output: str(Path(output.summary).parent),
    shell:
        "python $SCRIPTS/detect.py {input.scan:q} {params.options:q} {params.analysis:q} -o {params.folder} > {log} 2>&1"
