// Small functions, each of which shows one thing of the emulator or of the launch.
#include "device.cuh"

extern "C" __global__ void probe_warp(const int* input, int* output) {
    const int lane = threadIdx.x % 32, value = input[threadIdx.x];
    int* row = output + threadIdx.x * 7;
    row[0] = __shfl_sync(~0u, value, 31 - lane);
    row[1] = __shfl_up_sync(~0u, value, 3);
    row[2] = __shfl_down_sync(~0u, value, 3);
    row[3] = __shfl_xor_sync(~0u, value, 5);
    row[4] = __ballot_sync(~0u, value & 1);
    row[5] = __reduce_add_sync(~0u, unsigned(value));
    row[6] = __byte_perm(value, input[(threadIdx.x + 1) % blockDim.x], 0x5140);
}

extern "C" __global__ void probe_half(const __half* input, float* widened, __half* back, int count) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    widened[at] = __half2float(input[at]);
    back[at] = __float2half_rn(widened[at] * 1.000213f);
}

extern "C" __global__ void probe_mma(const int* a, const int* b, const int* e, int* output) {
    const int lane = threadIdx.x;
    uint32_t left[4], right[4];
    int32_t sums[4];
    for (int i = 0; i < 4; ++i) {
        left[i] = a[4 * lane + i];
        right[i] = b[4 * lane + i];
    }
    mma_sparse(sums, left, right, 7, e[lane]);
    for (int i = 0; i < 4; ++i) output[4 * lane + i] = sums[i];
}

// Reverse the vectors of a block through shared memory; without WAIT or MEET it is wrong.
extern "C" __global__ void probe_async(const int* input, int* output) {
    DYNAMIC_SHARED(memory);
    const int last = blockDim.x - 1;
    auto* vectors = reinterpret_cast<int4*>(memory);
    copy_async(&vectors[threadIdx.x], reinterpret_cast<const int4*>(input) + threadIdx.x);
    commit_copies();
#if WAIT
    wait_copies<0>();
#endif
#if MEET
    __syncthreads();
#endif
    reinterpret_cast<int4*>(output)[threadIdx.x] = vectors[last - threadIdx.x];
}

extern "C" __global__ void probe_deadlock(int* output) {
    if (threadIdx.x < 32) __syncwarp();
    if (threadIdx.x % 2) __syncwarp();
    output[threadIdx.x] = 1;
}

extern "C" __global__ void probe_behind(int* output) {
    DYNAMIC_SHARED(memory);
    reinterpret_cast<int*>(memory)[threadIdx.x] = 1;
    output[threadIdx.x] = 1;
}

#ifdef FUNCTION_probe_scaled
extern "C" __global__ void probe_scaled(const float* input, float* output, float factor, int count) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count) output[at] = factor * input[at] + float(BIAS);
}
#endif
