// The k largest scores of each row, places ascending, the lowest place first among equals.
//
// Quick-select by radix digits: each score is read once and stays on the chip. Rows of up to 1,024
// keys have a warp each, others a block; long rows are cut into parts whose own k largest are
// candidates, of which a second function takes the k largest.
#include "device.cuh"

#if HALF
using Score = uint16_t;
constexpr int BITS = 16;
#else
using Score = uint32_t;
constexpr int BITS = 32;
#endif
#include "topk_select/select.cuh"
#ifndef FUNCTION_topk_small
static_assert(sizeof(Shared) <= SHARED_BYTES);
#endif

#ifdef FUNCTION_topk_small
extern "C" __global__ void __launch_bounds__(THREADS, 1)
topk_small(const Score* scores, int* output, int rows, int keys_of_row, int k) {
    const int row = blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= rows) return;  // whole warps
    InRegisters keys;
    load_scores(keys, scores + int64_t(row) * keys_of_row, keys_of_row);
    int* const taken = output + int64_t(row) * k;
    compact(keys, warp_threshold(keys, k), 0u, [&](int at, int place, unsigned) { taken[at] = place; });
}
#endif

#ifdef FUNCTION_topk_rows
extern "C" __global__ void __launch_bounds__(THREADS, 1)
topk_rows(const Score* scores, int* output, int keys_of_row, int k) {
    DYNAMIC_SHARED(memory);
    auto& shared = *reinterpret_cast<Shared*>(memory);
    InShared keys{shared.keys[threadIdx.x / 32]};
    const int first = threadIdx.x / 32 * 32 * ITEMS;
    load_scores(keys, scores + int64_t(blockIdx.x) * keys_of_row + first, keys_of_row - first);
    const Threshold threshold = block_threshold(keys, k, shared);
    int* const taken = output + int64_t(blockIdx.x) * k;
    compact_block(keys, threshold, shared,
                  [&](int at, int place, unsigned) { taken[at] = first + place; });
}
#endif

#ifdef FUNCTION_topk_parts
// Candidates of part blockIdx.x of row blockIdx.y: (rows, parts, kept) keys, 0 where there are none.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
topk_parts(const Score* scores, unsigned* candidates, int* places, int keys_of_row, int part, int kept) {
    DYNAMIC_SHARED(memory);
    auto& shared = *reinterpret_cast<Shared*>(memory);
    InShared keys{shared.keys[threadIdx.x / 32]};
    const int start = blockIdx.x * part, count = min(part, keys_of_row - start);
    const int first = threadIdx.x / 32 * 32 * ITEMS, want = min(count, kept);
    load_scores(keys, scores + int64_t(blockIdx.y) * keys_of_row + start + first, count - first);
    const Threshold threshold = block_threshold(keys, want, shared);
    const int64_t of_part = (int64_t(blockIdx.y) * gridDim.x + blockIdx.x) * kept;
    compact_block(keys, threshold, shared, [&](int at, int place, unsigned key) {
        candidates[of_part + at] = key;
        places[of_part + at] = start + first + place;
    });
    for (int at = want + threadIdx.x; at < kept; at += THREADS) candidates[of_part + at] = 0;
}
#endif

#ifdef FUNCTION_topk_merge
// The k largest of the candidates of a row, whose places ascend.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
topk_merge(const unsigned* candidates, const int* places, int* output, int count, int k) {
    DYNAMIC_SHARED(memory);
    auto& shared = *reinterpret_cast<Shared*>(memory);
    InShared keys{shared.keys[threadIdx.x / 32]};
    const int64_t row = blockIdx.x;
    const int first = threadIdx.x / 32 * 32 * ITEMS;
#pragma unroll InShared::UNROLL
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        Chunk found;
#pragma unroll
        for (int i = 0; i < VECTOR; ++i) {
            const int at = first + place(chunk, i);
            found[i] = at < count ? candidates[row * count + at] : 0u;
        }
        keys.set(chunk, found);
    }
    const Threshold threshold = block_threshold(keys, k, shared);
    compact_block(keys, threshold, shared, [&](int at, int place, unsigned) {
        output[row * k + at] = places[row * count + first + place];
    });
}
#endif
