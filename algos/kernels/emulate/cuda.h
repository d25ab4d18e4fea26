// The part of CUDA C++ that kernels of this package use, in C++20 on fibers of one host thread.
//
// Asynchronous copies arrive as late as they may, when they are waited for; shared memory holds
// poison before it is written: what reads too early reads that.
#pragma once
#include <cmath>

#include "fibers.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define DYNAMIC_SHARED(name) unsigned char* const name = emulate::shared_memory()
#define threadIdx (emulate::thread_index())
#define blockIdx (emulate::block.index)
#define blockDim (emulate::block.size)
#define gridDim (emulate::block.grid)

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

using std::max;
using std::min;

namespace emulate {

inline dim3 thread_index() { return dim3{self().number, 0, 0}; }  // blocks have one dimension

inline unsigned char* shared_memory() { return block.shared.data(); }  // malloc aligns to 16 bytes

inline bool in_a_tensor(const void* at, size_t size) {
    const auto start = reinterpret_cast<uintptr_t>(at);
    return std::any_of(block.tensors.begin(), block.tensors.end(), [&](Range tensor) {
        return start >= tensor.start && start + size <= tensor.start + tensor.size;
    });
}

struct Fragments {
    uint32_t a[4], b[4], e;
};

inline int8_t byte_of(uint32_t word, unsigned place) { return int8_t(word >> (8 * place)); }

}  // namespace emulate

inline void __syncthreads() {
    emulate::wait_for(emulate::block.barrier, [] { return emulate::block.alive; });
}
inline void __syncwarp(uint32_t mask = ~0u) { emulate::wait_warp(mask); }

template <class T> T __shfl_sync(uint32_t mask, T value, int source) {
    return emulate::exchange(mask, value, [&](auto of) { return of(unsigned(source)); });
}
template <class T> T __shfl_xor_sync(uint32_t mask, T value, int bits) {
    return emulate::exchange(mask, value, [&](auto of) { return of(emulate::lane() ^ bits); });
}
template <class T> T __shfl_up_sync(uint32_t mask, T value, unsigned by) {
    const unsigned lane = emulate::lane();
    return emulate::exchange(mask, value, [&](auto of) { return of(lane < by ? lane : lane - by); });
}
template <class T> T __shfl_down_sync(uint32_t mask, T value, unsigned by) {
    const unsigned lane = emulate::lane(), from = lane + by < 32 ? lane + by : lane;
    return emulate::exchange(mask, value, [&](auto of) { return of(from); });
}
inline unsigned __ballot_sync(uint32_t mask, int predicate) {
    return emulate::exchange(mask, int(predicate != 0), [&](auto of) {
        unsigned bits = 0;
        for (unsigned lane = 0; lane < 32; ++lane)
            if (mask >> lane & 1) bits |= unsigned(of(lane)) << lane;
        return bits;
    });
}
inline unsigned __reduce_add_sync(uint32_t mask, unsigned value) {
    return emulate::exchange(mask, value, [&](auto of) {
        unsigned sum = 0;
        for (unsigned lane = 0; lane < 32; ++lane)
            if (mask >> lane & 1) sum += of(lane);
        return sum;
    });
}

template <class T> T atomicAdd(T* at, T value) {
    const T old = *at;
    *at += value;
    return old;
}

inline int __popc(unsigned word) { return __builtin_popcount(word); }
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned selector) {
    const uint64_t bytes = uint64_t(high) << 32 | low;
    unsigned result = 0;
    for (unsigned place = 0; place < 4; ++place)
        result |= unsigned(bytes >> (8 * (selector >> (4 * place) & 7)) & 255) << (8 * place);
    return result;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return unsigned((uint64_t(high) << 32 | low) >> (by & 31));
}
template <class To, class From> To emulate_bits(From value) {
    To result;
    std::memcpy(&result, &value, sizeof(To));
    return result;
}
inline float __int_as_float(int bits) { return emulate_bits<float>(bits); }
inline unsigned __float_as_uint(float value) { return emulate_bits<unsigned>(value); }
template <class T> T __ldg(const T* at) { return *at; }

struct __half {
    uint16_t bits;
};
struct __half2 {
    __half x, y;
};
inline float __half2float(__half half) {
    const int exponent = half.bits >> 10 & 31, fraction = half.bits & 1023;
    float size = std::ldexp(float(exponent ? fraction | 1024 : fraction), (exponent ? exponent : 1) - 25);
    if (exponent == 31) size = fraction ? NAN : INFINITY;
    return half.bits >> 15 ? -size : size;
}
// Round to nearest, ties to even.
inline __half __float2half_rn(float value) {
    const uint16_t sign = uint16_t(emulate_bits<uint32_t>(value) >> 16 & 0x8000);
    const float size = std::fabs(value);
    if (std::isnan(size)) return {uint16_t(sign | 0x7fff)};
    if (size >= 65520.0f) return {uint16_t(sign | 0x7c00)};
    const int exponent = size < 0x1p-14f ? -14 : std::ilogb(size);
    const int scaled = int(std::nearbyint(std::ldexp(size, 10 - exponent)));  // carries upwards
    return {uint16_t(sign | (scaled + (size < 0x1p-14f ? 0 : (exponent + 14) * 1024)))};
}
inline float2 __half22float2(__half2 pair) { return {__half2float(pair.x), __half2float(pair.y)}; }
inline __half2 __floats2half2_rn(float x, float y) {
    return {__float2half_rn(x), __float2half_rn(y)};
}

inline void copy_async(void* shared, const void* global) {
    if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % 16)
        emulate::fail("an asynchronous copy must be 16-byte aligned");
    if (!emulate::in_a_tensor(global, 16))
        emulate::fail("an asynchronous copy must read a tensor, it reads beside all of them");
    emulate::self().open.push_back({shared, global});
}
inline void commit_copies() {
    auto& thread = emulate::self();
    thread.groups.push_back(std::move(thread.open));
    thread.open.clear();
}
template <int Groups> void wait_copies() {
    auto& groups = emulate::self().groups;
    while (groups.size() > size_t(Groups)) {
        for (const auto& copy : groups.front()) std::memcpy(copy.to, copy.from, 16);
        groups.erase(groups.begin());
    }
}

// Fragments as the device's twin in device.cuh says.
inline void mma_sparse(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[4], int32_t c,
                       uint32_t e) {
    emulate::Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1], b[2], b[3]}, e};
    struct Sums {
        int32_t d[4];
    };
    const unsigned lane = emulate::lane(), g = lane / 4, t = lane % 4;
    const Sums sums = emulate::exchange(~0u, mine, [&](auto of) {
        Sums sums{{c, c, c, c}};
        for (unsigned quad = 0; quad < 16; ++quad)
            for (unsigned kept = 0; kept < 2; ++kept)
                for (unsigned i = 0; i < 4; ++i) {
                    const unsigned half = i >> 1, column = 2 * t + (i & 1);
                    const auto values = of(4 * g + quad % 8 / 2);
                    const uint32_t meta = of(4 * g + half + 2 * (quad / 8)).e;
                    const unsigned at = meta >> (4 * (quad % 8) + 2 * kept) & 3;
                    const int weight = emulate::byte_of(values.a[half + 2 * (quad / 8)],
                                                        2 * (quad % 2) + kept);
                    const auto inputs = of(4 * column + quad % 4);
                    sums.d[i] += weight * emulate::byte_of(inputs.b[quad / 4], at);
                }
        return sums;
    });
    std::copy(sums.d, sums.d + 4, d);
}
