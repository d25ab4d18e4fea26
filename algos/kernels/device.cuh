// What kernels use beyond C++: CUDA's own words and a few instructions, here once for the device,
// and once more in emulate/cuda.h for the host.
#pragma once
#include <cstdint>

#ifdef EMULATE
#include "emulate/cuda.h"
#else
#include <cuda_fp16.h>

// Names the dynamic shared memory of a block, 16-byte aligned.
#define DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// Start to copy 16 bytes to shared memory, past the L1 cache.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     static_cast<unsigned>(__cvta_generic_to_shared(shared))),
                 "l"(global)
                 : "memory");
}

// Close a group of this thread's copies.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most `Groups` of this thread's groups are unfinished.
template <int Groups> __device__ __forceinline__ void wait_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
}

// d = A B + c for A (16 x 64, 2:4 sparse) and B (64 x 8) of signed bytes.
//
// PTX ISA, mma.sp.m16n8k64 with .s8. Lane 4 g + t holds:
//   a[r]: 4 kept values of row g + 8 (r & 1), of the quads 8 (r >> 1) + 2 t and the next;
//   e: of row g + 8 (t & 1), 4 bits for each of the quads 8 (t >> 1) to 8 (t >> 1) + 7: the position
//      of its first kept value, then of its second, ascending;
//   b[r]: rows 16 r + 4 t to 16 r + 4 t + 3 of column g;
//   d[i]: row g + 8 (i >> 1), column 2 t + (i & 1).
__device__ __forceinline__ void mma_sparse(int32_t (&d)[4], const uint32_t (&a)[4],
                                           const uint32_t (&b)[4], int32_t c, uint32_t e) {
    asm volatile("mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9,%10,%11}, {%12,%12,%12,%12}, %13, 0x0;"
                 : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(b[2]),
                   "r"(b[3]), "r"(c), "r"(e));
}
#endif
