// Causal attention of every sequence for itself, without the T × T matrix. Rows of `fused` hold the heads' queries, then keys,
// then values; `heads / shared` query heads share a key head. A block of threads takes 16 rows of one sequence and one head;
// `tiles` lists them as (begin of the sequence, its end, first row). What they meet comes in tiles of 32 rows, counted from the
// begin of the sequence: its numbers do not depend on where it lies. A thread of a warp holds one of the 32 rows while scores are
// made, and features while rows are mixed.

#define ROWS 16
#define MET 32
#define EACH 4  // rows of the block that a warp takes

struct Heads {
    i64 stride;
    int heads, shared, dim, window;
    float scale;
};

// Whether a query attends to a key of its sequence.
DEVICE bool sees(int query, int key, int window) { return key <= query && query - key < window; }

// `count` rows of `dim` features into shared memory; zeros from `end` on.
template <int WIDEST> DEVICE void fetch(float (*tile)[WIDEST + 1], const float* rows, i64 stride, int first, int end, int dim) {
    for (int at = threadIdx.x; at < MET * dim; at += blockDim.x) {
        int r = at / dim, d = at % dim;
        tile[r][d] = first + r < end ? rows[(first + r) * stride + d] : 0.0f;
    }
}

// scale · ⟨own row j, row `lane` of the tile⟩ for the warp's own rows, clamped to the sequence.
template <int WIDEST>
DEVICE void scores(float found[EACH], float (*tile)[WIDEST + 1], const float* rows, i64 stride, int own, int end, int dim,
                   float scale) {
    const float* at[EACH];
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        at[j] = rows + smaller(own + j, end - 1) * stride;
        found[j] = 0.0f;
    }
    for (int d = 0; d < dim; d++) {
        float met = tile[threadIdx.x % 32][d];
#pragma unroll
        for (int j = 0; j < EACH; j++) found[j] = madd(at[j][d], met, found[j]);
    }
#pragma unroll
    for (int j = 0; j < EACH; j++) found[j] = times(found[j], scale);
}

// mixed += Σ over the tile's rows of weight · row, features spread over lanes.
template <int WIDEST>
DEVICE void mix(float mixed[EACH][WIDEST / 32], float (*weights)[MET], float (*tile)[WIDEST + 1], int dim) {
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1
    for (int r = 0; r < MET; r++)
#pragma unroll
        for (int i = 0; i < WIDEST / 32; i++)
            if (lane + 32 * i < dim)
#pragma unroll
                for (int j = 0; j < EACH; j++)
                    mixed[j][i] = madd(weights[warp * EACH + j][r], tile[r][lane + 32 * i], mixed[j][i]);
}

template <int WIDEST>
DEVICE void put(const float mixed[EACH][WIDEST / 32], float factor, float* rows, i64 stride, int own, int end, int dim) {
#pragma unroll
    for (int j = 0; j < EACH; j++)
#pragma unroll
        for (int i = 0; i < WIDEST / 32; i++) {
            int d = threadIdx.x % 32 + 32 * i;
            if (own + j < end && d < dim) rows[(own + j) * stride + d] = factor * mixed[j][i];
        }
}

template <int WIDEST> DEVICE void zero(float mixed[EACH][WIDEST / 32]) {
#pragma unroll
    for (int j = 0; j < EACH; j++)
#pragma unroll
        for (int i = 0; i < WIDEST / 32; i++) mixed[j][i] = 0.0f;
}

// First tile that the block's first query reaches back to.
DEVICE int oldest(int begin, int first, int window) {
    return begin + larger(0, first - begin - window + 1) / MET * MET;
}

// Outputs of the heads, and the log-sum-exp of every query's scores (H, N).
template <int WIDEST>
DEVICE void attend(const float* fused, Heads h, const int* tiles, float* out, i64 out_stride, float* lse, int rows) {
    __shared__ float tile[MET][WIDEST + 1];
    __shared__ float weights[ROWS][MET];
    int begin = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = blockIdx.y, own = first + warp * EACH;
    int key_head = h.heads + head / (h.heads / h.shared), last = smaller(first + ROWS, end);
    const float *queries = fused + head * h.dim, *keys = fused + key_head * h.dim, *values = keys + h.shared * h.dim;
    float mixed[EACH][WIDEST / 32], most[EACH], sum[EACH], score[EACH];
    zero<WIDEST>(mixed);
#pragma unroll
    for (int j = 0; j < EACH; j++) most[j] = MASKED, sum[j] = 0.0f;
    for (int met = oldest(begin, first, h.window); met < last; met += MET) {
        fetch<WIDEST>(tile, keys, h.stride, met, end, h.dim);
        __syncthreads();
        scores<WIDEST>(score, tile, queries, h.stride, own, end, h.dim, h.scale);
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            bool seen = sees(own + j, met + lane, h.window);
            float now = fmaxf(most[j], warp_max(seen ? score[j] : MASKED));
            float weight = seen ? expf(score[j] - now) : 0.0f, shrink = expf(most[j] - now);
            sum[j] = madd(sum[j], shrink, warp_sum(weight));
            most[j] = now;
            weights[warp * EACH + j][lane] = weight;
#pragma unroll
            for (int i = 0; i < WIDEST / 32; i++) mixed[j][i] *= shrink;
        }
        __syncthreads();
        fetch<WIDEST>(tile, values, h.stride, met, end, h.dim);
        __syncthreads();
        mix<WIDEST>(mixed, weights, tile, h.dim);
        __syncthreads();
    }
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        if (own + j < end && lane == 0) lse[(i64)head * rows + own + j] = most[j] + logf(sum[j]);
#pragma unroll
        for (int i = 0; i < WIDEST / 32; i++) mixed[j][i] /= sum[j];
    }
    put<WIDEST>(mixed, 1.0f, out + head * h.dim, out_stride, own, end, h.dim);
}

// With p = e^(score − lse) and ds = p · (⟨dout, v⟩ − ⟨dout, out⟩): dq = scale · Σ ds · k. Leaves ⟨dout, out⟩ in `along` (H, N).
template <int WIDEST>
DEVICE void query_gradients(const float* fused, Heads h, const int* tiles, const float* out, const float* dout, i64 out_stride,
                            const float* lse, float* along, int rows, float* dfused) {
    __shared__ float tile[MET][WIDEST + 1];
    __shared__ float weights[ROWS][MET];
    int begin = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = blockIdx.y, own = first + warp * EACH;
    int key_head = h.heads + head / (h.heads / h.shared), last = smaller(first + ROWS, end);
    const float *queries = fused + head * h.dim, *keys = fused + key_head * h.dim, *values = keys + h.shared * h.dim;
    out += head * h.dim;
    dout += head * h.dim;
    float mixed[EACH][WIDEST / 32], most[EACH], projected[EACH], score[EACH], slope[EACH];
    zero<WIDEST>(mixed);
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        i64 row = smaller(own + j, end - 1);
        // In the order of `scores`: where a query sees one key, ⟨dout, v⟩ − ⟨dout, out⟩ is exactly zero.
        projected[j] = 0.0f;
        for (int d = 0; d < h.dim; d++) projected[j] = madd(dout[row * out_stride + d], out[row * out_stride + d], projected[j]);
        most[j] = lse[(i64)head * rows + row];
        if (own + j < end && lane == 0) along[(i64)head * rows + row] = projected[j];
    }
    for (int met = oldest(begin, first, h.window); met < last; met += MET) {
        fetch<WIDEST>(tile, keys, h.stride, met, end, h.dim);
        __syncthreads();
        scores<WIDEST>(score, tile, queries, h.stride, own, end, h.dim, h.scale);
        __syncthreads();
        fetch<WIDEST>(tile, values, h.stride, met, end, h.dim);
        __syncthreads();
        scores<WIDEST>(slope, tile, dout, out_stride, own, end, h.dim, 1.0f);
#pragma unroll
        for (int j = 0; j < EACH; j++) {
            bool seen = sees(own + j, met + lane, h.window);
            float weight = seen ? expf(score[j] - most[j]) : 0.0f;
            weights[warp * EACH + j][lane] = weight * (slope[j] - projected[j]);
        }
        __syncthreads();
        fetch<WIDEST>(tile, keys, h.stride, met, end, h.dim);
        __syncthreads();
        mix<WIDEST>(mixed, weights, tile, h.dim);
        __syncthreads();
    }
    put<WIDEST>(mixed, h.scale, dfused + head * h.dim, h.stride, own, end, h.dim);
}

// dk = scale · Σ ds · q and dv = Σ p · dout over the queries of all heads that share the key head, head after head. The block's
// rows are keys here, and what they meet are queries.
template <int WIDEST>
DEVICE void key_gradients(const float* fused, Heads h, const int* tiles, const float* dout, i64 out_stride, const float* lse,
                          const float* along, int rows, float* dfused) {
    __shared__ float tile[MET][WIDEST + 1];
    __shared__ float weights[ROWS][MET];
    int begin = tiles[3 * blockIdx.x], end = tiles[3 * blockIdx.x + 1], first = tiles[3 * blockIdx.x + 2];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, own = first + warp * EACH, group = h.heads / h.shared;
    int key_head = h.heads + blockIdx.y, value_head = key_head + h.shared;
    int last = smaller(end, h.window < end - begin ? first + ROWS + h.window : end);
    const float *keys = fused + key_head * h.dim, *values = fused + value_head * h.dim;
    float dkeys[EACH][WIDEST / 32], dvalues[EACH][WIDEST / 32], score[EACH], slope[EACH];
    zero<WIDEST>(dkeys);
    zero<WIDEST>(dvalues);
    for (int head = blockIdx.y * group; head < (int)(blockIdx.y + 1) * group; head++)
        for (int met = begin + (first - begin) / MET * MET; met < last; met += MET) {
            int query = met + lane;
            i64 place = (i64)head * rows + smaller(query, end - 1);
            fetch<WIDEST>(tile, fused + head * h.dim, h.stride, met, end, h.dim);
            __syncthreads();
            scores<WIDEST>(score, tile, keys, h.stride, own, end, h.dim, h.scale);
#pragma unroll
            for (int j = 0; j < EACH; j++) {
                bool seen = query < end && sees(query, own + j, h.window);
                score[j] = seen ? expf(score[j] - lse[place]) : 0.0f;
                weights[warp * EACH + j][lane] = score[j];
            }
            __syncthreads();
            fetch<WIDEST>(tile, dout + head * h.dim, out_stride, met, end, h.dim);
            __syncthreads();
            scores<WIDEST>(slope, tile, values, h.stride, own, end, h.dim, 1.0f);
            mix<WIDEST>(dvalues, weights, tile, h.dim);
            __syncthreads();
#pragma unroll
            for (int j = 0; j < EACH; j++) weights[warp * EACH + j][lane] = score[j] * (slope[j] - along[place]);
            fetch<WIDEST>(tile, fused + head * h.dim, h.stride, met, end, h.dim);
            __syncthreads();
            mix<WIDEST>(dkeys, weights, tile, h.dim);
            __syncthreads();
        }
    put<WIDEST>(dkeys, h.scale, dfused + key_head * h.dim, h.stride, own, end, h.dim);
    put<WIDEST>(dvalues, 1.0f, dfused + value_head * h.dim, h.stride, own, end, h.dim);
}

#define ATTENTION(WIDEST)                                                                                                              \
    KERNEL attend_##WIDEST(const float* fused, i64 stride, int heads, int shared, int dim, int window, float scale, const int* tiles,  \
                           float* out, i64 out_stride, float* lse, int rows) {                                                         \
        attend<WIDEST>(fused, Heads{stride, heads, shared, dim, window, scale}, tiles, out, out_stride, lse, rows);                    \
    }                                                                                                                                  \
    KERNEL query_gradients_##WIDEST(const float* fused, i64 stride, int heads, int shared, int dim, int window, float scale,           \
                                    const int* tiles, const float* out, const float* dout, i64 out_stride, const float* lse,           \
                                    float* along, int rows, float* dfused) {                                                           \
        query_gradients<WIDEST>(fused, Heads{stride, heads, shared, dim, window, scale}, tiles, out, dout, out_stride, lse, along,     \
                                rows, dfused);                                                                                         \
    }                                                                                                                                  \
    KERNEL key_gradients_##WIDEST(const float* fused, i64 stride, int heads, int shared, int dim, int window, float scale,             \
                                  const int* tiles, const float* dout, i64 out_stride, const float* lse, const float* along, int rows, \
                                  float* dfused) {                                                                                     \
        key_gradients<WIDEST>(fused, Heads{stride, heads, shared, dim, window, scale}, tiles, dout, out_stride, lse, along, rows,      \
                              dfused);                                                                                                 \
    }
ATTENTION(64)
ATTENTION(128)
ATTENTION(256)
