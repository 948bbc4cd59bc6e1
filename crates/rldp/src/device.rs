//! Opens what `--device` names.

use anyhow::Result;
use rldp_gpu::{Card, DeviceError, GpuEngine, GpuError, GpuOptions, cards, open_card};
use rldp_model::{DeviceChoice, ModelFiles};

use crate::{exit::Wrong, progress::note};

/// The engine on the card that `choice` names, or `None` for the CPU. With `auto` a card that cannot be used is no error: a line on
/// standard error says why.
pub(crate) fn on_card(files: &ModelFiles, choice: DeviceChoice, options: GpuOptions) -> Result<Option<GpuEngine>> {
    let open = |index| -> Result<GpuEngine, GpuError> { GpuEngine::new(open_card(index)?, files, options) };
    match choice {
        DeviceChoice::Cpu => Ok(None),
        DeviceChoice::Cuda(index) => Ok(Some(open(index).map_err(Wrong::input)?)),
        DeviceChoice::Auto => Ok(first_usable(&cards(), open)),
    }
}

/// The first card that can hold the engine.
fn first_usable<E>(cards: &Result<Vec<Card>, DeviceError>, open: impl Fn(usize) -> Result<E, GpuError>) -> Option<E> {
    for card in cards.iter().flatten() {
        match open(card.index) {
            Ok(engine) => {
                note("device", &format!("cuda:{} ({})", card.index, card.name));
                return Some(engine);
            }
            Err(error) => note("device", &format!("not on a card: {error}")),
        }
    }
    None
}

/// Whether a run on the device of this name, `auto` without one, computes on a card, as far as that is known before a model is
/// opened. A name that is none is refused where settings are read.
pub(crate) fn is_card(name: Option<&str>) -> bool {
    match name.map_or(Ok(DeviceChoice::Auto), str::parse) {
        Ok(DeviceChoice::Cuda(_)) => true,
        Ok(DeviceChoice::Auto) => cards().iter().flatten().any(|card| card.check().is_ok()),
        Ok(DeviceChoice::Cpu) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_the_first_card_that_can_be_used() {
        let card = |index| Card { index, name: "Card".into(), memory: 1 << 30, capability: (9, 0) };
        let open = |least| {
            move |index| {
                let too_old = DeviceError::TooOld { index, name: "Card".into(), major: 7, minor: 0 };
                if index >= least { Ok(index) } else { Err(GpuError::from(too_old)) }
            }
        };
        let two = Ok(vec![card(0), card(1)]);
        assert_eq!(first_usable(&two, open(0)), Some(0));
        assert_eq!(first_usable(&two, open(1)), Some(1));
        assert_eq!(first_usable(&two, open(2)), None);
        assert_eq!(first_usable(&Err(DeviceError::NoDriver), open(0)), None);
        assert!(!is_card(Some("cpu")) && is_card(Some("cuda:1")) && !is_card(Some("gpu")));
    }
}
