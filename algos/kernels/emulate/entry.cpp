// What Python calls: one launch of the function EMULATE of the file SOURCE.
#include SOURCE

namespace {

std::string told;

template <class... A, size_t... I>
auto bound(void (*kernel)(A...), void** values, std::index_sequence<I...>) {
    return [=] { kernel(*static_cast<std::remove_cv_t<A>*>(values[I])...); };
}

template <class... A>
std::string launch(void (*kernel)(A...), void** values, unsigned count, const unsigned* sizes,
                   size_t shared, unsigned order) {
    if (count != sizeof...(A)) return "the function has another number of arguments";
    auto call = bound(kernel, values, std::index_sequence_for<A...>{});
    return emulate::run_grid({sizes[0], sizes[1], sizes[2]}, {sizes[3], 1, 1}, shared, order, call);
}

}  // namespace

// Returns the error as text, empty if there is none. `tensors` are what the kernel may copy from.
extern "C" const char* emulate_launch(void** values, unsigned count, const unsigned* sizes,
                                      size_t shared, unsigned order,
                                      const emulate::Range* tensors, unsigned tensor_count) {
    emulate::block.tensors.assign(tensors, tensors + tensor_count);
    told = launch(EMULATE, values, count, sizes, shared, order);
    return told.c_str();
}
