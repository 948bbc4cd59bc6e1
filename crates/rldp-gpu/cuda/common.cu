#ifndef __CUDACC__
#include "emulate.h"
#endif
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__

// Stands for a score that does not take part: e to the power of it is 0 beside any other.
#define MASKED -1e30f

// a · b + c, rounded once on the GPU.
DEVICE float madd(float a, float b, float c) {
#ifdef __CUDACC__
    return __fmaf_rn(a, b, c);
#else
    return a * b + c;
#endif
}

// a · b, never fused with a sum.
DEVICE float times(float a, float b) {
#ifdef __CUDACC__
    return __fmul_rn(a, b);
#else
    return a * b;
#endif
}
DEVICE double times(double a, double b) {
#ifdef __CUDACC__
    return __dmul_rn(a, b);
#else
    return a * b;
#endif
}

DEVICE int smaller(int a, int b) { return a < b ? a : b; }
DEVICE int larger(int a, int b) { return a > b ? a : b; }

// Sum, and maximum, over the lanes of a warp; every lane gets it.
DEVICE float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}
DEVICE float warp_max(float value) {
    for (int step = 16; step > 0; step /= 2) value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, step));
    return value;
}

DEVICE float widen_bf16(u16 half) { return __uint_as_float((u32)half << 16); }

// To the nearest, ties to even; what is not a number stays none.
DEVICE u16 round_bf16(float value) {
    u32 bits = __float_as_uint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (u16)(bits >> 16 | 0x40u);
    return (u16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

DEVICE float widen_f16(u16 half) {
    u32 sign = ((u32)half & 0x8000u) << 16, exponent = (u32)half >> 10 & 31u, fraction = (u32)half & 1023u;
    if (exponent == 31u) return __uint_as_float(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0u) return (sign ? -1.0f : 1.0f) * ((float)fraction * 5.9604644775390625e-8f);
    return __uint_as_float(sign | (exponent + 112u) << 23 | fraction << 13);
}
