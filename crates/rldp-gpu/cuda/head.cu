// The output head: cross-entropy over chunks of the vocabulary, without all logits at once. Of each row that predicts, three
// numbers are kept: the target's logit, the largest of the others, and Σ e^(logit − largest) over the others.

// Rows of `x` that predict, one after another.
KERNEL gather(const float* x, const int* rows, float* out, int count, int width) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < (i64)count * width) out[at] = x[(i64)rows[at / width] * width + at % width];
}

// Their gradients back in their places (N, C); `places` says where a row's gradient lies, or −1 where it is zero.
KERNEL scatter(const float* dx, const int* places, float* out, int rows, int width) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (i64)rows * width) return;
    int place = places[at / width];
    out[at] = place < 0 ? 0.0f : dx[(i64)place * width + at % width];
}

KERNEL head_begin(float* known, int rows) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    known[3 * row] = MASKED;
    known[3 * row + 1] = MASKED;
    known[3 * row + 2] = 0.0f;
}

// Largest, or sum, over the block's four warps.
DEVICE float block_reduce(float value, bool sums) {
    __shared__ float parts[4];
    value = sums ? warp_sum(value) : warp_max(value);
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    if (sums) return (parts[0] + parts[1]) + (parts[2] + parts[3]);
    return fmaxf(fmaxf(parts[0], parts[1]), fmaxf(parts[2], parts[3]));
}

// Folds a chunk of logits (S, count), those of the vocabulary from `first` on, into what is known of each row. Logits become
// e^(logit − largest so far), the target's 0; what was summed in `dhidden` is brought down to the new largest. A block is a row.
KERNEL head_absorb(float* logits, int count, int first, const int* targets, float* known, float* dhidden, int width) {
    int row = blockIdx.x, target = targets[row] - first;
    logits += (i64)row * count;
    known += 3 * row;
    float before = known[1], sum_before = known[2], most = before;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        if (i != target) most = fmaxf(most, logits[i]);
    most = block_reduce(most, false);
    if (threadIdx.x == 0 && target >= 0 && target < count) known[0] = logits[target];
    __syncthreads();
    float sum = 0.0f;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        float power = i == target ? 0.0f : expf(logits[i] - most);
        logits[i] = power;
        sum += power;
    }
    sum = block_reduce(sum, true);
    float shrink = expf(before - most);
    if (threadIdx.x == 0) {
        known[1] = most;
        known[2] = madd(sum_before, shrink, sum);
    }
    if (dhidden && shrink < 1.0f)
        for (int i = threadIdx.x; i < width; i += blockDim.x) dhidden[(i64)row * width + i] *= shrink;
}

// −log p of each target, and dhidden = weight · (Σ_others p_v W_v − (1 − p_target) W_target) from Σ_others e^(logit_v − largest) W_v.
// A block is a row.
KERNEL head_finish(const float* known, const int* targets, const float* weights, const u8* head, int format, float* dhidden, int width,
                   float* nll) {
    int row = blockIdx.x;
    float target = known[3 * row], most = known[3 * row + 1], sum = known[3 * row + 2];
    float over = most + logf(sum) - target, loss = fmaxf(over, 0.0f) + log1pf(expf(-fabsf(over)));
    if (threadIdx.x == 0) nll[row] = loss;
    if (!dhidden) return;
    float scale = weights[row] * expf(most - target - loss);
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        float* place = dhidden + (i64)row * width + i;
        *place = scale * (*place - sum * stored_value(head, format, (i64)targets[row] * width + i));
    }
}

// Every unit's loss += Σ weight · NLL over its predictions, in their order, in f64. `units` lists (first prediction, end, slot).
KERNEL unit_losses(const float* nll, const float* weights, const int* units, int count, double* losses) {
    int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= count) return;
    double loss = losses[units[3 * unit + 2]];
    for (int at = units[3 * unit]; at < units[3 * unit + 1]; at++) loss += (double)weights[at] * (double)nll[at];
    losses[units[3 * unit + 2]] = loss;
}
