// Products with frozen matrices. A block of threads makes 64 × 64 results; depth is walked in one order, whatever the number of
// rows: a row's result does not depend on the others. `transposed` matrices are stored (n, k), others (k, n).

// d += a · b for a 16 × 16 (row-major fragments) and b 16 × 8 (column-major fragments) in bf16, d 16 × 8 in f32: one
// instruction of a warp.
DEVICE void mma(float d[4], const u32 a[4], const u32 b[2]) {
#ifdef __CUDACC__
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emulated_mma(d, a, b);
#endif
}

#define SIDE 64
#define DEPTH 32
// Rows of shared memory are longer than the depth, so that the eight rows of a fragment lie in different banks.
#define PITCH 40

DEVICE u32 pair_at(const u16* half) { return (u32)half[0] | (u32)half[1] << 16; }

// out (m, n) = x (m, k) · w, operands in bf16 (x rounded on the way), sums in f32; += with `accumulate`.
KERNEL product_bf16(const float* x, i64 x_stride, const u16* w, float* out, i64 out_stride, int m, int n, int k, int transposed,
                    int accumulate) {
    __shared__ u16 xs[SIDE][PITCH];
    __shared__ u16 ws[SIDE][PITCH];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
    int row0 = blockIdx.y * SIDE, column0 = blockIdx.x * SIDE, wr = warp / 2 * 32, wc = warp % 2 * 32;
    float sums[2][4][4];
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) sums[i][j][c] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += DEPTH) {
        for (int at = threadIdx.x; at < SIDE * DEPTH; at += blockDim.x) {
            int r = at / DEPTH, c = at % DEPTH;
            bool inside = k0 + c < k && row0 + r < m;
            xs[r][c] = inside ? round_bf16(x[(row0 + r) * x_stride + k0 + c]) : (u16)0;
            if (transposed) {
                inside = k0 + c < k && column0 + r < n;
                ws[r][c] = inside ? w[(i64)(column0 + r) * k + k0 + c] : (u16)0;
            } else {
                r = at % SIDE, c = at / SIDE;
                inside = k0 + c < k && column0 + r < n;
                ws[r][c] = inside ? w[(i64)(k0 + c) * n + column0 + r] : (u16)0;
            }
        }
        __syncthreads();
#pragma unroll
        for (int step = 0; step < DEPTH; step += 16)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                u32 a[4];
                int r = wr + i * 16 + group, c = step + quad * 2;
                a[0] = pair_at(&xs[r][c]);
                a[1] = pair_at(&xs[r + 8][c]);
                a[2] = pair_at(&xs[r][c + 8]);
                a[3] = pair_at(&xs[r + 8][c + 8]);
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    u32 b[2];
                    int column = wc + j * 8 + group;
                    b[0] = pair_at(&ws[column][c]);
                    b[1] = pair_at(&ws[column][c + 8]);
                    mma(sums[i][j], a, b);
                }
            }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int c = 0; c < 4; c++) {
                int r = row0 + wr + i * 16 + group + c / 2 * 8, column = column0 + wc + j * 8 + quad * 2 + c % 2;
                if (r >= m || column >= n) continue;
                float* place = out + r * out_stride + column;
                *place = accumulate ? *place + sums[i][j][c] : sums[i][j][c];
            }
}

#define SLICE 16
// The same in f32 throughout. A thread makes 4 × 8 results.
KERNEL product_f32(const float* x, i64 x_stride, const float* w, float* out, i64 out_stride, int m, int n, int k, int transposed,
                   int accumulate) {
    __shared__ float xs[SLICE][SIDE + 1];
    __shared__ float ws[SLICE][SIDE + 1];
    int row0 = blockIdx.y * SIDE, column0 = blockIdx.x * SIDE, tr = threadIdx.x / 8, tc = threadIdx.x % 8;
    float sums[4][8];
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) sums[i][j] = 0.0f;
    for (int k0 = 0; k0 < k; k0 += SLICE) {
        for (int at = threadIdx.x; at < SIDE * SLICE; at += blockDim.x) {
            int r = at / SLICE, c = at % SLICE;
            xs[c][r] = k0 + c < k && row0 + r < m ? x[(row0 + r) * x_stride + k0 + c] : 0.0f;
            if (!transposed) r = at % SIDE, c = at / SIDE;
            bool inside = k0 + c < k && column0 + r < n;
            ws[c][r] = inside ? w[transposed ? (i64)(column0 + r) * k + k0 + c : (i64)(k0 + c) * n + column0 + r] : 0.0f;
        }
        __syncthreads();
        for (int c = 0; c < SLICE; c++) {
            float left[4], right[8];
#pragma unroll
            for (int i = 0; i < 4; i++) left[i] = xs[c][tr + 16 * i];
#pragma unroll
            for (int j = 0; j < 8; j++) right[j] = ws[c][tc + 8 * j];
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 8; j++) sums[i][j] = madd(left[i], right[j], sums[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 8; j++) {
            int r = row0 + tr + 16 * i, column = column0 + tc + 8 * j;
            if (r >= m || column >= n) continue;
            float* place = out + r * out_stride + column;
            *place = accumulate ? *place + sums[i][j] : sums[i][j];
        }
}

// out = bias in every row, or += with `accumulate`.
KERNEL put_bias(const float* bias, float* out, i64 stride, int rows, int width, int accumulate) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (i64)rows * width) return;
    float* place = out + at / width * stride + at % width;
    *place = accumulate ? *place + bias[at % width] : bias[at % width];
}
