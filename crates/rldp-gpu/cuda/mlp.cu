// The MLP's activation. The numbers of the kinds are those of `Activation`: 0 SiLU, 1 GELU by tanh, 2 GELU by the error function.

struct Curve {
    float value, slope;
};

DEVICE Curve curve(int kind, float x) {
    if (kind == 2) {
        float normal = 0.5f * (1.0f + erff(x * 0.70710678f)), density = 0.3989423f * expf(-0.5f * x * x);
        return Curve{x * normal, madd(x, density, normal)};
    }
    // ½ (1 + tanh u) is the sigmoid of 2u.
    float root = 1.5957691f, cubic = 0.044715f, square = x * x;
    float u = kind == 0 ? x : x * madd(square, root * cubic, root), du = kind == 0 ? 1.0f : madd(square, 3.0f * root * cubic, root);
    float sigmoid = 1.0f / (1.0f + expf(-u)), value = x * sigmoid;
    return Curve{value, madd(value * (1.0f - sigmoid), du, sigmoid)};
}

// out = activation(gate) · up, or activation(gate) alone.
KERNEL activate(int kind, const float* gate, const float* up, float* out, i64 count) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    float value = curve(kind, gate[at]).value;
    out[at] = up ? value * up[at] : value;
}

// From d(out): dgate, dup where gated, and out itself again. Every output may be an input.
KERNEL activate_backward(int kind, const float* gate, const float* up, const float* dout, float* dgate, float* dup, float* out, i64 count) {
    i64 at = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    Curve found = curve(kind, gate[at]);
    float slope = dout[at], factor = up ? up[at] : 1.0f;
    if (up) dup[at] = slope * found.value;
    dgate[at] = slope * found.slope * factor;
    if (out) out[at] = found.value * factor;
}
