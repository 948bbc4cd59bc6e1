/* A driver without a card, for tests of what a bad one is answered with. FAKE_* say how it is bad. Memory is the host's; kernels do nothing. */

#include <stdlib.h>
#include <string.h>

static long asked(const char *name, long otherwise) {
  const char *value = getenv(name);
  return value ? atol(value) : otherwise;
}

int cuInit(unsigned flags) { (void)flags; return (int)asked("FAKE_INIT", 0); }
int cuDeviceGetCount(int *count) { *count = (int)asked("FAKE_CARDS", 1); return 0; }
int cuDeviceGet(int *device, int index) { *device = index; return 0; }
int cuDeviceGetName(char *name, int length, int device) {
  (void)device;
  strncpy(name, "Fake card", length);
  return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = (size_t)asked("FAKE_FREE", 1L << 34); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  (void)device;
  long capability = asked("FAKE_CAPABILITY", 90);
  /* 75 and 76 are the major and minor number of the generation. */
  *value = attribute == 75 ? (int)(capability / 10) : attribute == 76 ? (int)(capability % 10) : 1;
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = (void *)8; return (int)asked("FAKE_CONTEXT", 0); }
int cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return 0; }
int cuCtxSetCurrent(void *context) { (void)context; return 0; }
int cuModuleLoadData(void **module, const void *image) {
  (void)image;
  *module = (void *)8;
  return (int)asked("FAKE_KERNELS", 0);
}
int cuModuleUnload(void *module) { (void)module; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) {
  *free = *total = (size_t)asked("FAKE_FREE", 1L << 34);
  return 0;
}
int cuMemAlloc_v2(unsigned long long *address, size_t bytes) {
  void *memory = asked("FAKE_REFUSES", 0) ? NULL : malloc(bytes);
  *address = (unsigned long long)memory;
  return memory ? 0 : 2;
}
int cuMemFree_v2(unsigned long long address) { free((void *)address); return 0; }
int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t bytes) {
  memcpy((void *)to, from, bytes);
  return (int)asked("FAKE_COPY", 0);
}
int cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, size_t bytes, void *stream) {
  (void)stream;
  memcpy((void *)to, (void *)from, bytes);
  return 0;
}
int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t bytes) { memcpy(to, (void *)from, bytes); return 0; }
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *stream) {
  (void)stream;
  memset((void *)to, value, bytes);
  return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name) { (void)module; (void)name; *function = (void *)8; return 0; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream,
                   void **arguments, void **extra) {
  (void)function, (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared, (void)stream, (void)arguments, (void)extra;
  return (int)asked("FAKE_LAUNCH", 0);
}
int cuGetErrorString(int error, const char **text) {
  *text = error == 2     ? "out of memory"
          : error == 100 ? "no CUDA-capable device is detected"
          : error == 222 ? "the provided PTX was compiled with an unsupported toolchain."
          : error == 719 ? "unspecified launch failure"
          : error == 803 ? "system has unsupported display driver / cuda driver combination"
                         : "unknown error";
  return 0;
}
