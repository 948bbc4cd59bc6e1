//! Elementary functions that vectorise.

/// a·b + c, fused where that is an instruction.
#[inline(always)]
pub(crate) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// e^x, to about 2 units in the last place; 0 below −87 and clamped above 88.
///
/// Range reduction by ln 2 in two parts and the minimax polynomial of degree 6 in the remainder.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    let clamped = x.clamp(-87.0, 88.0);
    let scaled = madd::<FMA>(clamped, std::f32::consts::LOG2_E, 0.0);
    // Rounds to the nearest integer: adding 1.5·2^23 pushes the fraction out of the significand.
    let magic = 12_582_912.0_f32;
    let n = (scaled + magic) - magic;
    let r = madd::<FMA>(n, -0.693_359_4, clamped);
    let r = madd::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = madd::<FMA>(p, r, coefficient);
    }
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

/// Minimax polynomial of 2^r for |r| ≤ ½, highest power first; relative error 2e-9.
pub(crate) const EXP2: [f32; 7] =
    [1.534_581_2e-4, 1.339_993_1e-3, 9.618_489e-3, 5.550_328_6e-2, 2.402_264_6e-1, std::f32::consts::LN_2, 1.0];

/// 2^x for finite x, to about 2 units in the last place; results below the smallest normal number may be zero.
#[inline(always)]
pub(crate) fn exp2<const FMA: bool>(x: f32) -> f32 {
    let clamped = x.clamp(-126.0, 127.0);
    // Rounds to the nearest integer, as in `exp`.
    let magic = 12_582_912.0_f32;
    let n = (clamped + magic) - magic;
    let r = clamped - n;
    let mut p = EXP2[0];
    for coefficient in &EXP2[1..] {
        p = madd::<FMA>(p, r, *coefficient);
    }
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    if x < -126.0 { 0.0 } else { p * power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elementary_functions_are_accurate() {
        for i in -9_000..9_000 {
            let x = i as f32 * 0.0097;
            let relative = |got: f32, want: f64| ((f64::from(got) - want) / want.abs().max(1e-30)).abs();
            let wide = f64::from(x);
            assert!(relative(exp::<true>(x), wide.exp()) < 4e-7 || x < -86.0, "exp({x}) = {}", exp::<true>(x));
            assert!(relative(exp::<false>(x), wide.exp()) < 4e-7 || x < -86.0);
        }
    }
}
