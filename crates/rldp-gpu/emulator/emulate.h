// CUDA's execution model on one CPU thread: every thread of a block is a fiber; blocks run one after another.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static thread_local

struct Index {
    unsigned x, y, z;
};

namespace emulator {
extern thread_local unsigned thread;  // within its block
extern thread_local Index block, block_size;
// What the lanes of each warp show to each other.
extern thread_local uint32_t shown[1024][8];
enum Wait { NOTHING, BLOCK_BARRIER, WARP_BARRIER };
void wait(Wait kind);
}  // namespace emulator

#define threadIdx (Index{emulator::thread, 0, 0})
#define blockIdx emulator::block
#define blockDim emulator::block_size

inline void __syncthreads() { emulator::wait(emulator::BLOCK_BARRIER); }

inline uint32_t __float_as_uint(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline float __uint_as_float(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// The second wait keeps a fast lane from showing the next value before a slow one has read this. Two places take turns, so that
// one wait a call is enough: nobody shows a value two calls on before all have read.
inline float __shfl_xor_sync(unsigned, float value, int mask) {
    unsigned me = emulator::thread;
    uint32_t turn = emulator::shown[me][7] ^= 1;
    emulator::shown[me][turn] = __float_as_uint(value);
    emulator::wait(emulator::WARP_BARRIER);
    return __uint_as_float(emulator::shown[me ^ (unsigned)mask][turn]);
}

inline void emulated_mma(float d[4], const uint32_t a[4], const uint32_t b[2]) {
    unsigned me = emulator::thread, base = me / 32 * 32, lane = me % 32, group = lane / 4, quad = lane % 4;
    for (int i = 0; i < 4; i++) emulator::shown[me][i] = a[i];
    for (int i = 0; i < 2; i++) emulator::shown[me][4 + i] = b[i];
    emulator::wait(emulator::WARP_BARRIER);
    for (int c = 0; c < 4; c++) {
        unsigned row = group + (c / 2) * 8, column = quad * 2 + c % 2;
        float sum = d[c];
        for (unsigned pair = 0; pair < 8; pair++) {
            uint32_t left = emulator::shown[base + row % 8 * 4 + pair % 4][row / 8 + pair / 4 * 2];
            uint32_t right = emulator::shown[base + column * 4 + pair % 4][4 + pair / 4];
            sum += __uint_as_float(left << 16) * __uint_as_float(right << 16);
            sum += __uint_as_float(left & 0xffff0000u) * __uint_as_float(right & 0xffff0000u);
        }
        d[c] = sum;
    }
    emulator::wait(emulator::WARP_BARRIER);
}
