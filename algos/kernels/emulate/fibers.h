// Threads of a block as fibers on one host thread: deterministic, and told when they deadlock.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <ucontext.h>
#include <vector>

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace emulate {

constexpr unsigned WARP = 32;
constexpr size_t STACK = 128 * 1024, CANARY = 4096;
constexpr unsigned char POISON = 0xA5;  // shared memory before anything is written

struct Copy {
    void* to;
    const void* from;
};

struct Range {  // of a tensor's bytes
    uintptr_t start;
    size_t size;
};

struct Thread {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(STACK);
    unsigned number = 0;
    bool done = false;
    std::vector<std::vector<Copy>> groups;  // committed asynchronous copies, oldest first
    std::vector<Copy> open;
};

struct Barrier {
    unsigned arrived = 0, generation = 0;
};

struct Warp {
    Barrier barrier;
    uint32_t mask = 0;      // of the barrier that lanes wait at
    uint32_t slots[WARP][16];  // what lanes show one another
};

struct Block {
    dim3 index, size, grid;
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<unsigned char> shared;
    std::vector<Range> tensors;
    Barrier barrier;
    unsigned alive = 0;
    bool progress = false;
    std::string error;
    ucontext_t scheduler;
    Thread* current = nullptr;
    std::function<void()> kernel;
};

inline Block block;

inline Thread& self() { return *block.current; }
inline Warp& warp() { return block.warps[self().number / WARP]; }
inline unsigned lane() { return self().number % WARP; }

inline void yield() { swapcontext(&self().context, &block.scheduler); }

// Stop the launch with a sentence. Returns never: the scheduler does not come back.
inline void fail(const std::string& sentence) {
    if (block.error.empty()) block.error = sentence;
    while (true) yield();
}

inline void wait_for(Barrier& barrier, const std::function<unsigned()>& wanted) {
    const unsigned mine = barrier.generation;
    ++barrier.arrived;
    while (barrier.generation == mine) {
        if (barrier.arrived == wanted()) {
            barrier.arrived = 0;
            ++barrier.generation;
            block.progress = true;
        } else {
            yield();
        }
    }
}

inline void wait_warp(uint32_t mask) {
    Warp& here = warp();
    if (!(mask >> lane() & 1)) fail("a lane must be in the mask of its warp instruction");
    if (here.barrier.arrived && here.mask != mask)
        fail("lanes of a warp must wait with the same mask");
    here.mask = mask;
    wait_for(here.barrier, [mask] { return unsigned(__builtin_popcount(mask)); });
}

// Show the lanes of `mask` a value of up to 64 bytes and return what `read` makes of all of them.
template <class Value, class Read> auto exchange(uint32_t mask, const Value& value, Read read) {
    static_assert(sizeof(Value) <= sizeof(Warp::slots[0]));
    Warp& here = warp();
    std::memcpy(here.slots[lane()], &value, sizeof(Value));
    wait_warp(mask);
    const auto result = read([&here](unsigned of) {
        Value seen;
        std::memcpy(&seen, here.slots[of % WARP], sizeof(Value));
        return seen;
    });
    wait_warp(mask);
    return result;
}

inline void start() {
    block.kernel();
    self().done = true;
    --block.alive;
    block.progress = true;
    while (true) yield();
}

// Run one block. `order` != 0 shuffles the threads: a result that depends on it is a race.
inline void run_block(unsigned order) {
    const unsigned count = block.size.x * block.size.y * block.size.z;
    block.threads.resize(count);
    block.warps.assign((count + WARP - 1) / WARP, Warp{});
    block.barrier = Barrier{};
    block.alive = count;
    std::fill(block.shared.begin(), block.shared.end(), POISON);
    std::vector<unsigned> turns(count);
    std::iota(turns.begin(), turns.end(), 0u);
    if (order) std::shuffle(turns.begin(), turns.end(), std::mt19937(order));
    for (unsigned number = 0; number < count; ++number) {
        Thread& thread = block.threads[number];
        thread.number = number;
        thread.done = false;
        thread.groups.clear();
        thread.open.clear();
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = thread.stack.size();
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, start, 0);
    }
    while (block.alive && block.error.empty()) {
        block.progress = false;
        for (unsigned turn : turns) {
            if (block.threads[turn].done || !block.error.empty()) continue;
            block.current = &block.threads[turn];
            swapcontext(&block.scheduler, &block.current->context);
        }
        if (!block.progress && block.error.empty())
            block.error = "threads must meet at the same barriers, some wait for ever";
    }
    const auto end = block.shared.end();
    if (std::any_of(end - CANARY, end, [](unsigned char byte) { return byte != POISON; }))
        block.error = "a block must stay in its dynamic shared memory, it wrote behind it";
}

// Run all blocks in sequence; returns an empty text, or the first error.
inline std::string run_grid(dim3 grid, dim3 size, size_t shared, unsigned order,
                            std::function<void()> kernel) {
    block.grid = grid;
    block.size = size;
    block.kernel = std::move(kernel);
    block.shared.resize(shared + CANARY);
    block.error.clear();
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x && block.error.empty(); ++x) {
                block.index = dim3{x, y, z};
                run_block(order);
            }
    return block.error;
}

}  // namespace emulate
