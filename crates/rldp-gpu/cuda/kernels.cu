// All kernels. One source for the GPU (nvcc, no header of ours or of CUDA's library is named) and, with emulator/emulate.h, for
// a C++ compiler. Arithmetic is in f32 unless said otherwise; sums have one order that depends on a row, or a unit, alone.
#include "common.cu"
#include "stored.cu"
#include "product.cu"
#include "norm.cu"
#include "attention.cu"
#include "mlp.cu"
#include "lora.cu"
#include "head.cu"
#include "clip.cu"
