// The groups of BN254 over Fp (G1) and Fp2 (G2). The exact twin is core/proofs/curve.py.
// Affine infinity is (0, 0), as in `.zkey` files: no point of either curve. XYZZ infinity has zz = 0.
#pragma once
#include "field.h"

template <class F> struct Affine {
    F x, y;

    static Affine infinity() { return {F::zero(), F::zero()}; }
    bool is_infinity() const { return x.is_zero() && y.is_zero(); }
};
template <class F> inline Affine<F> operator-(const Affine<F> &p) { return {p.x, -p.y}; }

template <class F> struct Xyzz {
    F x, y, zz, zzz;

    static Xyzz infinity() { return {F::zero(), F::zero(), F::zero(), F::zero()}; }
    static Xyzz of(const Affine<F> &p) {
        return p.is_infinity() ? infinity() : Xyzz{p.x, p.y, F::one(), F::one()};
    }
    bool is_infinity() const { return zz.is_zero(); }
};
using G1 = Affine<Fp>;
using G2 = Affine<Fp2>;

template <class F> TB_APART Xyzz<F> twice_point(const Xyzz<F> &p) {
    if (p.is_infinity()) return p;
    const F u = twice(p.y), v = square(u), w = u * v, s = p.x * v, xx = square(p.x), m = twice(xx) + xx;
    const F x3 = square(m) - twice(s);
    return {x3, m * (s - x3) - w * p.y, v * p.zz, w * p.zzz};
}

template <class F> Xyzz<F> operator+(const Xyzz<F> &p, const Affine<F> &q) {
    if (q.is_infinity()) return p;
    if (p.is_infinity()) return Xyzz<F>::of(q);
    const F u = q.x * p.zz - p.x, r = q.y * p.zzz - p.y;
    if (u.is_zero()) return r.is_zero() ? twice_point(p) : Xyzz<F>::infinity();
    const F uu = square(u), uuu = u * uu, v = p.x * uu, x3 = square(r) - uuu - twice(v);
    return {x3, r * (v - x3) - p.y * uuu, p.zz * uu, p.zzz * uuu};
}

template <class F> TB_APART Xyzz<F> operator+(const Xyzz<F> &p, const Xyzz<F> &q) {
    if (p.is_infinity()) return q;
    if (q.is_infinity()) return p;
    const F u1 = p.x * q.zz, s1 = p.y * q.zzz, u = q.x * p.zz - u1, r = q.y * p.zzz - s1;
    if (u.is_zero()) return r.is_zero() ? twice_point(p) : Xyzz<F>::infinity();
    const F uu = square(u), uuu = u * uu, v = u1 * uu, x3 = square(r) - uuu - twice(v);
    return {x3, r * (v - x3) - s1 * uuu, p.zz * q.zz * uu, p.zzz * q.zzz * uuu};
}

template <class F> Affine<F> to_affine(const Xyzz<F> &p) {
    if (p.is_infinity()) return Affine<F>::infinity();
    const F one_over = inverse(p.zzz);
    // 1/zz = (zz/zzz)², since zz³ = zzz².
    return {p.x * square(p.zz * one_over), p.y * one_over};
}

// For the price of one inversion; `scratch` holds as many elements.
template <class F> void to_affine_batch(const Xyzz<F> *points, Affine<F> *out, F *scratch, size_t count) {
    F running = F::one();
    for (size_t i = 0; i < count; i++) {
        scratch[i] = running;
        if (!points[i].is_infinity()) running = running * points[i].zzz;
    }
    running = inverse(running);
    for (size_t i = count; i-- > 0;) {
        if (points[i].is_infinity()) {
            out[i] = Affine<F>::infinity();
            continue;
        }
        const F one_over = running * scratch[i];
        running = running * points[i].zzz;
        out[i] = {points[i].x * square(points[i].zz * one_over), points[i].y * one_over};
    }
}

// The scalar is a plain number of four words.
template <class F> Xyzz<F> multiply(const Affine<F> &p, const u64 *scalar) {
    Xyzz<F> running = Xyzz<F>::infinity();
    for (int at = 255; at >= 0; at--) {
        running = twice_point(running);
        if (scalar[at / 64] >> at % 64 & 1) running = running + p;
    }
    return running;
}

template <class F> bool is_on_curve(const Affine<F> &p, const F &b) {
    return p.is_infinity() || (p.x.is_canonical() && p.y.is_canonical() && square(p.y) == square(p.x) * p.x + b);
}

// The Frobenius map of the full curve, seen on the twist.
inline G2 endomorphism(const G2 &p) {
    return {conjugate(p.x) * Fp2::of(PSI_X), conjugate(p.y) * Fp2::of(PSI_Y)};
}
inline Xyzz<Fp2> endomorphism(const Xyzz<Fp2> &p) {
    return {conjugate(p.x) * Fp2::of(PSI_X), conjugate(p.y) * Fp2::of(PSI_Y), conjugate(p.zz), conjugate(p.zzz)};
}
// Whether a point of the twist is in the group of order R, by a check half as long as the twin's (eprint 2022/348):
// with the endomorphism e and the parameter X, (X + 1) + X·e + X·e² - 2X·e³ takes a point to infinity exactly there.
// Its norm has no factor in common with the order of the twist but R.
inline bool is_in_g2(const G2 &p) {
    if (p.is_infinity()) return true;
    const u64 parameter[4] = {CURVE_PARAMETER, 0, 0, 0};
    const Xyzz<Fp2> a = multiply(p, parameter), b = endomorphism(a), c = endomorphism(b);
    const Xyzz<Fp2> left = a + p + b + c, right = twice_point(endomorphism(c));
    if (left.is_infinity() || right.is_infinity()) return left.is_infinity() && right.is_infinity();
    return left.x * right.zz == right.x * left.zz && left.y * right.zzz == right.y * left.zzz;
}
