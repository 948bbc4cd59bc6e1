#include "emulate.h"

#include <utility>
#include <vector>
#if !(defined(__x86_64__) && defined(__linux__))
#include <ucontext.h>
#endif

namespace emulator {
thread_local unsigned thread;
thread_local Index block, block_size;
thread_local uint32_t shown[1024][8];

struct Body {
    void (*run)(void*);
    void* state;
};

static constexpr size_t STACK = 32 << 10;

#if defined(__x86_64__) && defined(__linux__)
// A switch saves what a call must preserve. The library's own also asks the kernel for the signal mask, a hundred times slower.
extern "C" void emulator_switch(void** from, void* to);
asm(R"(
.text
.globl emulator_switch
emulator_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
struct Context {
    void* place = nullptr;
    void begin(char* stack, void (*entry)()) {
        // As if `entry` had been called: the stack is 8 off a multiple of 16.
        void** top = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(stack + STACK) / 16 * 16) - 2;
        *top = reinterpret_cast<void*>(entry);
        place = top - 6;
    }
    static void go(Context& from, Context& to) { emulator_switch(&from.place, to.place); }
};
#else
struct Context {
    ucontext_t place;
    void begin(char* stack, void (*entry)()) {
        getcontext(&place);
        place.uc_stack.ss_sp = stack;
        place.uc_stack.ss_size = STACK;
        place.uc_link = nullptr;
        makecontext(&place, entry, 0);
    }
    static void go(Context& from, Context& to) { swapcontext(&from.place, &to.place); }
};
#endif

struct Fiber {
    Context context;
    std::vector<char> stack = std::vector<char>(STACK);
    bool done = false;
    Wait waits = NOTHING;
};

static thread_local Context scheduler;
static thread_local std::vector<Fiber> fibers;
static thread_local Body body;

void wait(Wait kind) {
    Fiber& me = fibers[thread];
    me.waits = kind;
    Context::go(me.context, scheduler);
}

static void entry() {
    body.run(body.state);
    Fiber& me = fibers[thread];
    me.done = true;
    Context::go(me.context, scheduler);
    __builtin_unreachable();
}

static void resume(unsigned index) {
    thread = index;
    fibers[index].waits = NOTHING;
    Context::go(scheduler, fibers[index].context);
}

// Runs the live fibers of a range if all of them wait for `kind`.
static bool release(unsigned first, unsigned end, Wait kind, bool backwards) {
    bool any = false;
    for (unsigned i = first; i < end; i++) {
        if (fibers[i].done) continue;
        if (fibers[i].waits != kind) return false;
        any = true;
    }
    for (unsigned n = 0; any && n < end - first; n++) {
        unsigned i = backwards ? end - 1 - n : first + n;
        if (!fibers[i].done) resume(i);
    }
    return any;
}

// One block of threads. A warp goes on when all of its live threads wait for it; a block, when all do. False when threads wait for
// different things, which on a GPU never ends.
static bool run_block(unsigned count, bool backwards) {
    for (unsigned i = 0; i < count; i++) {
        fibers[i].done = false;
        fibers[i].waits = NOTHING;
        fibers[i].context.begin(fibers[i].stack.data(), entry);
    }
    // What a thread shows in which turn must be the same for all lanes of a warp.
    std::memset(shown, 0, count * sizeof shown[0]);
    release(0, count, NOTHING, backwards);
    for (;;) {
        bool live = false, moved = false;
        for (unsigned w = 0; w < count; w += 32) moved |= release(w, w + 32 < count ? w + 32 : count, WARP_BARRIER, backwards);
        if (moved) continue;
        for (unsigned i = 0; i < count; i++) live |= !fibers[i].done;
        if (!live) return true;
        if (!release(0, count, BLOCK_BARRIER, backwards)) return false;
    }
}

static bool launch(Index grid, unsigned threads, bool backwards, Body what) {
    body = what;
    block_size = {threads, 1, 1};
    if (fibers.size() < threads) fibers.resize(threads);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                block = {x, y, z};
                if (!run_block(threads, backwards)) return false;
            }
    return true;
}
}  // namespace emulator

#include "../cuda/kernels.cu"

template <class... A, size_t... I>
static bool call(void (*kernel)(A...), void** arguments, Index grid, unsigned threads, bool backwards, std::index_sequence<I...>) {
    struct State {
        void (*kernel)(A...);
        void** arguments;
    } state{kernel, arguments};
    auto run = [](void* at) {
        State& state = *static_cast<State*>(at);
        state.kernel(*static_cast<A*>(state.arguments[I])...);
    };
    return emulator::launch(grid, threads, backwards, {run, &state});
}

template <class... A> static int call(void (*kernel)(A...), size_t count, void** arguments, Index grid, unsigned threads, bool backwards) {
    if (count != sizeof...(A)) return 2;
    return call(kernel, arguments, grid, threads, backwards, std::index_sequence_for<A...>{}) ? 0 : 3;
}

// 0 done, 1 no such kernel, 2 another number of arguments, 3 threads that wait for each other for ever.
extern "C" int rldp_emulate(const char* name, const unsigned* grid, unsigned threads, size_t count, void** arguments, int backwards) {
    Index g{grid[0], grid[1], grid[2]};
#define RUN(kernel) \
    if (!std::strcmp(name, #kernel)) return call(kernel, count, arguments, g, threads, backwards != 0);
    RUN(unpack) RUN(round_rows) RUN(embed) RUN(product_bf16) RUN(product_f32) RUN(put_bias)
    RUN(norm_forward) RUN(norm_backward) RUN(rotate)
    RUN(attend_64) RUN(attend_128) RUN(attend_256) RUN(query_gradients_64) RUN(query_gradients_128) RUN(query_gradients_256)
    RUN(key_gradients_64) RUN(key_gradients_128) RUN(key_gradients_256)
    RUN(activate) RUN(activate_backward) RUN(narrow) RUN(widen) RUN(unit_outer)
    RUN(gather) RUN(scatter) RUN(head_begin) RUN(head_absorb) RUN(head_finish) RUN(unit_losses)
    RUN(squares) RUN(unit_factors) RUN(clip_sum) RUN(statistic_sum)
    return 1;
}
