// Clip and sum by `SumRule`: what rldp-privacy's `PartialSum::add_unit` does, on gradients that never leave the card. It belongs to the privacy
// core: a change here is a change of the mechanism, and the host's way is its oracle, equal to the bit.
//
// **Sensitivity.** A unit's squared norms, factor and truncated contribution are functions of that unit's gradient and loss and of
// public numbers alone; every operation below is the host's, rounded as the host rounds (products of two f32 are exact in f64, so
// their sums may be fused; division and square root are correctly rounded; no product meets a sum otherwise). The sum over units
// is of integers modulo 2^64: exact in any order. So adding or removing a unit moves the sum by that unit's truncated contribution,
// which is no longer than its bound: a factor leaves room for the roundings before truncation, and truncation never makes a
// magnitude larger. A unit with a number that is not finite contributes zero.
//
// **What leaves the card** is the integer sum of a step, to which the host adds the noise that was charged for.

#define BLOCK 4096

// squares (units, K) = Σ g² of every pair, in the host's order: eight lanes a block of 4096 values, lanes in order, blocks in order.
// `slots` says where each unit's gradient (P) lies, `begins` where a pair's trained numbers lie in it, and `packed` (K + 1) where they
// lie in the sum. A block of threads is a pair of a unit.
KERNEL squares(const float* gradients, const int* slots, const i64* begins, const i64* packed, double* found, i64 parameters, int pairs) {
    __shared__ double lanes[16][8];
    int unit = blockIdx.y, pair = blockIdx.x, lane = threadIdx.x % 8;
    const float* g = gradients + slots[unit] * parameters + begins[pair];
    i64 size = packed[pair + 1] - packed[pair], blocks = (size + BLOCK - 1) / BLOCK;
    double total = 0.0;
    for (i64 block0 = 0; block0 < blocks; block0 += 16) {
        i64 block = block0 + threadIdx.x / 8, start = block * BLOCK;
        double sum = 0.0;
        if (block < blocks) {
            i64 whole = (size - start < BLOCK ? size - start : BLOCK) / 8 * 8;
            for (i64 at = lane; at < whole; at += 8) sum += (double)g[start + at] * (double)g[start + at];
        }
        lanes[threadIdx.x / 8][lane] = sum;
        __syncthreads();
        if (threadIdx.x == 0)
            for (block = block0; block < blocks && block < block0 + 16; block++) {
                double whole = 0.0, rest = 0.0;
                for (int l = 0; l < 8; l++) whole += lanes[block - block0][l];
                start = block * BLOCK;
                i64 length = size - start < BLOCK ? size - start : BLOCK;
                for (i64 at = length / 8 * 8; at < length; at++) rest += (double)g[start + at] * (double)g[start + at];
                total += whole + rest;
            }
        __syncthreads();
    }
    if (threadIdx.x == 0) found[(i64)unit * pairs + pair] = total;
}

DEVICE bool is_finite(double value) { return value - value == 0.0; }

// What brings a gradient of norm `norm` under `bound`: min(1, bound / norm), or bound / (norm + stability). `more` and `less` are 1 ±
// the room for rounding.
DEVICE double factor(int normalizes, double norm, double bound, double stability, double more, double less) {
    norm = times(norm, more);
    if (normalizes) return times(bound / (norm + stability), less);
    return bound >= norm ? 1.0 : times(bound / norm, less);
}

// Of every unit: its factors (units, K), the same over the grid's spacings, 0 where a number is not finite, and its norm, −1 there. In
// joint geometry there is one factor for all pairs, of the norm in units of the bounds.
KERNEL unit_factors(const double* squares, const double* losses, const int* slots, int units, int pairs, const double* bounds,
                    const double* bounds_squared, const double* grid, int joint, int normalizes, double stability, double more,
                    double less, double* factors, double* scales, double* norms) {
    int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) return;
    squares += (i64)unit * pairs;
    factors += (i64)unit * pairs;
    scales += (i64)unit * pairs;
    bool finite = is_finite(losses[slots[unit]]);
    double whole = 0.0, scaled = 0.0;
    for (int k = 0; k < pairs; k++) {
        finite = finite && is_finite(squares[k]);
        whole += squares[k];
        scaled += squares[k] / bounds_squared[k];
    }
    norms[unit] = finite ? sqrt(whole) : -1.0;
    double shared = factor(normalizes, sqrt(scaled), 1.0, stability, more, less);
    for (int k = 0; k < pairs; k++) {
        double own = joint ? shared : factor(normalizes, sqrt(squares[k]), bounds[k], stability, more, less);
        factors[k] = finite ? own : 0.0;
        scales[k] = finite ? own / grid[k] : 0.0;
    }
}

// sum += Σ over units of scale · gradient, each truncated toward zero, modulo 2^64. A thread is a trained number.
KERNEL clip_sum(const float* gradients, const int* slots, const double* scales, const i64* begins, const i64* packed, u64* sum,
                i64 parameters, int pairs, int units) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= packed[pairs]) return;
    int pair = 0;
    for (int after = pairs; after - pair > 1;) {
        int middle = (pair + after) / 2;
        if (packed[middle] <= at) pair = middle;
        else after = middle;
    }
    i64 place = begins[pair] + at - packed[pair];
    u64 total = sum[at];
    for (int unit = 0; unit < units; unit++) {
        double scale = scales[(i64)unit * pairs + pair];
        if (scale != 0.0) total += (u64)(i64)times(scale, (double)gradients[slots[unit] * parameters + place]);
    }
    sum[at] = total;
}

// The paid statistic's sum += that of every unit: its clipped loss, whether it is finite, for each pair whether it was clipped, and
// the bin of its norm. What a part adds is public (`parts`: not finite, clipped, in a bin), as are the smallest norms of the bins but
// the first. A thread is a number of the statistic.
KERNEL statistic_sum(const double* losses, const double* factors, const double* norms, const int* slots, int units, int pairs, double low,
                     double high, double centre, double half, double weight, double room, double grid, const i64* parts,
                     const double* bins, int bin_count, u64* sum) {
    int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= 2 + pairs + bin_count) return;
    u64 total = sum[at];
    for (int unit = 0; unit < units; unit++) {
        double norm = norms[unit];
        bool finite = norm >= 0.0;
        i64 part = 0;
        if (at == 0 && finite) {
            double loss = losses[slots[unit]];
            loss = loss < low ? low : loss > high ? high : loss;
            part = (i64)(times(times(weight, (loss - centre) / half), room) / grid);
        } else if (at == 1) {
            part = finite ? 0 : parts[0];
        } else if (at >= 2 && at < 2 + pairs) {
            part = factors[(i64)unit * pairs + at - 2] < 1.0 ? parts[1] : -parts[1];
        } else if (at >= 2 + pairs && finite) {
            int bin = at - 2 - pairs;
            bool above = bin == 0 || norm >= bins[bin - 1], below = bin + 1 == bin_count || norm < bins[bin];
            part = above && below ? parts[2] : 0;
        }
        total += (u64)part;
    }
    sum[at] = total;
}
