//! `rldp inspect devices`: what this machine has to compute with, and what a run would use.

use std::process::ExitCode;

use anyhow::Result;
use rldp_model::cpu::{fastest_precision, instruction_sets};
use serde::Serialize;

use super::{print_json, print_line};
use crate::cli::InspectDevicesArguments;

/// Something to compute with.
#[derive(Serialize)]
struct Device {
    /// As `--device` would name it.
    name: String,
    detail: String,
}

#[derive(Serialize)]
struct Found {
    cpu: Cpu,
    /// Accelerators, in the order of their numbers.
    gpus: Vec<Device>,
    /// Why none is listed, or none can be used.
    gpu_note: Option<String>,
    /// MPI libraries.
    mpi: Vec<Device>,
    /// What a run uses when nothing else is asked for.
    used: String,
}

#[derive(Serialize)]
struct Cpu {
    model: Option<String>,
    threads: usize,
    instruction_sets: Vec<&'static str>,
    /// What a run computes products with the base model in.
    precision: String,
}

/// Exit code 0 whatever is found: to have no accelerator is no error.
pub(crate) fn run(arguments: &InspectDevicesArguments) -> Result<ExitCode> {
    let cards = rldp_gpu::cards();
    let usable = cards.iter().flatten().find(|card| card.check().is_ok());
    let found = Found {
        cpu: Cpu {
            model: rldp_train::machine()["cpu"].as_str().map(str::to_owned),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            instruction_sets: instruction_sets(),
            precision: fastest_precision().description().to_owned(),
        },
        gpus: cards.iter().flatten().map(card).collect(),
        gpu_note: gpu_note(&cards),
        mpi: rldp_ranks::installed()
            .map(|name| Device { name, detail: "opened when a launcher starts several processes".to_owned() })
            .into_iter()
            .collect(),
        used: usable.map_or_else(|| "cpu".to_owned(), |card| format!("cuda:{}", card.index)),
    };
    if arguments.json {
        print_json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    print_line(&format!("CPU   {}", found.cpu.model.as_deref().unwrap_or("of unknown name")))?;
    print_line(&format!("      {} threads; {}", found.cpu.threads, found.cpu.instruction_sets.join(", ")))?;
    print_line(&format!("      products with the base model: {}", found.cpu.precision))?;
    print_line(&format!("GPUs  {}", listed(&found.gpus)))?;
    if let Some(reason) = &found.gpu_note {
        print_line(&format!("      {reason}"))?;
    }
    print_line(&format!("MPI   {}", listed(&found.mpi)))?;
    print_line(&format!("A run uses: {}", found.used))?;
    Ok(ExitCode::SUCCESS)
}

/// A card as people ask about it.
fn card(card: &rldp_gpu::Card) -> Device {
    let (major, minor) = card.capability;
    let gib = card.memory as f64 / f64::from(1 << 30);
    Device {
        name: format!("cuda:{}", card.index),
        detail: format!("{}, {gib:.1} GiB, compute capability {major}.{minor}", card.name),
    }
}

/// Why there is no card, or why the first one that is there cannot be used.
fn gpu_note(cards: &Result<Vec<rldp_gpu::Card>, rldp_gpu::DeviceError>) -> Option<String> {
    match cards {
        Err(error) => Some(error.to_string()),
        Ok(cards) if cards.iter().all(|card| card.check().is_err()) => Some(cards.first()?.check().err()?.to_string()),
        Ok(_) => None,
    }
}

fn listed(devices: &[Device]) -> String {
    if devices.is_empty() {
        return "none found".to_owned();
    }
    devices.iter().map(|device| format!("{} ({})", device.name, device.detail)).collect::<Vec<_>>().join(", ")
}
