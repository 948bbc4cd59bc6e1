//! Which cards there are.

use crate::{Device, DeviceError, OLDEST};

/// A CUDA card that the driver lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Its number, as `--device cuda:N` names it.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Bytes of its memory.
    pub memory: usize,
    /// Its generation, such as (9, 0).
    pub capability: (u32, u32),
}

impl Card {
    /// # Errors
    /// When its generation lacks what the kernels use.
    pub fn check(&self) -> Result<(), DeviceError> {
        if self.capability >= OLDEST {
            return Ok(());
        }
        let (major, minor) = self.capability;
        Err(DeviceError::TooOld { index: self.index, name: self.name.clone(), major, minor })
    }
}

/// The card with a number, among those that there are.
#[cfg_attr(not(any(feature = "cuda", test)), expect(dead_code, reason = "this build knows no cards"))]
pub(crate) fn select(cards: &[Card], index: usize) -> Result<&Card, DeviceError> {
    let card = cards.get(index).ok_or(DeviceError::NoSuchCard { asked: index, found: cards.len() })?;
    card.check()?;
    Ok(card)
}

/// All cards, also those that are too old.
///
/// # Errors
/// When this build, or this machine, has no way to them.
#[cfg(not(feature = "cuda"))]
pub fn cards() -> Result<Vec<Card>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// Opens a card.
///
/// # Errors
/// When there is none of that number, or it cannot be used.
#[cfg(not(feature = "cuda"))]
pub fn open_card(_index: usize) -> Result<Box<dyn Device>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

/// All cards, also those that are too old.
///
/// # Errors
/// When this build, or this machine, has no way to them.
#[cfg(feature = "cuda")]
pub fn cards() -> Result<Vec<Card>, DeviceError> {
    crate::cuda::cards()
}

/// Opens a card.
///
/// # Errors
/// When there is none of that number, or it cannot be used.
#[cfg(feature = "cuda")]
pub fn open_card(index: usize) -> Result<Box<dyn Device>, DeviceError> {
    let cards = cards()?;
    Ok(Box::new(crate::cuda::Cuda::new(select(&cards, index)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_selected_by_number_and_generation() {
        let card = |index, capability| Card { index, name: format!("Card {index}"), memory: 16 << 30, capability };
        let cards = [card(0, (7, 5)), card(1, (8, 0)), card(2, (12, 0))];
        assert_eq!(select(&cards, 1), Ok(&cards[1]));
        assert_eq!(select(&cards, 2), Ok(&cards[2]));
        let too_old = select(&cards, 0).unwrap_err().to_string();
        assert!(too_old.contains("card 0 (Card 0) has compute capability 7.5") && too_old.contains("8.0"), "{too_old}");
        let missing = select(&cards, 3).unwrap_err().to_string();
        assert!(missing.contains("no card 3") && missing.contains("lists 3"), "{missing}");
        let none = select(&[], 0).unwrap_err().to_string();
        assert!(none.contains("lists 0") && none.contains("--device cpu"), "{none}");
    }

    /// On a machine without a driver, which is where tests run, nothing panics.
    #[test]
    fn without_a_card_there_is_a_sentence() {
        match (cards(), open_card(99)) {
            (Err(error), Err(_)) => assert!(error.to_string().contains("--device cpu"), "{error}"),
            (Ok(cards), Err(_)) => assert!(cards.len() < 100),
            (_, Ok(_)) => panic!("a hundred cards"),
        }
    }
}
