//! Who started this process, and how many of it.

use std::time::Duration;

use crate::{Alone, Group, RanksError, mpi};

/// What a launcher says in the environment about the processes that it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The launcher, in words.
    pub launcher: &'static str,
    /// Number of processes, where it says so.
    pub size: Option<usize>,
    /// Whether the launcher belongs to MPICH and its kin.
    pub mpich: bool,
}

impl Launch {
    /// What launched this process.
    pub fn here() -> Option<Self> {
        Self::detect(&|name| std::env::var(name).ok())
    }

    /// Reads the environment; `None` for a process that was started by itself.
    pub fn detect(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let number = |name: &str| variable(name).and_then(|value| value.trim().parse().ok());
        if let Some(size) = number("OMPI_COMM_WORLD_SIZE") {
            return Some(Self { launcher: "Open MPI's mpirun", size: Some(size), mpich: false });
        }
        // Set by srun for the tasks of a step, and not for a batch script itself.
        if let Some(size) = number("SLURM_STEP_NUM_TASKS").filter(|_| variable("SLURM_PROCID").is_some()) {
            let mpich = variable("PMI_RANK").is_some() && variable("PMIX_RANK").is_none();
            return Some(Self { launcher: "srun", size: Some(size), mpich });
        }
        if let Some(size) = number("PMI_SIZE") {
            return Some(Self { launcher: "MPICH's mpiexec", size: Some(size), mpich: true });
        }
        let pmix = variable("PMIX_RANK").is_some();
        pmix.then_some(Self { launcher: "a PMIx launcher", size: None, mpich: false })
    }
}

/// The group that this process belongs to: [`Alone`] where no launcher started several.
///
/// # Errors
/// When several were started and cannot find one another: they would be as many runs that write one folder.
pub fn join(patience: Duration) -> Result<Box<dyn Group>, RanksError> {
    let launch = Launch::here();
    let Some(launch) = launch.filter(|launch| launch.size != Some(1)) else { return Ok(Box::new(Alone)) };
    let group = mpi::open(&launch, patience)?;
    match launch.size {
        Some(launched) if launched != group.size() => Err(RanksError::Apart {
            launcher: launch.launcher.into(),
            launched,
            library: group.describe(),
            seen: group.size(),
        }),
        _ => Ok(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Option<Launch> {
        Launch::detect(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn launchers_are_told_by_what_they_set() {
        assert_eq!(detected(&[]), None);
        assert_eq!(detected(&[("OMPI_COMM_WORLD_SIZE", "3")]).unwrap().size, Some(3));
        let slurm = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "2"), ("PMIX_RANK", "2")];
        assert!(matches!(detected(&slurm), Some(Launch { launcher: "srun", size: Some(4), mpich: false })));
        let hydra = detected(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]).unwrap();
        assert!(hydra.mpich && hydra.size == Some(2));
        // A batch script that calls the program itself is one process, whatever Slurm gave the job.
        assert_eq!(detected(&[("SLURM_NTASKS", "8")]), None);
    }
}
