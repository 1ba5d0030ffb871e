// The C interface of the kernels: what theblock_kernels declares. Buffers are bytes of the caller's, of the sizes
// that theblock_kernels checked; nothing is kept of them. Elements are 32 bytes, little-endian, either plain or in
// Montgomery form as `.zkey` files have them; a point is x then y, infinity all zero.
#include "groth16.h"
#include <new>

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {
constexpr int OK = 0, NO_MEMORY = -1, NOT_CANONICAL = -2, FAILED = -3;

template <class Body> int guarded(Body body) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return NO_MEMORY;
    } catch (...) {
        return FAILED;
    }
}

// Behind so many that are all zero.
template <class T> std::vector<T> read(const void *from, size_t count, size_t zeros = 0) {
    std::vector<T> values(zeros + count);
    if (count) memcpy((void *)(values.data() + zeros), from, count * sizeof(T));
    return values;
}
template <class T> T read_one(const void *from) {
    T value;
    memcpy((void *)&value, from, sizeof value);
    return value;
}
template <class T> void write(void *to, const T &value) { memcpy(to, (const void *)&value, sizeof value); }

template <class F> bool are_canonical(const std::vector<F> &values) {
    return std::all_of(values.begin(), values.end(), [](const F &value) { return value.is_canonical(); });
}
template <class F> bool are_canonical(const std::vector<Affine<F>> &points) {
    return std::all_of(points.begin(), points.end(),
                       [](const Affine<F> &point) { return point.x.is_canonical() && point.y.is_canonical(); });
}

template <class F> int compute_field(int operation, const void *left, const void *right, void *out, size_t count) {
    auto a = read<F>(left, count), b = read<F>(right, count);
    if (!are_canonical(a) || !are_canonical(b)) return NOT_CANONICAL;
    for (size_t i = 0; i < count; i++) {
        const F x = to_montgomery(a[i]), y = to_montgomery(b[i]);
        const F results[] = {operation == 0 ? x + y : x, operation == 1 ? x - y : x, operation == 2 ? x * y : x,
                             operation == 3 ? inverse(x) : x};
        a[i] = from_montgomery(results[operation]);
    }
    memcpy(out, (const void *)a.data(), count * sizeof(F));
    return OK;
}
template <class F> int convert(bool to, const void *in, void *out, size_t count) {
    auto values = read<F>(in, count);
    if (!are_canonical(values)) return NOT_CANONICAL;
    for (F &value : values) value = to ? to_montgomery(value) : from_montgomery(value);
    memcpy(out, (const void *)values.data(), count * sizeof(F));
    return OK;
}
template <class F> int compute_msm(const void *points, const void *scalars, size_t count, int window_bits, void *out) {
    const auto bases = read<Affine<F>>(points, count);
    const auto factors = read<Fr>(scalars, count);
    if (!are_canonical(bases) || !are_canonical(factors)) return NOT_CANONICAL;
    write(out, to_affine(msm(bases.data(), factors.data()->l, count, window_bits)));
    return OK;
}

// The tables of the transform that was asked for last are kept.
std::shared_ptr<const Domain> domain_of(int power) {
    static std::mutex mutex;
    static std::shared_ptr<const Domain> last;
    std::lock_guard<std::mutex> lock(mutex);
    if (!last || last->power != power) last = std::make_shared<const Domain>(power);
    return last;
}

// A base times each scalar, by a table for every eight bits.
template <class F> int compute_multiples(const void *base, const void *scalars, size_t count, void *out) {
    constexpr int DIGITS = 32, VALUES = 256;
    const auto factors = read<Fr>(scalars, count);
    if (!are_canonical(factors)) return NOT_CANONICAL;
    std::vector<Affine<F>> table((size_t)DIGITS * VALUES);
    std::vector<Xyzz<F>> sums(VALUES + 1);
    std::vector<F> scratch(VALUES + 1);
    Affine<F> step = read_one<Affine<F>>(base);
    for (int digit = 0; digit < DIGITS; digit++) {
        sums[0] = Xyzz<F>::infinity();
        for (int value = 1; value <= VALUES; value++) sums[value] = sums[value - 1] + step;
        to_affine_batch(sums.data(), &table[(size_t)digit * VALUES], scratch.data(), VALUES);
        step = to_affine(sums[VALUES]);
    }
    constexpr size_t PART = 256;
    std::vector<Affine<F>> results(count);
    std::vector<Task> tasks;
    for (size_t first = 0; first < count; first += PART)
        tasks.push_back([&, first] {
            const size_t size = std::min(PART, count - first);
            std::vector<Xyzz<F>> totals(size, Xyzz<F>::infinity());
            std::vector<F> space(size);
            for (size_t i = 0; i < size; i++)
                for (int digit = 0; digit < DIGITS; digit++)
                    totals[i] = totals[i] + table[digit * VALUES + (factors[first + i].l[digit / 8] >> digit % 8 * 8 & 255)];
            to_affine_batch(totals.data(), &results[first], space.data(), size);
        });
    run_all(tasks);
    if (count) memcpy(out, (const void *)results.data(), count * sizeof(Affine<F>));
    return OK;
}
}  // namespace

EXPORT const char *tb_back_end() { return BACK_END; }
EXPORT int tb_is_supported() {
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(__AVX512IFMA__)
    if (!__builtin_cpu_supports("avx512ifma") || !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return 0;
#endif
#if TB_ADX
    u32 a, b, c, d;
    asm("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    if (!(b >> 8 & 1) || !(b >> 19 & 1)) return 0;
#endif
#endif
    return lanes_agree<Fp>() && lanes_agree<Fp2>();
}
EXPORT void tb_set_threads(int count) { thread_count = std::max(1, count); }

EXPORT int tb_field(int field, int operation, const void *left, const void *right, void *out, size_t count) {
    return guarded([&] {
        return field ? compute_field<Fr>(operation, left, right, out, count)
                     : compute_field<Fp>(operation, left, right, out, count);
    });
}
EXPORT int tb_convert(int field, int to, const void *in, void *out, size_t count) {
    return guarded([&] { return field ? convert<Fr>(to, in, out, count) : convert<Fp>(to, in, out, count); });
}
EXPORT int tb_g1_msm(const void *points, const void *scalars, size_t count, int window_bits, void *out) {
    return guarded([&] { return compute_msm<Fp>(points, scalars, count, window_bits, out); });
}
EXPORT int tb_g2_msm(const void *points, const void *scalars, size_t count, int window_bits, void *out) {
    return guarded([&] { return compute_msm<Fp2>(points, scalars, count, window_bits, out); });
}
EXPORT int tb_g1_multiples(const void *base, const void *scalars, size_t count, void *out) {
    return guarded([&] { return compute_multiples<Fp>(base, scalars, count, out); });
}
EXPORT int tb_g2_multiples(const void *base, const void *scalars, size_t count, void *out) {
    return guarded([&] { return compute_multiples<Fp2>(base, scalars, count, out); });
}
EXPORT int tb_g2_in_group(const void *points, size_t count, u8 *out) {
    return guarded([&] {
        const auto all = read<G2>(points, count);
        if (!are_canonical(all)) return NOT_CANONICAL;
        std::vector<Task> tasks;
        for (size_t i = 0; i < count; i++)
            tasks.push_back([&, i] { out[i] = is_on_curve(all[i], Fp2::of(G2_B)) && is_in_g2(all[i]); });
        run_all(tasks);
        return OK;
    });
}

// 0: to values, 1: to coefficients, 2: to the odd points; plain numbers, in place.
EXPORT int tb_transform(int kind, int power, void *values) {
    return guarded([&] {
        const auto tables = domain_of(power);
        const Domain &domain = *tables;
        auto v = read<Fr>(values, domain.size);
        if (!are_canonical(v)) return NOT_CANONICAL;
        if (kind == 0) domain.ntt(v.data());
        if (kind == 1) domain.intt(v.data());
        if (kind == 2) {
            domain.to_odd_points(v.data());
            for (Fr &value : v) value = value * domain.one_over_size;
        }
        memcpy(values, (const void *)v.data(), domain.size * sizeof(Fr));
        return OK;
    });
}

EXPORT int tb_miller_loop(const void *lefts, const void *rights, size_t count, void *out) {
    return guarded([&] {
        const auto left = read<G1>(lefts, count);
        const auto right = read<G2>(rights, count);
        if (!are_canonical(left) || !are_canonical(right)) return NOT_CANONICAL;
        std::vector<std::vector<Line>> lines;
        std::vector<Pair> pairs;
        for (size_t i = 0; i < count; i++) {
            if (left[i].is_infinity() || right[i].is_infinity()) continue;
            lines.push_back(lines_of(right[i]));
            pairs.push_back({left[i], lines.back().data()});
        }
        write(out, miller_loop(pairs.data(), pairs.size()));
        return OK;
    });
}
EXPORT int tb_final_exponentiation(const void *in, void *out) {
    return guarded([&] {
        write(out, final_exponentiation(read_one<Fp12>(in)));
        return OK;
    });
}

// `fixed` holds alpha1, beta1, delta1, beta2, delta2; coefficients are as in the file's section.
EXPORT ProvingKey *tb_proving_key_new(size_t wires, size_t publics, int power, const void *fixed, const void *coefficients,
                                      size_t coefficient_count, const void *a, const void *b1, const void *b2,
                                      const void *c, const void *h) {
    try {
        const u8 *at = (const u8 *)fixed;
        auto key = std::unique_ptr<ProvingKey>(new ProvingKey{
            wires, publics, read_one<G1>(at), read_one<G1>(at + 64), read_one<G1>(at + 128), read_one<G2>(at + 192),
            read_one<G2>(at + 320), read<Coefficient>(coefficients, coefficient_count), read<G1>(a, wires),
            read<G1>(b1, wires), read<G1>(c, wires - publics - 1, publics + 1), read<G1>(h, (size_t)1 << power), read<G2>(b2, wires),
            Domain(power)});
        const auto fits = [&](const Coefficient &entry) {
            u64 value[4];
            memcpy(value, entry.value, sizeof value);
            return entry.matrix <= 1 && entry.row < key->domain.size && entry.wire < wires && Fr::of(value).is_canonical();
        };
        const bool is_sound = are_canonical(key->a.points) && are_canonical(key->b1.points) && are_canonical(key->b2.points) &&
                              are_canonical(key->c.points) && are_canonical(key->h.points) &&
                              are_canonical(read<Fp>(fixed, 14)) &&
                              std::all_of(key->coefficients.begin(), key->coefficients.end(), fits);
        return is_sound ? key.release() : nullptr;
    } catch (...) {
        return nullptr;
    }
}
EXPORT void tb_proving_key_free(ProvingKey *key) { delete key; }
EXPORT int tb_rows(const ProvingKey *key, int matrix, const void *witness, void *out) {
    return guarded([&] {
        const auto wires = read<Fr>(witness, key->wire_count);
        if (!are_canonical(wires)) return NOT_CANONICAL;
        std::vector<Fr> rows(key->domain.size);
        compute_rows(*key, (u32)matrix, wires.data()->l, rows.data());
        for (Fr &row : rows) row = from_montgomery(row);
        memcpy(out, (const void *)rows.data(), rows.size() * sizeof(Fr));
        return OK;
    });
}
EXPORT int tb_quotient(const ProvingKey *key, const void *witness, void *out) {
    return guarded([&] {
        const auto wires = read<Fr>(witness, key->wire_count);
        if (!are_canonical(wires)) return NOT_CANONICAL;
        Quotient quotient(*key, wires.data()->l);
        std::vector<Task> tasks;
        quotient.add_tasks(tasks);
        run_all(tasks);
        memcpy(out, quotient.scalars(), key->domain.size * sizeof(Fr));
        return OK;
    });
}
EXPORT int tb_prove(const ProvingKey *key, const void *witness, const void *r, const void *s, void *out) {
    return guarded([&] {
        auto wires = read<Fr>(witness, key->wire_count);
        const Fr blinders[2] = {read_one<Fr>(r), read_one<Fr>(s)};
        if (!are_canonical(wires) || !blinders[0].is_canonical() || !blinders[1].is_canonical()) return NOT_CANONICAL;
        write(out, prove(*key, wires.data()->l, blinders[0].l, blinders[1].l));
        // The witness is its owner's secret: nothing of it stays in freed memory.
        std::fill(wires.begin(), wires.end(), Fr::zero());
        asm volatile("" : : "r"(wires.data()) : "memory");
        return OK;
    });
}

// `fixed` holds alpha1, beta2, gamma2, delta2.
EXPORT VerifyingKey *tb_verifying_key_new(const void *fixed, const void *ic, size_t ic_count) {
    try {
        const u8 *at = (const u8 *)fixed;
        const auto lines = lines_of(read_one<G2>(at + 64));
        const Pair pair = {read_one<G1>(at), lines.data()};
        return new VerifyingKey{miller_loop(&pair, 1), lines_of(read_one<G2>(at + 192)), lines_of(read_one<G2>(at + 320)),
                                read<G1>(ic, ic_count)};
    } catch (...) {
        return nullptr;
    }
}
EXPORT void tb_verifying_key_free(VerifyingKey *key) { delete key; }
EXPORT int tb_holds(const VerifyingKey *key, const void *proofs, const void *weights, size_t count, const void *inputs) {
    return guarded([&] {
        const auto factors = read<Fr>(weights, count), sums = read<Fr>(inputs, key->ic.size());
        if (!are_canonical(factors) || !are_canonical(sums)) return NOT_CANONICAL;
        const auto all = read<Proof>(proofs, count);
        return (int)holds(*key, all.data(), factors.data()->l, count, sums.data()->l);
    });
}

// For timing: so many products, each of the one before, and so many additions to one point.
EXPORT void tb_repeat_mul(int field, size_t count, void *value) {
    if (field) {
        Fr x = read_one<Fr>(value);
        const Fr y = x;
        for (size_t i = 0; i < count; i++) x = x * y;
        write(value, x);
    } else {
        Fp x = read_one<Fp>(value);
        const Fp y = x;
        for (size_t i = 0; i < count; i++) x = x * y;
        write(value, x);
    }
}
// Products by eights: so many of each of four chains, so 32 times the count. 0 where there are no lanes.
EXPORT int tb_repeat_mul_lanes(size_t count, void *value) {
#if TB_LANES
    Fp in[LANES];
    for (size_t i = 0; i < LANES; i++) in[i] = read_one<Fp>(value);
    const Fp8 y = Fp8::load(in);
    Fp8 x[4] = {y, y, y, y};
    for (size_t i = 0; i < count; i++)
        for (Fp8 &each : x) each = each * y;
    canonical(tidy<1>(x[0] + x[1] + x[2] + x[3])).store(in);
    write(value, in[0]);
    return 1;
#else
    (void)count, (void)value;
    return 0;
#endif
}
EXPORT int tb_repeat_transform(int power, size_t count) {
    return guarded([&] {
        const auto domain = domain_of(power);
        std::vector<Fr> values(domain->size);
        for (size_t i = 0; i < values.size(); i++) values[i] = to_montgomery(Fr{{i, i + 1, i + 2, i + 3}});
        for (size_t i = 0; i < count; i++) domain->ntt(values.data());
        return OK;
    });
}
EXPORT void tb_repeat_add(size_t count, void *point) {
    const G1 base = read_one<G1>(point);
    Xyzz<Fp> sum = twice_point(Xyzz<Fp>::of(base));
    for (size_t i = 0; i < count; i++) sum = sum + base;
    write(point, to_affine(sum));
}
