// 2:4 sparse 2-bit weights times 8-bit activations on sparse tensor cores: one mma.sp sums one group
// of 64 inputs in integers, then it is scaled and added in fp32.
//
// A block computes BLOCK_M rows x BLOCK_N tokens over all inputs. Weights stay packed until a warp
// unpacks its fragment; see pack.py. WARPS_K warps share the inputs of a tile, by steps of two groups,
// and are added at the end, always in the same order. Few tokens wait for the weights alone: their
// lookup of activations by position costs the tensor cores nothing.
#include "device.cuh"

constexpr int THREADS = 32 * WARPS, TILES = M_TILES * WARPS_M;
constexpr int BLOCK_M = 16 * TILES, BLOCK_N = 8 * N_TILES * WARPS_N;
constexpr int RECORD = 73;          // vectors of 16 bytes: 2 x 32 lanes, 8 of scales, 1 of zero points
constexpr int ROW = 16 * RECORDS;   // vectors of a token's activations in a stage
constexpr int WEIGHTS = TILES * RECORDS * RECORD, STAGE = WEIGHTS + LOADED * ROW;
constexpr int PITCH = BLOCK_M + 4;  // of sums: no two lanes meet in a bank
constexpr int32_t MAGIC = 0x4b400000;  // bits of 1.5 * 2^23: integers added to them are floats
static_assert(WARPS == WARPS_M * WARPS_N * WARPS_K && LOADED <= BLOCK_N);
static_assert(16 * STAGES * STAGE <= SHARED_BYTES && 4 * WARPS_K * BLOCK_N * PITCH <= SHARED_BYTES);

// Vectors of 8 tokens lie in other banks than those of their neighbours.
__device__ __forceinline__ int swizzled(int token, int vector) {
    return token * ROW + (vector ^ (token % 2 * 4));
}

// Sums of tokens behind the last one are of whatever lies there, and are not stored.
__device__ __forceinline__ void load(uint4* stage, const uint4* packed, const uint4* activations,
                                     int first, int records, int tokens) {
    const int held = min(RECORDS, records - first);
    packed += first * RECORD;
    activations += first * 16;
#pragma unroll
    for (unsigned step = 0; step < WEIGHTS; step += THREADS) {
        const unsigned i = step + threadIdx.x, at = i % (RECORDS * RECORD);
        const int tile = i / (RECORDS * RECORD);
        if (i < WEIGHTS && int(at) < held * RECORD)
            copy_async(stage + i, packed + tile * records * RECORD + at);
    }
#pragma unroll
    for (unsigned step = 0; step < LOADED * ROW; step += THREADS) {
        const unsigned i = step + threadIdx.x, vector = i % ROW;
        const int token = i / ROW;
        if (i < LOADED * ROW && token < tokens && int(vector) < held * 16)
            copy_async(stage + WEIGHTS + swizzled(token, vector),
                       activations + token * records * 16 + vector);
    }
}

// The bytes code - zero for the codes 0 to 3; `word` holds 3 - zero from bit 3 on.
__device__ __forceinline__ uint32_t lookup(uint32_t word, int place) {
    return __funnelshift_r(0x00fffefdu, 0x00030201u, word >> (2 * place) & 24);
}

__device__ __forceinline__ float2 halves(uint32_t pair) {
    return __half22float2(*reinterpret_cast<__half2*>(&pair));
}

struct Weights {  // of a warp's tile in a step: two groups
    uint4 data;
    uint2 scales;
    uint32_t zeros;

    __device__ __forceinline__ void read(const uint4* record, int step) {
        const int lane = threadIdx.x % 32, g = lane / 4;
        data = record[32 * step + lane];
        scales = reinterpret_cast<const uint2*>(record + 64 + g)[step];
        zeros = reinterpret_cast<const uint8_t*>(record + 72)[2 * g + step] << 3;
    }
    __device__ __forceinline__ uint32_t metadata(int group) const { return group ? data.w : data.y; }
    __device__ __forceinline__ float2 scale(int group) const {
        return halves(group ? scales.y : scales.x);
    }
    __device__ __forceinline__ void unpack(uint32_t (&a)[4], int group) const {
        const uint32_t codes = group ? data.z : data.x;
#pragma unroll
        for (int r = 0; r < 4; ++r)
            a[r] = __byte_perm(lookup(zeros, 2 * group + r % 2), 0,
                               codes >> (16 * (r / 2) + 2 * (r % 2)) & 0x3333);
    }
};

#ifdef FUNCTION_w2a8_gemv
#define NAME w2a8_gemv
#else
#define NAME w2a8_gemm
#endif

// (tokens, rows) output of (rows / 16, records, RECORD) weights and (tokens, 256 records) activations.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
NAME(const uint4* packed, const int8_t* activations, const float* activation_scale, __half* output,
     int tokens, int rows, int records) {
    DYNAMIC_SHARED(memory);
    auto* const shared = reinterpret_cast<uint4*>(memory);
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int warp_m = warp % WARPS_M, warp_n = warp / WARPS_M % WARPS_N;
    const int warp_k = warp / (WARPS_M * WARPS_N);
    const int first_token = blockIdx.y * BLOCK_N;
    tokens -= first_token;
    packed += int64_t(blockIdx.x) * TILES * records * RECORD;
    const auto* inputs = reinterpret_cast<const uint4*>(activations) + int64_t(first_token) * records * 16;

    float sums[M_TILES][N_TILES][4] = {};
    const int stages = (records + RECORDS - 1) / RECORDS;
#pragma unroll 1
    for (int stage = 0; stage < STAGES - 1; ++stage) {
        if (stage < stages)
            load(shared + stage * STAGE, packed, inputs, stage * RECORDS, records, tokens);
        commit_copies();
    }
    for (int stage = 0; stage < stages; ++stage) {
        wait_copies<STAGES - 2>();
        __syncthreads();  // all have this stage, and all are done with the one before
        const int next = stage + STAGES - 1;
        if (next < stages)
            load(shared + next % STAGES * STAGE, packed, inputs, next * RECORDS, records, tokens);
        commit_copies();
        const uint4* const weights = shared + stage % STAGES * STAGE;
        const uint4* const values = weights + WEIGHTS;
        const int steps = 2 * min(RECORDS, records - stage * RECORDS);
        for (int step = warp_k; step < steps; step += WARPS_K) {
            Weights tiles[M_TILES];
#pragma unroll
            for (int m = 0; m < M_TILES; ++m) {
                const int tile = warp_m * M_TILES + m;
                tiles[m].read(weights + (tile * RECORDS + step / 2) * RECORD, step % 2);
            }
#pragma unroll
            for (int group = 0; group < 2; ++group) {
                uint32_t a[M_TILES][4];
#pragma unroll
                for (int m = 0; m < M_TILES; ++m) tiles[m].unpack(a[m], group);
#pragma unroll
                for (int n = 0; n < N_TILES; ++n) {
                    const int token = (warp_n * N_TILES + n) * 8 + g;
                    uint4 vector = make_uint4(0, 0, 0, 0);
                    if (token < LOADED) vector = values[swizzled(token, 8 * step + 4 * group + t)];
                    const uint32_t b[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
                    for (int m = 0; m < M_TILES; ++m) {
                        int32_t d[4];
                        mma_sparse(d, a[m], b, MAGIC, tiles[m].metadata(group));
                        const float2 scale = tiles[m].scale(group);
#pragma unroll
                        for (int i = 0; i < 4; ++i)
                            sums[m][n][i] += (__int_as_float(d[i]) - __int_as_float(MAGIC)) *
                                             (i < 2 ? scale.x : scale.y);
                    }
                }
            }
        }
    }

    wait_copies<0>();
    __syncthreads();
    auto* const parts = reinterpret_cast<float*>(memory);
#pragma unroll
    for (int m = 0; m < M_TILES; ++m)
#pragma unroll
        for (int n = 0; n < N_TILES; ++n)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = (warp_m * M_TILES + m) * 16 + g + i / 2 * 8;
                const int token = (warp_n * N_TILES + n) * 8 + 2 * t + i % 2;
                parts[(warp_k * BLOCK_N + token) * PITCH + row] = sums[m][n][i];
            }
    __syncthreads();
    for (int at = threadIdx.x; at < BLOCK_N * BLOCK_M / 2; at += THREADS) {
        const int token = at / (BLOCK_M / 2), row = at % (BLOCK_M / 2) * 2;
        if (token >= tokens) break;  // later ones are behind the end too
        float x = 0, y = 0;
#pragma unroll
        for (int k = 0; k < WARPS_K; ++k) {
            x += parts[(k * BLOCK_N + token) * PITCH + row];
            y += parts[(k * BLOCK_N + token) * PITCH + row + 1];
        }
        const float scale = activation_scale[first_token + token];
        const int64_t to = int64_t(first_token + token) * rows + blockIdx.x * BLOCK_M + row;
        *reinterpret_cast<__half2*>(output + to) = __floats2half2_rn(scale * x, scale * y);
    }
}
