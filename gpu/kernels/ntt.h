// Transforms over Fr. The exact twin is core/proofs/polynomial.py.
// Between the two halves of a coset transform nothing is reordered: decimation in frequency leaves bits reversed,
// decimation in time takes them so.
#pragma once
#include "ntt_lanes.h"
#include <algorithm>

inline Fr root_of_unity(int power) {
    Fr root = Fr::of(ROOT_OF_UNITY);
    for (int i = power; i < TWO_ADICITY; i++) root = square(root);
    return root;
}

// The powers of the 2N-th root, N of them, and of its inverse: every stage finds its own among them. Numbers may be
// plain or in Montgomery form: they keep it.
class Domain {
  public:
    explicit Domain(int power) : power(power), size((size_t)1 << power), one_over_size(Fr::one()) {
        const Fr root = root_of_unity(power + 1), inverse_root = inverse(root);
        for (int i = 0; i < power; i++) one_over_size = one_over_size * Fr::of(FrModulus::half);
#if TB_LANES
        if (power >= LaneRoots::POWER_MIN) {
            lanes_up = std::make_unique<LaneRoots>(power, square(root), Fr::one());
            lanes_to_odd = std::make_unique<LaneRoots>(power, square(inverse_root), root);
            return;
        }
#endif
        roots.resize(size), inverse_roots.resize(size);
        roots[0] = inverse_roots[0] = Fr::one();
        for (size_t i = 1; i < size; i++) {
            roots[i] = roots[i - 1] * root;
            inverse_roots[i] = inverse_roots[i - 1] * inverse_root;
        }
    }

    // Coefficients in natural order to values in bit-reversed order, or the other way with the inverse roots.
    void natural_to_reversed(Fr *v, const std::vector<Fr> &table) const {
        for (size_t half = size / 2, step = 2; half >= 1; half /= 2, step *= 2)
            for (size_t start = 0; start < size; start += 2 * half) {
                cross(v[start], v[start + half]);
                for (size_t i = 1; i < half; i++) {
                    cross(v[start + i], v[start + half + i]);
                    v[start + half + i] = v[start + half + i] * table[i * step];
                }
            }
    }
    void reversed_to_natural(Fr *v, const std::vector<Fr> &table) const {
        for (size_t half = 1, step = size; half < size; half *= 2, step /= 2)
            for (size_t start = 0; start < size; start += 2 * half) {
                cross(v[start], v[start + half]);
                for (size_t i = 1; i < half; i++) {
                    v[start + half + i] = v[start + half + i] * table[i * step];
                    cross(v[start + i], v[start + half + i]);
                }
            }
    }
    size_t reversed(size_t at) const {
        size_t result = 0;
        for (int i = 0; i < power; i++) result |= (at >> i & 1) << (power - 1 - i);
        return result;
    }
    void reorder(Fr *v) const {
        for (size_t i = 0; i < size; i++) {
            const size_t j = reversed(i);
            if (i < j) std::swap(v[i], v[j]);
        }
    }

    void ntt(Fr *v) const {
#if TB_LANES
        if (lanes_up) return transform_by_lanes(v, Fr::one());
#endif
        natural_to_reversed(v, roots);
        reorder(v);
    }
    void intt(Fr *v) const {
#if TB_LANES
        if (lanes_up) {
            transform_by_lanes(v, one_over_size);
            std::reverse(v + 1, v + size);
            return;
        }
#endif
        natural_to_reversed(v, inverse_roots);
        reorder(v);
        for (size_t i = 0; i < size; i++) v[i] = v[i] * one_over_size;
    }
    // From the values at the N-th roots of unity to N times those at the odd powers of the 2N-th root, which are to be
    // settled: they may be above the modulus.
    void to_odd_points(Fr *v) const {
#if TB_LANES
        if (lanes_up) {
            LaneVector vector(power);
            vector.go_down(v, *lanes_to_odd);
            vector.go_up(v, *lanes_up);
            return;
        }
#endif
        natural_to_reversed(v, inverse_roots);
        for (size_t i = 0; i < size; i++) v[i] = v[i] * roots[reversed(i)];
        reversed_to_natural(v, roots);
    }

    // Products of rows in Montgomery form; for `finish` alone, which knows their form.
    void multiply(const Fr *a, const Fr *b, Fr *c) const {
#if TB_LANES
        if (lanes_up) {
            for (size_t i = 0; i < size; i += LANES) canonical(Fr8::load(a + i) * Fr8::load(b + i)).store(c + i);
            return;
        }
#endif
        for (size_t i = 0; i < size; i++) c[i] = a[i] * b[i];
    }
    // From what `to_odd_points` made of rows A, B and their products to A·B - C, plain, in the place of A.
    void finish(Fr *a, const Fr *b, const Fr *c) const {
        Fr once = one_over_size, twice_over = once * once;
#if TB_LANES
        if (lanes_up) {
            // Products by eights lose 2^260 where there is 2^512, and then have 2^252.
            for (int i = 0; i < 8; i++) once = twice(once), twice_over = twice(twice_over);
            const Fr8 by_once = Fr8::from(from_montgomery(once)), by_twice = Fr8::from(from_montgomery(twice_over));
            for (size_t i = 0; i < size; i += LANES) {
                const Fr8 product = mul_raw(Fr8::load(a + i) * Fr8::load(b + i), by_twice);
                canonical(tidy<1>(raise<2>(product - mul_raw(Fr8::load(c + i), by_once)))).store(a + i);
            }
            return;
        }
#endif
        once = from_montgomery(once), twice_over = from_montgomery(twice_over);
        for (size_t i = 0; i < size; i++) a[i] = a[i] * b[i] * twice_over - c[i] * once;
    }

    const int power;
    const size_t size;
    Fr one_over_size;

  private:
#if TB_LANES
    // The factor is in Montgomery form for 2^256, which is a sixteenth too little.
    void transform_by_lanes(Fr *v, const Fr &factor) const {
        LaneVector vector(power);
        vector.go_down(v, *lanes_up);
        vector.store_reversed(v, twice(twice(twice(twice(factor)))));
    }
    std::unique_ptr<LaneRoots> lanes_up, lanes_to_odd;
#endif
    static void cross(Fr &low, Fr &high) {
        const Fr sum = low + high;
        high = low - high;
        low = sum;
    }

    std::vector<Fr> roots, inverse_roots;
};
