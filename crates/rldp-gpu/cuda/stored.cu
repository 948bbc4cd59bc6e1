// Elements of the base model's tensors as files store them. The numbers of the formats are those of `StoredFormat`.
enum { F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K };

DEVICE float half_at(const u8* bytes) { return widen_f16((u16)((u32)bytes[0] | (u32)bytes[1] << 8)); }

// Value `i` of 32, `scale · (q + shift) + offset`: low bits in 16 bytes, lower halves first; the fifth bit, if any, in `high`.
DEVICE float nibble(const u8* low, u32 high, int i, float scale, float shift, float offset) {
    u32 byte = low[i % 16], q = (i < 16 ? byte & 15u : byte >> 4) | (high >> i & 1u) << 4;
    return madd(scale, (float)q + shift, offset);
}

DEVICE u32 word_at(const u8* bytes) {
    return (u32)bytes[0] | (u32)bytes[1] << 8 | (u32)bytes[2] << 16 | (u32)bytes[3] << 24;
}

// Value `i` of 256 in eight runs of 32, each with a factor and an offset of six bits out of twelve bytes.
DEVICE float of_eight_runs(const u8* block, const u8* low, const u8* high, int i) {
    int run = i / 32, at = i % 32;
    const u8* packed = block + 4;
    u32 factor, offset;
    if (run < 4) {
        factor = packed[run] & 63u;
        offset = packed[run + 4] & 63u;
    } else {
        factor = (packed[run + 4] & 15u) | (u32)(packed[run - 4] >> 6) << 4;
        offset = (u32)(packed[run + 4] >> 4) | (u32)(packed[run] >> 6) << 4;
    }
    u32 q = low[run / 2 * 32 + at] >> (4 * (run % 2)) & 15u;
    if (high) q |= (u32)(high[at] >> run & 1) << 4;
    return madd(half_at(block) * (float)factor, (float)q, -(half_at(block + 2) * (float)offset));
}

// Value `i` of 256 in sixteen runs of 16: two halves, each of four rows of 32.
DEVICE float of_sixteen_runs(const u8* block, int i) {
    int part = i / 128, row = i % 128 / 32, at = i % 32;
    u32 low = block[part * 64 + row % 2 * 32 + at], high = block[128 + part * 32 + at];
    u32 q = (low >> (row / 2 * 4) & 15u) | (high >> (row * 2) & 3u) << 4;
    float factor = half_at(block + 208) * (float)(signed char)block[192 + part * 8 + 2 * row + at / 16];
    return factor * ((float)q - 32.0f);
}

// Element `index` of a tensor.
DEVICE float stored_value(const u8* base, int format, i64 index) {
    if (format == F32) return ((const float*)base)[index];
    if (format == F16) return widen_f16(((const u16*)base)[index]);
    if (format == BF16) return widen_bf16(((const u16*)base)[index]);
    int i = (int)(index % 32);
    i64 block = index / 32;
    switch (format) {
        case Q4_0: base += block * 18; return nibble(base + 2, 0, i, half_at(base), -8.0f, 0.0f);
        case Q4_1: base += block * 20; return nibble(base + 4, 0, i, half_at(base), 0.0f, half_at(base + 2));
        case Q5_0: base += block * 22; return nibble(base + 6, word_at(base + 2), i, half_at(base), -16.0f, 0.0f);
        case Q5_1: base += block * 24; return nibble(base + 8, word_at(base + 4), i, half_at(base), 0.0f, half_at(base + 2));
        case Q8_0: base += block * 34; return half_at(base) * (float)(signed char)base[2 + i];
    }
    i = (int)(index % 256);
    block = index / 256;
    switch (format) {
        case Q4_K: base += block * 144; return of_eight_runs(base, base + 16, 0, i);
        case Q5_K: base += block * 176; return of_eight_runs(base, base + 48, base + 16, i);
        default: return of_sixteen_runs(base + block * 210, i);
    }
}

// `count` elements from `first` on, in bf16 or f32.
KERNEL unpack(const u8* base, int format, i64 first, i64 count, u16* rounded, float* exact) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    float value = stored_value(base, format, first + at);
    if (exact) exact[at] = value;
    else rounded[at] = round_bf16(value);
}

// Values in bf16, rows `stride` apart packed one after another.
KERNEL round_rows(const float* x, i64 stride, u16* out, i64 rows, i64 width) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at < rows * width) out[at] = round_bf16(x[at / width * stride + at % width]);
}

// Embeddings (N, C) of tokens, with those of their positions where those are learned.
KERNEL embed(const u8* table, int format, const u8* learned, int learned_format, const int* tokens, const int* positions, float* out,
             int rows, int width, float scale) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (i64)rows * width) return;
    int row = (int)(at / width), column = (int)(at % width);
    float value = stored_value(table, format, (i64)tokens[row] * width + column) * scale;
    if (learned) value += stored_value(learned, learned_format, (i64)positions[row] * width + column);
    out[at] = value;
}
