//! Eigenvalues and eigenvectors of small symmetric matrices, by Jacobi's rotations.

/// Sweeps after which rotations no longer change anything in f64; six to ten are usual.
const MOST_SWEEPS: usize = 40;

/// Eigenvalues (n), largest first, and eigenvectors as rows (n, n) of the symmetric matrix (n, n), row-major.
///
/// # Panics
/// When the matrix is not square: a defect of the caller.
pub(crate) fn symmetric(matrix: &[f64], n: usize) -> (Vec<f64>, Vec<Vec<f64>>) {
    assert_eq!(matrix.len(), n * n, "a matrix of {n} rows has {n} columns");
    let mut m: Vec<Vec<f64>> = (0..n).map(|row| matrix[row * n..(row + 1) * n].to_vec()).collect();
    let mut vectors: Vec<Vec<f64>> =
        (0..n).map(|row| (0..n).map(|i| f64::from(u8::from(i == row))).collect()).collect();
    for _ in 0..MOST_SWEEPS {
        let off: f64 = (0..n).flat_map(|p| (0..p).map(move |q| (p, q))).map(|(p, q)| m[p][q].powi(2)).sum();
        let all: f64 = m.iter().flatten().map(|value| value * value).sum();
        if off <= all * 1e-30 {
            break;
        }
        for p in 1..n {
            for q in 0..p {
                rotate(&mut m, &mut vectors, p, q);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| m[j][j].total_cmp(&m[i][i]));
    (order.iter().map(|&i| m[i][i]).collect(), order.iter().map(|&i| std::mem::take(&mut vectors[i])).collect())
}

/// Makes m[p][q] zero.
fn rotate(m: &mut [Vec<f64>], vectors: &mut [Vec<f64>], p: usize, q: usize) {
    if m[p][q] == 0.0 {
        return;
    }
    let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
    let tangent = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let tangent = if theta == 0.0 { 1.0 } else { tangent };
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |a: &mut f64, b: &mut f64| (*a, *b) = (cosine * *a - sine * *b, sine * *a + cosine * *b);
    for row in m.iter_mut() {
        let (mut a, mut b) = (row[p], row[q]);
        turn(&mut a, &mut b);
        (row[p], row[q]) = (a, b);
    }
    for rows in [m, vectors] {
        let [first, second] = rows.get_disjoint_mut([p, q]).expect("p and q differ and are rows");
        first.iter_mut().zip(second).for_each(|(a, b)| turn(a, b));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_is_put_together_again_from_its_parts() {
        let n = 9;
        let value =
            |i: usize, j: usize| (((i * 7 + j * 7) % 11) as f64 - 5.0) + f64::from(u8::from(i == j)) * (i as f64);
        let matrix: Vec<f64> = (0..n * n).map(|at| value(at / n, at % n)).collect();
        let (values, vectors) = symmetric(&matrix, n);
        assert!(values.windows(2).all(|pair| pair[0] >= pair[1]), "{values:?}");
        for i in 0..n {
            for j in 0..n {
                let built: f64 = (0..n).map(|k| values[k] * vectors[k][i] * vectors[k][j]).sum();
                assert!((built - matrix[i * n + j]).abs() < 1e-10, "({i}, {j}): {built}");
                let product: f64 = (0..n).map(|k| vectors[i][k] * vectors[j][k]).sum();
                assert!((product - f64::from(u8::from(i == j))).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn two_by_two_is_by_hand() {
        let (values, vectors) = symmetric(&[2.0, 1.0, 1.0, 2.0], 2);
        assert!((values[0] - 3.0).abs() < 1e-14 && (values[1] - 1.0).abs() < 1e-14);
        assert!((vectors[0][0] - vectors[0][1]).abs() < 1e-14);
    }
}
