// Selection of the largest keys: a threshold by bits or by radix digits, then compaction in order.
//
// A warp holds 32 ITEMS neighbouring keys: item i of a lane is key
// (i / VECTOR * 32 + lane) * VECTOR + i % VECTOR of the warp's, so loads are vectors and coalesced.
#pragma once
#include "device.cuh"

constexpr int THREADS = 32 * WARPS, VECTOR = HALF ? 8 : 4, CHUNKS = ITEMS / VECTOR;
constexpr int BINS = 256;
constexpr int COPIES = 8;  // of a counter: lanes of a warp seldom add to the same one
static_assert(ITEMS % VECTOR == 0);

using Chunk = unsigned[VECTOR];

__device__ __forceinline__ int lane() { return threadIdx.x % 32; }

// Keys of a vector, lowest first.
__device__ __forceinline__ void unpack(uint4 vector, Chunk& to) {
    const unsigned words[4] = {vector.x, vector.y, vector.z, vector.w};
#pragma unroll
    for (int i = 0; i < VECTOR; ++i)
        to[i] = HALF ? words[i / 2] >> (i % 2 * 16) & 0xffff : words[i % 4];
}

__device__ __forceinline__ uint4 pack(const Chunk& from) {
    unsigned words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
        words[i] = HALF ? from[2 * i % VECTOR] | from[(2 * i + 1) % VECTOR] << 16 : from[i];
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// Keys of a warp in registers: loops over them must be unrolled.
struct InRegisters {
    static constexpr int UNROLL = CHUNKS;
    unsigned keys[ITEMS];
    __device__ __forceinline__ void get(int chunk, Chunk& to) const {
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) to[i] = keys[chunk * VECTOR + i];
    }
    __device__ __forceinline__ void set(int chunk, const Chunk& from) {
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) keys[chunk * VECTOR + i] = from[i];
    }
};

// Keys of a warp in shared memory; a lane reads only what it wrote.
struct InShared {
    static constexpr int UNROLL = CHUNKS < 4 ? CHUNKS : 4;
    uint4* vectors;
    __device__ __forceinline__ void get(int chunk, Chunk& to) const {
        unpack(vectors[chunk * 32 + lane()], to);
    }
    __device__ __forceinline__ void set(int chunk, const Chunk& from) {
        vectors[chunk * 32 + lane()] = pack(from);
    }
};

struct Shared {
    uint4 keys[WARPS][CHUNKS * 32];
    unsigned counts[BINS][COPIES];
    unsigned sums[WARPS];  // of the warps
    unsigned digit, before, inside;
};

// Taken are keys with key >> shift above `digits`, and the first `ties` of those that equal it.
struct Threshold {
    unsigned digits;
    int shift;
    unsigned ties;
};

// Order of floats as that of unsigned integers, never 0 unless NaN; -0 equals 0.
__device__ __forceinline__ unsigned ordered(unsigned bits) {
    constexpr unsigned sign = 1u << (BITS - 1), all = sign | (sign - 1);
    if (bits == sign) bits = 0;
    return bits & sign ? ~bits & all : bits | sign;
}

__device__ __forceinline__ int place(int chunk, int i) { return (chunk * 32 + lane()) * VECTOR + i; }

// Load the ordered keys of a warp; those from `count` on are 0, behind all others.
template <class Keys>
__device__ __forceinline__ void load_scores(Keys& keys, const Score* scores, int count) {
    constexpr int UNROLL = CHUNKS < 8 ? CHUNKS : 8;  // vectors of a thread that are on their way
#pragma unroll UNROLL
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        Chunk found;
        const int at = place(chunk, 0);
        if (ALIGNED && at + VECTOR <= count) {
            unpack(*reinterpret_cast<const uint4*>(scores + at), found);
        } else {
#pragma unroll
            for (int i = 0; i < VECTOR; ++i) found[i] = at + i < count ? scores[at + i] : 0u;
        }
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) found[i] = at + i < count ? ordered(found[i]) : 0u;
        keys.set(chunk, found);
    }
}

// Inclusive sum over the lanes up to this one.
__device__ __forceinline__ unsigned scan(unsigned value) {
#pragma unroll
    for (int by = 1; by < 32; by *= 2) {
        const unsigned other = __shfl_up_sync(~0u, value, by);
        if (lane() >= by) value += other;
    }
    return value;
}

// Threshold of the `want` largest keys of a warp: its bits from the highest down.
__device__ __forceinline__ Threshold warp_threshold(const InRegisters& warp, unsigned want) {
    unsigned found = 0, above = 0;  // above: keys at or above the last trial that failed
    for (int bit = BITS - 1; bit >= 0; --bit) {
        const unsigned trial = found | 1u << bit;
        unsigned mine = 0;
#pragma unroll
        for (int item = 0; item < ITEMS; ++item) mine += warp.keys[item] >= trial;
        const unsigned reached = __reduce_add_sync(~0u, mine);
        if (reached == want) return {trial - 1, 0, 0};
        if (reached > want) found = trial;
        else above = reached;
    }
    return {found, 0, want - above};
}

// Threshold of the `want` largest keys of a block: digits of 8 bits from the highest down.
__device__ __forceinline__ Threshold block_threshold(const InShared& keys, unsigned want,
                                                     Shared& shared) {
    const int thread = threadIdx.x;
    unsigned digits = 0;
    int shift = BITS;
    do {
        shift -= 8;
        for (int at = thread; at < BINS * COPIES; at += THREADS) (&shared.counts[0][0])[at] = 0;
        __syncthreads();
#pragma unroll InShared::UNROLL
        for (int chunk = 0; chunk < CHUNKS; ++chunk) {
            Chunk mine;
            keys.get(chunk, mine);
#pragma unroll
            for (int i = 0; i < VECTOR; ++i)
                if (shift + 8 == BITS || mine[i] >> (shift + 8) == digits)
                    atomicAdd(&shared.counts[mine[i] >> shift & (BINS - 1)][thread % COPIES], 1u);
        }
        __syncthreads();
        unsigned count = 0, sum = 0;
        const int bin = BINS - 1 - thread;  // from the largest down
        if (bin >= 0) {
#pragma unroll
            for (int copy = 0; copy < COPIES; ++copy) count += shared.counts[bin][copy];
            sum = scan(count);
            if (lane() == 31) shared.sums[thread / 32] = sum;
        }
        __syncthreads();
        if (bin >= 0) {
            for (int warp = 0; warp < thread / 32; ++warp) sum += shared.sums[warp];
            if (sum - count < want && want <= sum) {
                shared.digit = bin;
                shared.before = sum - count;
                shared.inside = count;
            }
        }
        __syncthreads();
        digits = digits << 8 | shared.digit;
        want -= shared.before;
    } while (shift > 0 && shared.inside != want);
    return {digits, shift, want};
}

// 1 for a key above the threshold, 1 << 16 for one that equals it: counts packed in one word.
__device__ __forceinline__ unsigned rank(unsigned key, Threshold threshold) {
    const unsigned digits = key >> threshold.shift;
    return digits > threshold.digits ? 1u : digits == threshold.digits ? 1u << 16 : 0u;
}

// Call emit(place in the output, place in the warp, key) for the keys taken, in their order.
template <class Keys, class Emit>
__device__ __forceinline__ void compact(const Keys& keys, Threshold threshold, unsigned before,
                                        Emit emit) {
#pragma unroll Keys::UNROLL
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        Chunk mine;
        keys.get(chunk, mine);
        unsigned ranks = 0;
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) ranks += rank(mine[i], threshold);
        const unsigned sum = scan(ranks);
        unsigned at = before + sum - ranks;
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const unsigned own = rank(mine[i], threshold), above = at & 0xffff, equal = at >> 16;
            if (own == 1 || (own && equal < threshold.ties))
                emit(int(above + min(equal, threshold.ties)), place(chunk, i), mine[i]);
            at += own;
        }
        before += __shfl_sync(~0u, sum, 31);
    }
}

// `compact` for a block: each warp begins behind the keys of the warps before it.
template <class Emit>
__device__ __forceinline__ void compact_block(const InShared& keys, Threshold threshold,
                                              Shared& shared, Emit emit) {
    unsigned ranks = 0;
#pragma unroll InShared::UNROLL
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        Chunk mine;
        keys.get(chunk, mine);
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) ranks += rank(mine[i], threshold);
    }
    const int warp = threadIdx.x / 32;
    ranks = __reduce_add_sync(~0u, ranks);
    if (lane() == 0) shared.sums[warp] = ranks;
    __syncthreads();
    const unsigned before = __reduce_add_sync(~0u, lane() < warp ? shared.sums[lane()] : 0u);
    compact(keys, threshold, before, emit);
}
