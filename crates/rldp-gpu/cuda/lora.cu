// Low-rank factors, and every unit's own gradients of them. Ranks are taken eight at a time (blockIdx.y or z).

#define RANKS 8
#define FEW 8  // rows that a warp takes in `narrow`

// One step of `sum_64`: lanes that differ in bit HALF / 2 exchange the halves that the other goes on with.
template <int HALF> DEVICE void fold(float value[64]) {
    bool upper = (threadIdx.x & (HALF / 2)) != 0;
#pragma unroll
    for (int i = 0; i < HALF; i++) {
        float given = upper ? value[i] : value[i + HALF], kept = upper ? value[i + HALF] : value[i];
        value[i] = kept + __shfl_xor_sync(0xffffffffu, given, HALF / 2);
    }
}

// Sums 64 values over a warp: afterwards lane l holds the sums of values 2l and 2l + 1 in the first two places. Every sum has the
// same tree, so that a row's does not depend on its place.
DEVICE void sum_64(float value[64]) {
    fold<32>(value);
    fold<16>(value);
    fold<8>(value);
    fold<4>(value);
    fold<2>(value);
}

// inner (N, R) = scale · x (N, W) · factorᵀ, factor (R, W).
KERNEL narrow(const float* x, i64 stride, const float* factor, float* inner, int rows, int width, int rank, float scale) {
    int lane = threadIdx.x % 32, row0 = (blockIdx.x * 4 + threadIdx.x / 32) * FEW, rank0 = blockIdx.y * RANKS;
    float sums[FEW * RANKS];
#pragma unroll
    for (int i = 0; i < FEW * RANKS; i++) sums[i] = 0.0f;
    for (int i = lane; i < width; i += 32) {
        float factors[RANKS];
#pragma unroll
        for (int r = 0; r < RANKS; r++) factors[r] = rank0 + r < rank ? factor[(i64)(rank0 + r) * width + i] : 0.0f;
#pragma unroll
        for (int j = 0; j < FEW; j++) {
            float value = row0 + j < rows ? x[(row0 + j) * stride + i] : 0.0f;
#pragma unroll
            for (int r = 0; r < RANKS; r++) sums[j * RANKS + r] = madd(value, factors[r], sums[j * RANKS + r]);
        }
    }
    sum_64(sums);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int row = row0 + (2 * lane + i) / RANKS, r = rank0 + (2 * lane + i) % RANKS;
        if (row < rows && r < rank) inner[(i64)row * rank + r] = scale * sums[i];
    }
}

// out (N, W) += inner (N, R) · wide (R, W).
KERNEL widen(const float* inner, const float* wide, float* out, i64 stride, int rows, int width, int rank) {
    int column = blockIdx.x * blockDim.x + threadIdx.x, row0 = blockIdx.y * 16;
    if (column >= width) return;
    float sums[16];
#pragma unroll
    for (int j = 0; j < 16; j++) sums[j] = 0.0f;
    for (int r = 0; r < rank; r++) {
        float factor = wide[(i64)r * width + column];
#pragma unroll
        for (int j = 0; j < 16; j++)
            if (row0 + j < rows) sums[j] = madd(inner[(i64)(row0 + j) * rank + r], factor, sums[j]);
    }
#pragma unroll
    for (int j = 0; j < 16; j++)
        if (row0 + j < rows) out[(row0 + j) * stride + column] += sums[j];
}

// Every unit's gradient += Σ_t wide_t ⊗ inner_t over its rows: (W, R) with `columns_first`, else (R, W). `units` lists (first row,
// end, slot). A unit's rows are added one after another to what its slot holds, so it does not matter in how many parts they come,
// and no other unit's rows are read.
KERNEL unit_outer(const float* wide, i64 stride, const float* inner, int rank, const int* units, float* gradients, i64 parameters,
                  i64 offset, int width, int columns_first) {
    __shared__ float rows[32][RANKS];
    int column = blockIdx.x * blockDim.x + threadIdx.x, rank0 = blockIdx.z * RANKS;
    int first = units[3 * blockIdx.y], end = units[3 * blockIdx.y + 1], slot = units[3 * blockIdx.y + 2];
    float* out = gradients + slot * parameters + offset;
    float sums[RANKS];
#pragma unroll
    for (int r = 0; r < RANKS; r++) {
        bool inside = column < width && rank0 + r < rank;
        sums[r] = inside ? out[columns_first ? (i64)column * rank + rank0 + r : (i64)(rank0 + r) * width + column] : 0.0f;
    }
    for (int t0 = first; t0 < end; t0 += 32) {
        int count = smaller(32, end - t0);
        for (int at = threadIdx.x; at < count * RANKS; at += blockDim.x) {
            int r = rank0 + at % RANKS;
            rows[at / RANKS][at % RANKS] = r < rank ? inner[(i64)(t0 + at / RANKS) * rank + r] : 0.0f;
        }
        __syncthreads();
        if (column < width)
            for (int t = 0; t < count; t++) {
                float value = wide[(t0 + t) * stride + column];
#pragma unroll
                for (int r = 0; r < RANKS; r++) sums[r] = madd(value, rows[t][r], sums[r]);
            }
        __syncthreads();
    }
    if (column >= width) return;
#pragma unroll
    for (int r = 0; r < RANKS; r++)
        if (rank0 + r < rank) out[columns_first ? (i64)column * rank + rank0 + r : (i64)(rank0 + r) * width + column] = sums[r];
}
