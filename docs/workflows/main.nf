// All pairs of a raw folder, one job for each sample and dye:
//
//     nextflow run main.nf --raw raw --out processed
//
// A degraded result (exit code 1) counts as made: its header and the run log say why.
params.raw = 'raw'
params.out = 'processed'
params.options = ''

process plan {
    output:
    path 'plan.json'

    script:
    """
    exo2micro batch '${file(params.raw)}' '${file(params.out)}' --dry-run --json \
        --lenient ${params.options} > plan.json || test \$? -eq 1
    """
}

process exo2micro {
    tag "${sample} ${dye}"
    cpus 2
    memory 1500.MB

    input:
    tuple val(sample), val(dye)

    output:
    tuple val(sample), val(dye)

    script:
    """
    exo2micro batch '${file(params.raw)}' '${file(params.out)}' --sample '${sample}' \
        --dye '${dye}' --executor serial ${params.options} || test \$? -eq 1
    """
}

workflow {
    plan()
        | splitJson(path: 'tasks')
        | map { task -> tuple(task.sample, task.dye) }
        | exo2micro
}
