// The transforms of ntt.h, eight numbers at a time. Number k·N/8 + j of a vector of N is lane k of place j, so all but
// the first three stages of a transform down (the last three of one up) are the same in every lane; those three take
// eight neighbours a lane each, and what lies between is a transpose.
//
// Roots are in Montgomery form for 2^260, so numbers keep the form they have. Where a transform down goes on to the odd
// powers of the 2N-th root, the powers of it that its results are to be multiplied with are in its roots already.
#pragma once
#include "lanes.h"
#include <memory>
#include <vector>

#if TB_LANES
class LaneRoots {
  public:
    static constexpr int POWER_MIN = 6;

    // Of stage s, counted from the whole vector on, powers j of the N-th root or its inverse, times the 2N-th root
    // where it is twisted, all to the power 2^s.
    LaneRoots(int power, const Fr &step, const Fr &twist) : power(power), vectors((size_t)7 << (power - 6)), scalars((size_t)1 << (power - 3)) {
        Fr root = step, first = twist;
        size_t at = 0;
        for (int stage = 0; stage < power; stage++) {
            const size_t half = (size_t)1 << (power - stage - 1);
            Fr value = first, eight[LANES];
            for (int i = 0; i < 4; i++) value = twice(value);
            if (stage == 3) at = 0;
            for (size_t j = 0; j < half; j++, value = value * root) {
                if (stage < 3) {
                    eight[j % LANES] = value;
                    if (j % LANES == LANES - 1) vectors[at++] = Fr8::load(eight);
                } else {
                    u64 *l = scalars[at++].l;
                    l[0] = value.l[0] & LOW52, l[1] = (value.l[0] >> 52 | value.l[1] << 12) & LOW52;
                    l[2] = (value.l[1] >> 40 | value.l[2] << 24) & LOW52;
                    l[3] = (value.l[2] >> 28 | value.l[3] << 36) & LOW52, l[4] = value.l[3] >> 16;
                }
            }
            root = square(root), first = square(first);
        }
    }
    // Vectors of stage 0, 1 or 2.
    const Fr8 *of_vectors(int stage) const { return vectors.data() + (stage > 0 ? 4 << (power - 6) : 0) + (stage > 1 ? 2 << (power - 6) : 0); }
    Fr8 get(size_t at) const { return Fr8::of(scalars[at].l); }
    // Where the roots of a later stage begin, whose half has so many places.
    size_t start(size_t half) const { return scalars.size() - 2 * half; }

  private:
    struct Limbs {
        u64 l[5];
    };
    const int power;
    std::vector<Fr8> vectors;
    std::vector<Limbs> scalars;
};

// What lies between the halves of a transform, or before its end.
class LaneVector {
  public:
    explicit LaneVector(int power) : power(power), eighth((size_t)1 << (power - 3)), places(new Fr8[eighth]) {}

    // From natural order. Stored numbers are below 2.2 times the modulus throughout.
    void go_down(const Fr *in, const LaneRoots &roots) {
        for (size_t j = 0; j < eighth; j += LANES) {
            Fr8 x[8];
            for (int k = 0; k < 8; k++) x[k] = Fr8::load(in + k * eighth + j);
            const size_t at = j / LANES, step = eighth / LANES;
            for (int k = 0; k < 4; k++) cross_down<2>(x[k], x[k + 4], roots.of_vectors(0)[k * step + at]);
            for (int h = 0; h < 8; h += 4)
                for (int k = 0; k < 2; k++) cross_down<3>(x[h + k], x[h + k + 2], roots.of_vectors(1)[k * step + at]);
            for (int h = 0; h < 8; h += 2) {
                cross_down<5>(x[h], x[h + 1], roots.of_vectors(2)[at]);
                x[h] = tidy<2>(x[h]), x[h + 1] = carry(x[h + 1]);
            }
            transpose(x, &places[j]);
        }
        down(places.get(), eighth, roots);
    }
    // To natural order, below 2.2 times the modulus.
    void go_up(Fr *out, const LaneRoots &roots) {
        up(places.get(), eighth, roots);
        for (size_t j = 0; j < eighth; j += LANES) {
            Fr8 x[8];
            transpose(&places[j], x);
            const size_t at = j / LANES, step = eighth / LANES;
            for (int h = 0; h < 8; h += 2) cross_up(x[h], x[h + 1], roots.of_vectors(2)[at]);
            for (int h = 0; h < 8; h += 4)
                for (int k = 0; k < 2; k++) cross_up(x[h + k], x[h + k + 2], roots.of_vectors(1)[k * step + at]);
            for (int k = 0; k < 4; k++) cross_up(x[k], x[k + 4], roots.of_vectors(0)[k * step + at]);
            for (int k = 0; k < 8; k++) x[k].store(out + k * eighth + j);
        }
    }
    // After a transform down, times a factor (a plain number), in natural order.
    void store_reversed(Fr *out, const Fr &factor) const {
        const Fr8 by = Fr8::from(factor);
        const Vector swapped = v_load(REVERSED);
        for (size_t j = 0; j < eighth; j++) {
            Fr8 x = canonical(tidy<1>(mul_raw(places[j], by)));
            for (Vector &limb : x.l) limb = v_look_up(limb, swapped);
            size_t place = 0;
            for (int i = 0; i < power - 3; i++) place |= (j >> i & 1) << (power - 4 - i);
            x.store(out + LANES * place);
        }
    }

  private:
    static constexpr u64 REVERSED[LANES] = {0, 4, 2, 6, 1, 5, 3, 7};

    static TB_INLINE void transpose(const Fr8 *in, Fr8 *out) {
        for (int l = 0; l < 5; l++) {
            Vector rows[8];
            for (int i = 0; i < 8; i++) rows[i] = in[i].l[l];
            v_transpose(rows);
            for (int i = 0; i < 8; i++) out[i].l[l] = rows[i];
        }
    }
    // The sum stays raw; the difference is raised by so many times the modulus, and a product raw.
    template <int TIMES> static TB_INLINE void cross_down(Fr8 &low, Fr8 &high, const Fr8 &root) {
        const Fr8 sum = low + high;
        high = mul_raw(carry(raise<TIMES>(low - high)), root);
        low = sum;
    }
    static TB_INLINE void cross_up(Fr8 &low, Fr8 &high, const Fr8 &root) {
        const Fr8 product = mul_raw(high, root), sum = tidy<2>(low + product);
        high = tidy<2>(raise<2>(low - product));
        low = sum;
    }

    // Two stages at a time, and all of a quarter before the next one is touched.
    static void down(Fr8 *v, size_t size, const LaneRoots &roots) {
        const size_t start = roots.start(size / 2), quarter = size / 4, next = roots.start(quarter);
        if (size == 2) {
            cross_down<3>(v[0], v[1], roots.get(start));
            v[0] = tidy<2>(v[0]), v[1] = carry(v[1]);
        }
        if (size < 4) return;
        for (size_t j = 0; j < quarter; j++) {
            Fr8 a = v[j], b = v[j + quarter], c = v[j + 2 * quarter], d = v[j + 3 * quarter];
            const Fr8 root = roots.get(next + j);
            cross_down<3>(a, c, roots.get(start + j));
            cross_down<3>(b, d, roots.get(start + j + quarter));
            cross_down<5>(a, b, root);
            cross_down<2>(c, d, root);
            v[j] = tidy<2>(a), v[j + quarter] = carry(b), v[j + 2 * quarter] = carry(c), v[j + 3 * quarter] = carry(d);
        }
        for (int k = 0; k < 4; k++) down(v + k * quarter, quarter, roots);
    }
    static void up(Fr8 *v, size_t size, const LaneRoots &roots) {
        const size_t start = roots.start(size / 2), quarter = size / 4, next = roots.start(quarter);
        if (size == 2) cross_up(v[0], v[1], roots.get(start));
        if (size < 4) return;
        for (int k = 0; k < 4; k++) up(v + k * quarter, quarter, roots);
        for (size_t j = 0; j < quarter; j++) {
            const Fr8 root = roots.get(next + j), a = v[j], c = v[j + 2 * quarter];
            const Fr8 b = mul_raw(v[j + quarter], root), d = mul_raw(v[j + 3 * quarter], root);
            const Fr8 left = a + b, right = raise<2>(a - b);
            const Fr8 e = mul_raw(carry(c + d), roots.get(start + j)), f = mul_raw(carry(raise<2>(c - d)), roots.get(start + j + quarter));
            v[j] = tidy<2>(left + e), v[j + 2 * quarter] = tidy<2>(raise<2>(left - e));
            v[j + quarter] = tidy<2>(right + f), v[j + 3 * quarter] = tidy<2>(raise<2>(right - f));
        }
    }

    const int power;
    const size_t eighth;
    std::unique_ptr<Fr8[]> places;
};
#endif
