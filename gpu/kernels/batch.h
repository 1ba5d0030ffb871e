// Additions of affine points that share one inversion: six products each.
#pragma once
#include "curve.h"
#include "lanes.h"
#include <memory>

// Sums may be stored a little above the modulus.
inline Fp settled(const Fp &x) { return x.is_canonical() ? x : x - Fp::of(FpModulus::modulus); }
inline Fp2 settled(const Fp2 &x) { return {settled(x.a), settled(x.b)}; }

template <class F> class Batch {
  public:
    static constexpr size_t SIZE = sizeof(F) == sizeof(Fp) ? 2048 : 1024;
    static constexpr unsigned MINUS_P = 1, MINUS_Q = 2;
    // Eight at a time, where the processor can.
    bool has_lanes = TB_LANES;

    // `*out` becomes p + q at `flush`; until then p and q must stay as they are, and out may only be one of them.
    void add(const Affine<F> *p, const Affine<F> *q, Affine<F> *out, unsigned signs = 0) {
        const size_t group = count / LANES, lane = count % LANES;
        if (lane == 0) minus_p[group] = minus_q[group] = 0;
        minus_p[group] |= (u8)((signs & MINUS_P ? 1 : 0) << lane);
        minus_q[group] |= (u8)((signs & MINUS_Q ? 1 : 0) << lane);
        ps[count] = p, qs[count] = q, outs[count] = out;
        if (++count == SIZE) flush();
    }

    void flush() {
        if (count == 0) return;
        fixed_count = 0;
#if TB_LANES
        if (has_lanes) {
            // Lanes without a pair add nothing to nothing.
            while (count % LANES) ps[count] = qs[count] = &nothing, outs[count++] = &nowhere;
            add_by_lanes();
        } else
#endif
            add_one_by_one();
        for (size_t i = 0; i < fixed_count; i++) *fixed_outs[i] = fixed[i];
        count = 0;
    }

  private:
    Affine<F> operand(const Affine<F> *point, const u8 *signs, size_t i) const {
        return signs[i / LANES] >> i % LANES & 1 ? -*point : *point;
    }
    void fix(size_t i, const Affine<F> &sum) { fixed_outs[fixed_count] = outs[i], fixed[fixed_count++] = sum; }

    void add_one_by_one() {
        F running = F::one();
        for (size_t i = 0; i < count; i++) {
            const Affine<F> p = operand(ps[i], minus_p, i), q = operand(qs[i], minus_q, i);
            F denominator = q.x - p.x, numerator = q.y - p.y;
            if (p.is_infinity() || q.is_infinity()) {
                fix(i, p.is_infinity() ? q : p);
                denominator = F::one();
            } else if (denominator.is_zero()) {
                if (numerator.is_zero()) {
                    // The tangent; no point of either curve has order two, so y is not zero.
                    const F xx = square(p.x);
                    denominator = twice(p.y), numerator = twice(xx) + xx;
                } else {
                    fix(i, Affine<F>::infinity());
                    denominator = F::one();
                }
            }
            prefixes[i] = running, denominators[i] = denominator, numerators[i] = numerator;
            running = running * denominator;
        }
        running = inverse(running);
        for (size_t i = count; i-- > 0;) {
            const Affine<F> p = operand(ps[i], minus_p, i);
            const F slope = running * prefixes[i] * numerators[i];
            running = running * denominators[i];
            const F x3 = square(slope) - p.x - qs[i]->x;
            *outs[i] = {x3, slope * (p.x - x3) - p.y};
        }
    }

#if TB_LANES
    using F8 = typename LanesOf<F>::Type;
    struct Group {
        F8 dx, dy, x, y, xs, prefix;
    };

    // Each lane multiplies up the denominators of its own. What is stored is hardly above the modulus, and not below it.
    //
    // All values are a sixteenth of what they are outside, except slopes, which are quotients. With a quarter of each
    // slope, its square is a sixteenth of the square, as the sum for x wants it, and four times its product with a
    // sixteenth is what the sum for y wants. The quarter comes in once, with the inverse from which all quotients follow.
    void add_by_lanes() {
        const size_t group_count = count / LANES;
        F8 running = F8::one();
        for (size_t g = 0; g < group_count; g++) {
            Group &group = groups[g];
            F8 qx, qy;
            const Mask none_p = load_points(ps + g * LANES, group.x, group.y), none_q = load_points(qs + g * LANES, qx, qy);
            group.y = pick(minus_p[g], group.y, raise<1>(F8{} - group.y));
            qy = pick(minus_q[g], qy, raise<1>(F8{} - qy));
            group.dx = carry(raise<2>(qx - group.x));
            group.dy = carry(raise<2>(qy - group.y));
            group.xs = group.x + qx;
            const Mask equal = is_zero(group.dx);
            if (none_p | none_q | equal) add_special(g, none_p, none_q, equal);
            group.prefix = running;
            running = g ? running * group.dx : group.dx;
        }
        alignas(64) F totals[LANES];
        store_lanes(carry(running), totals);
        invert(totals);
        load_lanes(totals, running);
        for (size_t g = group_count; g-- > 0;) {
            const Group &group = groups[g];
            const F8 slope = (g ? running * group.prefix : running) * group.dy;
            if (g) running = running * group.dx;
            const F8 x = tidy<1>(raise<3>(square_raw(slope) - group.xs));
            const F8 product = mul_raw(slope, carry(raise<2>(group.x - x)));
            store_points(outs + g * LANES, x, tidy<1>(raise<2>(shift<2>(product) - group.y)));
        }
    }

    __attribute__((noinline)) void add_special(size_t g, Mask none_p, Mask none_q, Mask equal) {
        Group &group = groups[g];
        const Mask none = none_p | none_q, same = equal & is_zero(group.dy) & ~none, divided_by_one = none | (equal & ~same);
        if (same) {
            // The tangent; no point of either curve has order two, so y is not zero.
            const F8 xx = square_raw(group.x), three = tidy<1>(xx + xx + xx);
            group.dy = pick(same, group.dy, tidy<1>(shift<2>(tidy<1>(shift<2>(three)))));
            group.dx = pick(same, group.dx, carry(raise<1>(group.y + group.y)));
        }
        group.dx = pick(divided_by_one, group.dx, F8::one());
        for (size_t lane = 0; lane < LANES; lane++) {
            const size_t i = g * LANES + lane;
            if (none_p >> lane & 1) fix(i, operand(qs[i], minus_q, i));
            else if (none_q >> lane & 1) fix(i, operand(ps[i], minus_p, i));
            else if (divided_by_one >> lane & 1) fix(i, Affine<F>::infinity());
        }
    }

    // 1/16 of the inverse of 16 times the product is loaded: 64 times that is a quarter of the inverse.
    static void invert(F *values) {
        F before[LANES], running = F::one();
        for (size_t i = 0; i < LANES; i++) {
            before[i] = running;
            running = running * values[i];
        }
        running = inverse(running);
        for (size_t i = LANES; i-- > 0;) {
            F one_over = running * before[i];
            running = running * values[i];
            for (int k = 0; k < 6; k++) one_over = twice(one_over);
            values[i] = one_over;
        }
    }

    alignas(64) Group groups[SIZE / LANES];
    inline static const Affine<F> nothing = Affine<F>::infinity();
#endif
    size_t count = 0, fixed_count = 0;
    const Affine<F> *ps[SIZE], *qs[SIZE];
    Affine<F> *outs[SIZE], *fixed_outs[SIZE];
    u8 minus_p[SIZE / LANES], minus_q[SIZE / LANES];
    Affine<F> fixed[SIZE];
    F prefixes[SIZE], denominators[SIZE], numerators[SIZE];
    alignas(64) Affine<F> nowhere;
};

// Whether eight at a time gives what one by one does: asked once, before such a library is used.
template <class F> bool lanes_agree() {
    constexpr size_t COUNT = 8 * LANES;
    Affine<F> points[COUNT], made[2][COUNT];
    // Any elements will do: the formulas do not ask for a curve.
    F value = twice(F::one()) + F::one();
    const auto next = [&] { return value = square(value) - F::one(); };
    for (size_t i = 0; i < COUNT; i++) points[i] = {next(), next()};
    points[3] = Affine<F>::infinity(), points[12] = points[11], points[22] = -points[21], points[33] = -points[32];
    auto batch = std::make_unique<Batch<F>>();
    for (Affine<F> *out : made) {
        for (size_t i = 0; i < COUNT; i++) batch->add(points + i, points + (i + 1) % COUNT, out + i, i % 4);
        batch->flush();
        batch->has_lanes = false;
    }
    for (size_t i = 0; i < COUNT; i++)
        if (settled(made[0][i].x) != made[1][i].x || settled(made[0][i].y) != made[1][i].y) return false;
    return true;
}
