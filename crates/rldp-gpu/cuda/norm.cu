// LayerNorm and RMSNorm of whole rows, or of `parts` heads of each row. One warp a part, four a block of threads.

// out = (x − mean) · inverse · weight + bias; without a bias it is RMSNorm and the mean is 0. `raw`, where given, keeps x. The
// output may be the input.
KERNEL norm_forward(const float* x, i64 x_stride, const float* weight, const float* bias, float epsilon, float* raw, i64 raw_stride,
                    float* out, i64 out_stride, float* means, float* inverses, int rows, int parts, int width) {
    int item = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (item >= rows * parts) return;
    i64 row = item / parts, part = (i64)(item % parts) * width;
    x += row * x_stride + part;
    out += row * out_stride + part;
    float mean = 0.0f;
    if (bias) {
        float sum = 0.0f;
        for (int i = lane; i < width; i += 32) sum += x[i];
        mean = warp_sum(sum) / (float)width;
    }
    float squares = 0.0f;
    for (int i = lane; i < width; i += 32) squares = madd(x[i] - mean, x[i] - mean, squares);
    float inverse = 1.0f / sqrtf(warp_sum(squares) / (float)width + epsilon);
    for (int i = lane; i < width; i += 32) {
        float value = x[i];
        if (raw) raw[row * raw_stride + part + i] = value;
        float scaled = (value - mean) * inverse;
        out[i] = bias ? madd(scaled, weight[i], bias[i]) : scaled * weight[i];
    }
    if (lane == 0) {
        means[item] = mean;
        inverses[item] = inverse;
    }
}

// With h = (x − mean) · inverse and g = dout · weight: dx = inverse · (g − h · ⟨g, h⟩ / C − ⟨g, 1⟩ / C), the last term where
// `centred`; += with `accumulate`. dx may be dout.
KERNEL norm_backward(const float* x, i64 x_stride, const float* weight, int centred, const float* means, const float* inverses,
                     const float* dout, i64 dout_stride, float* dx, i64 dx_stride, int accumulate, int rows, int parts, int width) {
    int item = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (item >= rows * parts) return;
    i64 row = item / parts, part = (i64)(item % parts) * width;
    x += row * x_stride + part;
    dout += row * dout_stride + part;
    dx += row * dx_stride + part;
    float mean = means[item], inverse = inverses[item], along = 0.0f, shift = 0.0f;
    for (int i = lane; i < width; i += 32) {
        float g = dout[i] * weight[i];
        along = madd(g, (x[i] - mean) * inverse, along);
        shift += g;
    }
    along = warp_sum(along) / (float)width;
    shift = warp_sum(shift) / (float)width;
    if (!centred) shift = 0.0f;
    for (int i = lane; i < width; i += 32) {
        float g = dout[i] * weight[i], h = (x[i] - mean) * inverse;
        float moved = inverse * (g - madd(h, along, shift));
        dx[i] = accumulate ? dx[i] + moved : moved;
    }
}

// Turns the heads of every row by its position's cosines and sines (positions, D / 2); `sign` −1 turns back.
KERNEL rotate(float* heads, i64 stride, const int* positions, const float* cosines, const float* sines, int rows, int count, int half,
              float sign) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (i64)rows * count * half) return;
    i64 row = at / (count * half);
    int head = (int)(at / half % count), i = (int)(at % half);
    float* low = heads + row * stride + head * 2 * half + i;
    float a = low[0], b = low[half];
    float cosine = cosines[(i64)positions[row] * half + i], sine = sign * sines[(i64)positions[row] * half + i];
    low[0] = madd(a, cosine, -(b * sine));
    low[half] = madd(b, cosine, a * sine);
}
