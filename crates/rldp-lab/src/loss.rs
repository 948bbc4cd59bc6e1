//! What of a released loss can be read.

/// The released mean loss as somebody may read it: cut off at 0 and at its public bound, between which every loss lies. None where its
/// noise has a deviation of half that bound or more, since it then says nothing about the loss.
pub fn readable_loss(loss: f64, deviation: f64, bound: Option<f64>) -> Option<f64> {
    // Runs of earlier versions did not write their bound.
    let Some(bound) = bound else { return loss.is_finite().then_some(loss) };
    let readable = loss.is_finite() && 2.0 * deviation < bound;
    readable.then(|| loss.clamp(0.0, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_is_noise_is_none_and_others_keep_to_their_bound() {
        assert_eq!(readable_loss(-2211.0, 3000.0, Some(6.2)), None);
        assert_eq!(readable_loss(3.0, 3.1, Some(6.2)), None);
        assert_eq!(readable_loss(3.0, 1.0, Some(6.2)), Some(3.0));
        assert_eq!(readable_loss(-0.4, 1.0, Some(6.2)), Some(0.0));
        assert_eq!(readable_loss(7.0, 1.0, Some(6.2)), Some(6.2));
        assert_eq!(readable_loss(f64::NAN, 1.0, Some(6.2)), None);
        assert_eq!(readable_loss(7.0, 1.0, None), Some(7.0));
    }
}
