//! Rotary position embedding in the half-split convention (Su et al., arXiv 2104.09864).

use super::dispatch;

dispatch! {
    /// Rotates the heads of one row by its cosines and sines (D / 2); `sign` −1 turns back, which is the backward pass.
    pub(crate) fn rotate = rotate_body(row: &mut [f32], cosines: &[f32], sines: &[f32], sign: f32)
}

#[inline(always)]
fn rotate_body<const FMA: bool>(row: &mut [f32], cosines: &[f32], sines: &[f32], sign: f32) {
    if let (Ok(cosines), Ok(sines)) = (cosines.try_into(), sines.try_into()) {
        return rotate_eights(row, cosines, sines, sign);
    }
    let half = cosines.len();
    for head in row.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b, s) = (low[i], high[i], sign * sines[i]);
            low[i] = a * cosines[i] - b * s;
            high[i] = b * cosines[i] + a * s;
        }
    }
}

/// Heads of eight features: both halves in one vector.
#[inline(always)]
fn rotate_eights(row: &mut [f32], cosines: &[f32; 4], sines: &[f32; 4], sign: f32) {
    let cosines: [f32; 8] = std::array::from_fn(|i| cosines[i % 4]);
    let sines: [f32; 8] = std::array::from_fn(|i| if i < 4 { -sign * sines[i] } else { sign * sines[i % 4] });
    for head in row.as_chunks_mut::<8>().0 {
        let before = *head;
        for i in 0..8 {
            head[i] = before[i] * cosines[i] + before[(i + 4) % 8] * sines[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_pairs_of_features_and_back() {
        for half in [1, 3, 4, 32] {
            let angles: Vec<f32> = (0..half).map(|i| 0.3 + i as f32).collect();
            let (sines, cosines): (Vec<f32>, Vec<f32>) = angles.iter().map(|angle| angle.sin_cos()).unzip();
            let row: Vec<f32> = (0..6 * half).map(|i| (i as f32 * 0.7).sin()).collect();
            let mut turned = row.clone();
            rotate(&mut turned, &cosines, &sines, 1.0);
            for (head, turned) in row.chunks_exact(2 * half).zip(turned.chunks_exact(2 * half)) {
                for i in 0..half {
                    let (a, b) = (head[i], head[half + i]);
                    assert!((turned[i] - (a * cosines[i] - b * sines[i])).abs() < 1e-6);
                    assert!((turned[half + i] - (b * cosines[i] + a * sines[i])).abs() < 1e-6);
                }
            }
            rotate(&mut turned, &cosines, &sines, -1.0);
            row.iter().zip(&turned).for_each(|(x, y)| assert!((x - y).abs() < 1e-6));
        }
    }
}
