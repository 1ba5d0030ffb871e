// Inverses modulo an odd number by steps of division (eprint 2019/266): 62 steps on the lowest words of f and g, then
// once with all of them. For hosts, where it takes a fifth of the time of a power; a device has no use for branches.
#pragma once
#include "limbs.h"

struct Steps {
    static constexpr u64 LOW62 = ~(u64)0 >> 2;
    int64_t u, v, q, r;

    // The matrix of 62 steps, times 2^62; `eta` is minus delta.
    static Steps take(int64_t &eta, u64 f, u64 g) {
        u64 u = 1, v = 0, q = 0, r = 1;
        for (int left = 62;;) {
            const int zeros = __builtin_ctzll(g | ~(u64)0 << left);
            g >>= zeros, u <<= zeros, v <<= zeros, eta -= zeros, left -= zeros;
            if (left == 0) break;
            u64 times;
            if (eta < 0) {
                eta = -eta;
                u64 before = f;
                f = g, g = -before, before = u, u = q, q = -before, before = v, v = r, r = -before;
                // As many zeros at a time as eta allows: at most six by this inverse of f, at most four by the other.
                times = f * g * (f * f - 2) & (~(u64)0 >> (64 - limit(eta, left)) & 63);
            } else {
                times = -(f + ((f + 1 & 4) << 1)) * g & (~(u64)0 >> (64 - limit(eta, left)) & 15);
            }
            g += f * times, q += u * times, r += v * times;
        }
        return {(int64_t)u, (int64_t)v, (int64_t)q, (int64_t)r};
    }

  private:
    static int limit(int64_t eta, int left) { return eta + 1 > left ? left : (int)eta + 1; }
};

// A signed number in words of 62 bits, of which the last has the sign.
struct Signed {
    int64_t w[5];

    static Signed of(const u64 *limbs) {
        const auto low = [](u64 x) { return (int64_t)(x & Steps::LOW62); };
        return {{low(limbs[0]), low(limbs[0] >> 62 | limbs[1] << 2), low(limbs[1] >> 60 | limbs[2] << 4),
                 low(limbs[2] >> 58 | limbs[3] << 6), (int64_t)(limbs[3] >> 56)}};
    }
    bool is_zero() const { return !(w[0] | w[1] | w[2] | w[3] | w[4]); }
};

// Zero gives zero. The number is one of the field, in no special form.
template <class M> inline void invert_limbs(u64 *out, const u64 *in) {
    using i128 = __int128;
    constexpr u64 LOW62 = Steps::LOW62, INVERSE = (0 - M::negative_inverse) & LOW62;
    const Signed modulus = Signed::of(M::modulus);
    Signed f = modulus, g = Signed::of(in), d = {{0}}, e = {{1}};
    for (int64_t eta = -1; !g.is_zero();) {
        const Steps t = Steps::take(eta, (u64)f.w[0], (u64)g.w[0]);
        // d and e, from minus twice the modulus to below it, with the multiple that makes them divisible by 2^62.
        const int64_t d_sign = d.w[4] >> 63, e_sign = e.w[4] >> 63;
        int64_t md = (t.u & d_sign) + (t.v & e_sign), me = (t.q & d_sign) + (t.r & e_sign);
        i128 cd = (i128)t.u * d.w[0] + (i128)t.v * e.w[0], ce = (i128)t.q * d.w[0] + (i128)t.r * e.w[0];
        md -= (int64_t)((INVERSE * (u64)cd + (u64)md) & LOW62);
        me -= (int64_t)((INVERSE * (u64)ce + (u64)me) & LOW62);
        i128 cf = (i128)t.u * f.w[0] + (i128)t.v * g.w[0], cg = (i128)t.q * f.w[0] + (i128)t.r * g.w[0];
        cd = (cd + (i128)modulus.w[0] * md) >> 62, ce = (ce + (i128)modulus.w[0] * me) >> 62, cf >>= 62, cg >>= 62;
        for (int i = 1; i < 5; i++) {
            cd += (i128)t.u * d.w[i] + (i128)t.v * e.w[i] + (i128)modulus.w[i] * md;
            ce += (i128)t.q * d.w[i] + (i128)t.r * e.w[i] + (i128)modulus.w[i] * me;
            cf += (i128)t.u * f.w[i] + (i128)t.v * g.w[i];
            cg += (i128)t.q * f.w[i] + (i128)t.r * g.w[i];
            d.w[i - 1] = (int64_t)((u64)cd & LOW62), e.w[i - 1] = (int64_t)((u64)ce & LOW62);
            f.w[i - 1] = (int64_t)((u64)cf & LOW62), g.w[i - 1] = (int64_t)((u64)cg & LOW62);
            cd >>= 62, ce >>= 62, cf >>= 62, cg >>= 62;
        }
        d.w[4] = (int64_t)cd, e.w[4] = (int64_t)ce, f.w[4] = (int64_t)cf, g.w[4] = (int64_t)cg;
    }
    // f is one or minus one; so is d the inverse or its opposite, up to the modulus.
    const auto settle = [&](bool is_opposite, int times) {
        int64_t over = 0;
        for (int i = 0; i < 5; i++) {
            over += (is_opposite ? -d.w[i] : d.w[i]) + times * modulus.w[i];
            d.w[i] = i < 4 ? (int64_t)((u64)over & LOW62) : over;
            over >>= 62;
        }
    };
    settle(f.w[4] < 0, 0);
    while (d.w[4] < 0) settle(false, 1);
    u64 r[4] = {(u64)d.w[0] | (u64)d.w[1] << 62, (u64)d.w[1] >> 2 | (u64)d.w[2] << 60, (u64)d.w[2] >> 4 | (u64)d.w[3] << 58,
                (u64)d.w[3] >> 6 | (u64)d.w[4] << 56};
    const auto is_over = [&] {
        for (int i = 3; i >= 0; i--)
            if (r[i] != M::modulus[i]) return r[i] > M::modulus[i];
        return true;
    };
    if (is_over()) {
        u64 borrow = 0;
        for (int i = 0; i < 4; i++) {
            const u128 less = (u128)r[i] - M::modulus[i] - borrow;
            r[i] = (u64)less, borrow = (u64)(less >> 64) & 1;
        }
    }
    for (int i = 0; i < 4; i++) out[i] = r[i];
}
