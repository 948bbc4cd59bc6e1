//! A plan as an array job of a cluster: task i runs the i-th run. Files only; nothing is submitted.

use std::path::PathBuf;

use anyhow::Result;

use super::{Export, grid::Planned, results::replace, state::Layout};

/// What is asked of the cluster.
pub(super) struct Shape {
    /// Tasks at a time.
    pub(super) slots: usize,
    /// Cores of a process.
    pub(super) threads: usize,
    /// Processes of a run.
    pub(super) ranks: u32,
}

/// Writes the plan, the task and the job, and returns the job's path.
pub(super) fn write(target: Export, layout: &Layout, runs: &[Planned], shape: &Shape) -> Result<PathBuf> {
    let names: String = runs.iter().map(|run| format!("{}\n", run.name)).collect();
    replace(&layout.file("plan.txt"), &names)?;
    let seeded: String = runs
        .iter()
        .filter(|run| run.settings.privacy.unsafe_noise_seed.is_some())
        .map(|run| format!("{}\n", run.name))
        .collect();
    replace(&layout.file("seeded.txt"), &seeded)?;
    replace(&layout.file("task.sh"), TASK)?;
    let folder = layout.out.display().to_string();
    let (name, text) = match target {
        Export::Slurm => ("slurm.sh", slurm(&folder, runs.len(), shape)),
        Export::Kubernetes => ("kubernetes.yaml", kubernetes(&folder, runs.len(), shape)),
    };
    let path = layout.file(name);
    replace(&path, &text)?;
    Ok(path)
}

/// The same rules as on one machine: finished runs are left, charged ones resumed, seeded ones started anew.
const TASK: &str = r#"#!/bin/sh
# Runs one line of plan.txt: task.sh INDEX, counted from 0, from the folder in which the comparison was planned.
# LAUNCH may hold a launcher with its flags, such as srun, for runs of several processes.
set -eu
here=$(dirname "$0")
name=$(sed -n "$(($1 + 1))p" "$here/plan.txt")
if [ -z "$name" ]; then
  echo "there is no run $1 in $here/plan.txt" >&2
  exit 2
fi
run="$here/runs/$name"
ledger="$run/ledger.jsonl"
if [ -e "$ledger" ] && [ ! -r "$ledger" ]; then
  echo "$ledger cannot be read, so nobody knows what is charged; make it readable" >&2
  exit 1
fi
if [ -e "$ledger" ] && grep -q '"kind":"close"' "$ledger"; then
  exit 0
fi
if [ -e "$ledger" ] && sed 1d "$ledger" | grep -q . && ! grep -qxF "$name" "$here/seeded.txt"; then
  exec ${LAUNCH:-} "${RLDP:-rldp}" train --quiet --resume "$run"
fi
rm -rf "$run"
exec ${LAUNCH:-} "${RLDP:-rldp}" train --quiet --config "$here/configs/$name.toml"
"#;

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn slurm(folder: &str, runs: usize, shape: &Shape) -> String {
    let Shape { slots, threads, ranks } = shape;
    let (tasks, launch) = if *ranks > 1 {
        let launch = format!("export LAUNCH=\"srun --mpi=pmix --cpus-per-task=${{SLURM_CPUS_PER_TASK:-{threads}}}\"\n");
        (format!("#SBATCH --ntasks={ranks}\n"), launch)
    } else {
        Default::default()
    };
    format!(
        "#!/bin/sh\n\
         # sbatch it from the folder in which it was planned. At most {slots} tasks at a time: change the number after %.\n\
         #SBATCH --job-name=rldp-compare\n\
         #SBATCH --array=0-{}%{slots}\n\
         {tasks}\
         #SBATCH --cpus-per-task={threads}\n\
         set -eu\n\
         export RAYON_NUM_THREADS=\"${{SLURM_CPUS_PER_TASK:-{threads}}}\"\n\
         {launch}\
         exec sh {} \"$SLURM_ARRAY_TASK_ID\"\n",
        runs - 1,
        quoted(&format!("{folder}/task.sh"))
    )
}

fn kubernetes(folder: &str, runs: usize, shape: &Shape) -> String {
    let Shape { slots, threads, .. } = shape;
    let script = format!("exec sh {} \"$JOB_COMPLETION_INDEX\"", quoted(&format!("{folder}/task.sh")));
    format!(
        "# Set the image and the claim of the volume that holds the folder in which this was planned.\n\
         apiVersion: batch/v1\n\
         kind: Job\n\
         metadata:\n\
         \x20 name: rldp-compare\n\
         spec:\n\
         \x20 completionMode: Indexed\n\
         \x20 completions: {runs}\n\
         \x20 parallelism: {slots}\n\
         \x20 backoffLimit: {runs}\n\
         \x20 template:\n\
         \x20   spec:\n\
         \x20     restartPolicy: Never\n\
         \x20     containers:\n\
         \x20       - name: run\n\
         \x20         image: rldp:{version}\n\
         \x20         workingDir: /data\n\
         \x20         command: [\"sh\", \"-c\", {command}]\n\
         \x20         env:\n\
         \x20           - {{ name: RAYON_NUM_THREADS, value: \"{threads}\" }}\n\
         \x20         resources:\n\
         \x20           requests: {{ cpu: \"{threads}\" }}\n\
         \x20         volumeMounts:\n\
         \x20           - {{ name: data, mountPath: /data }}\n\
         \x20     volumes:\n\
         \x20       - name: data\n\
         \x20         persistentVolumeClaim: {{ claimName: rldp }}\n",
        version = env!("CARGO_PKG_VERSION"),
        command = serde_json::Value::from(script),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_as_many_processes_as_were_asked_for() {
        let script = |ranks| slurm("it's/cmp", 12, &Shape { slots: 3, threads: 8, ranks });
        assert_eq!(
            script(4),
            "#!/bin/sh\n\
             # sbatch it from the folder in which it was planned. At most 3 tasks at a time: change the number after %.\n\
             #SBATCH --job-name=rldp-compare\n\
             #SBATCH --array=0-11%3\n\
             #SBATCH --ntasks=4\n\
             #SBATCH --cpus-per-task=8\n\
             set -eu\n\
             export RAYON_NUM_THREADS=\"${SLURM_CPUS_PER_TASK:-8}\"\n\
             export LAUNCH=\"srun --mpi=pmix --cpus-per-task=${SLURM_CPUS_PER_TASK:-8}\"\n\
             exec sh 'it'\\''s/cmp/task.sh' \"$SLURM_ARRAY_TASK_ID\"\n"
        );
        let one = script(1);
        assert!(!one.contains("ntasks") && !one.contains("LAUNCH"), "one process needs no launcher: {one}");
    }
}
