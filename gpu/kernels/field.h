// The prime fields of BN254, Fp under the curve's coordinates and Fr for scalars, and Fp2 = Fp[u]/(u² + 1).
// The exact twins are core/proofs/field.py and core/proofs/tower.py.
#pragma once
#include "constants.h"
#include "limbs.h"
#ifndef __CUDACC__
#include "inverse.h"
#endif

template <class M> struct Element {
    u64 l[4];

    static Element zero() { return {{0, 0, 0, 0}}; }
    static Element one() { return {{M::one[0], M::one[1], M::one[2], M::one[3]}}; }
    static Element of(const u64 *limbs) { return {{limbs[0], limbs[1], limbs[2], limbs[3]}}; }
    bool is_zero() const { return !(l[0] | l[1] | l[2] | l[3]); }
    bool operator==(const Element &o) const {
        return !((l[0] ^ o.l[0]) | (l[1] ^ o.l[1]) | (l[2] ^ o.l[2]) | (l[3] ^ o.l[3]));
    }
    bool operator!=(const Element &o) const { return !(*this == o); }
    bool is_canonical() const {
        for (int i = 3; i >= 0; i--)
            if (l[i] != M::modulus[i]) return l[i] < M::modulus[i];
        return false;
    }
};
using Fp = Element<FpModulus>;
using Fr = Element<FrModulus>;

// Out of line on a host: a hundred instructions, whose copies would drive the callers out of the cache.
template <class M> TB_OUT_OF_LINE void mul_into(Element<M> *r, const Element<M> *a, const Element<M> *b) {
    limbs_mul<M>(r->l, a->l, b->l);
}
template <class M> inline Element<M> operator*(const Element<M> &a, const Element<M> &b) {
    Element<M> r;
    mul_into(&r, &a, &b);
    return r;
}
template <class M> inline Element<M> operator+(const Element<M> &a, const Element<M> &b) {
    Element<M> r;
    limbs_add<M>(r.l, a.l, b.l);
    return r;
}
template <class M> inline Element<M> operator-(const Element<M> &a, const Element<M> &b) {
    Element<M> r;
    limbs_sub<M>(r.l, a.l, b.l);
    return r;
}
template <class M> inline Element<M> operator-(const Element<M> &a) { return Element<M>::zero() - a; }
template <class M> inline Element<M> square(const Element<M> &a) { return a * a; }

template <class M> inline Element<M> to_montgomery(const Element<M> &a) { return a * Element<M>::of(M::radix_square); }
template <class M> inline Element<M> from_montgomery(const Element<M> &a) { return a * Element<M>{{1, 0, 0, 0}}; }

// The exponent is a plain number of four words.
template <class F> F power(const F &a, const u64 *exponent, int bits = 256) {
    F result = F::one();
    while (bits > 0 && !(exponent[(bits - 1) / 64] >> (bits - 1) % 64 & 1)) bits--;
    for (int at = bits - 1; at >= 0; at--) {
        result = square(result);
        if (exponent[at / 64] >> at % 64 & 1) result = result * a;
    }
    return result;
}
// Zero gives zero.
#ifdef __CUDACC__
// By Fermat, with a window of four bits.
template <class M> Element<M> inverse(const Element<M> &a) {
    Element<M> table[16];
    table[0] = Element<M>::one();
    for (int i = 1; i < 16; i++) table[i] = table[i - 1] * a;
    Element<M> result = Element<M>::one();
    for (int at = 63; at >= 0; at--) {
        for (int i = 0; i < 4; i++) result = square(result);
        const int digit = M::modulus_minus_two[at / 16] >> at % 16 * 4 & 15;
        if (digit) result = result * table[digit];
    }
    return result;
}
#else
template <class M> inline Element<M> inverse(const Element<M> &a) {
    Element<M> r;
    invert_limbs<M>(r.l, a.l);
    // The radix is in it the other way round: it comes in twice.
    return to_montgomery(to_montgomery(r));
}
#endif

struct Fp2 {
    Fp a, b;

    static Fp2 zero() { return {Fp::zero(), Fp::zero()}; }
    static Fp2 one() { return {Fp::one(), Fp::zero()}; }
    static Fp2 of(const u64 (*limbs)[4]) { return {Fp::of(limbs[0]), Fp::of(limbs[1])}; }
    bool is_zero() const { return a.is_zero() && b.is_zero(); }
    bool operator==(const Fp2 &o) const { return a == o.a && b == o.b; }
    bool operator!=(const Fp2 &o) const { return !(*this == o); }
    bool is_canonical() const { return a.is_canonical() && b.is_canonical(); }
};
inline Fp2 operator+(const Fp2 &x, const Fp2 &y) { return {x.a + y.a, x.b + y.b}; }
inline Fp2 operator-(const Fp2 &x, const Fp2 &y) { return {x.a - y.a, x.b - y.b}; }
inline Fp2 operator-(const Fp2 &x) { return {-x.a, -x.b}; }
TB_APART inline Fp2 operator*(TB_IN(Fp2) x, TB_IN(Fp2) y) {
    const Fp low = x.a * y.a, high = x.b * y.b;
    return {low - high, (x.a + x.b) * (y.a + y.b) - low - high};
}
inline Fp2 operator*(const Fp2 &x, const Fp &k) { return {x.a * k, x.b * k}; }
TB_APART inline Fp2 square(TB_IN(Fp2) x) {
    const Fp half = x.a * x.b;
    return {(x.a + x.b) * (x.a - x.b), half + half};
}
inline Fp2 conjugate(const Fp2 &x) { return {x.a, -x.b}; }
inline Fp2 inverse(const Fp2 &x) {
    const Fp norm = inverse(square(x.a) + square(x.b));
    return {x.a * norm, -(x.b * norm)};
}
template <class F> inline F twice(const F &x) { return x + x; }
// Times 9 + u, which has neither a square nor a cube root in Fp2.
inline Fp2 mul_xi(const Fp2 &x) {
    const Fp2 eight = twice(twice(twice(x)));
    return {eight.a + x.a - x.b, eight.b + x.b + x.a};
}
