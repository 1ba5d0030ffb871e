// Eight numbers at a time: limbs of 52 bits, one number in each lane of a vector, Montgomery's product by AVX-512 IFMA.
//
// The vector operations have two bodies: the processor's, and one written out, by which all that stands on them is
// tested on processors that lack them (TB_LANES_EMULATED; far too slow to use).
//
// Sums and products leave limbs raw: wider than 52 bits, or negative. `carry` brings limbs to 52 bits, which products
// want of their operands, and `tidy` takes multiples of the modulus away besides. With operands below j and k times
// the modulus a product is below (1 + j·k/84) times it, so nothing needs to be exact before it is stored.
// Montgomery form is for 2^260 here: a number in the form of the rest of the kernels, 2^256, is a sixteenth.
#pragma once
#include "curve.h"
#include <utility>

#if defined(TB_LANES_EMULATED) || (defined(__AVX512IFMA__) && defined(__AVX512DQ__))
#define TB_LANES 1
#else
#define TB_LANES 0
#endif

constexpr size_t LANES = 8;
#define TB_INLINE inline __attribute__((always_inline))

#if TB_LANES
using Mask = u8;
constexpr u64 LOW52 = ((u64)1 << 52) - 1;
#if defined(TB_LANES_EMULATED)
struct Vector {
    u64 at[LANES];
};
template <class Body> TB_INLINE Vector each(Body body) {
    Vector r;
    for (size_t i = 0; i < LANES; i++) r.at[i] = body(i);
    return r;
}
TB_INLINE Vector v_all(u64 x) { return each([&](size_t) { return x; }); }
TB_INLINE Vector v_add(Vector a, Vector b) { return each([&](size_t i) { return a.at[i] + b.at[i]; }); }
TB_INLINE Vector v_sub(Vector a, Vector b) { return each([&](size_t i) { return a.at[i] - b.at[i]; }); }
TB_INLINE Vector v_and(Vector a, Vector b) { return each([&](size_t i) { return a.at[i] & b.at[i]; }); }
TB_INLINE Vector v_or(Vector a, Vector b) { return each([&](size_t i) { return a.at[i] | b.at[i]; }); }
template <int BITS> TB_INLINE Vector v_left(Vector a) { return each([&](size_t i) { return a.at[i] << BITS; }); }
template <int BITS> TB_INLINE Vector v_right(Vector a) { return each([&](size_t i) { return a.at[i] >> BITS; }); }
template <int BITS> TB_INLINE Vector v_right_signed(Vector a) {
    return each([&](size_t i) { return (u64)((int64_t)a.at[i] >> BITS); });
}
// The low or high 52 bits of a product of the low 52 bits, added.
TB_INLINE Vector v_mul_low(Vector t, Vector a, Vector b) {
    return each([&](size_t i) { return t.at[i] + ((u64)((u128)(a.at[i] & LOW52) * (b.at[i] & LOW52)) & LOW52); });
}
TB_INLINE Vector v_mul_high(Vector t, Vector a, Vector b) {
    return each([&](size_t i) { return t.at[i] + (u64)((u128)(a.at[i] & LOW52) * (b.at[i] & LOW52) >> 52); });
}
TB_INLINE Mask v_equal(Vector a, Vector b) {
    Mask mask = 0;
    for (size_t i = 0; i < LANES; i++) mask |= (Mask)((a.at[i] == b.at[i]) << i);
    return mask;
}
TB_INLINE Mask v_negative(Vector a) {
    Mask mask = 0;
    for (size_t i = 0; i < LANES; i++) mask |= (Mask)((a.at[i] >> 63) << i);
    return mask;
}
// b in the lanes of the mask, a elsewhere.
TB_INLINE Vector v_pick(Mask mask, Vector a, Vector b) {
    return each([&](size_t i) { return mask >> i & 1 ? b.at[i] : a.at[i]; });
}
// Each lane of `at` says which lane of the table it becomes.
TB_INLINE Vector v_look_up(Vector table, Vector at) { return each([&](size_t i) { return table.at[at.at[i] % LANES]; }); }
TB_INLINE Vector v_load(const u64 *in) { return each([&](size_t i) { return in[i]; }); }
TB_INLINE void v_store(u64 *out, Vector a) { memcpy(out, a.at, sizeof a.at); }
TB_INLINE void v_transpose(Vector *rows) {
    for (size_t i = 0; i < LANES; i++)
        for (size_t j = 0; j < i; j++) std::swap(rows[i].at[j], rows[j].at[i]);
}
// Word w of number i lies at in[4 * i + w].
TB_INLINE void v_load_numbers(const u64 *in, Vector *words) {
    for (size_t w = 0; w < 4; w++) words[w] = each([&](size_t i) { return in[4 * i + w]; });
}
TB_INLINE void v_store_numbers(u64 *out, const Vector *words) {
    for (size_t w = 0; w < 4; w++)
        for (size_t i = 0; i < LANES; i++) out[4 * i + w] = words[w].at[i];
}
#else
#include <immintrin.h>
using Vector = __m512i;
TB_INLINE Vector v_all(u64 x) { return _mm512_set1_epi64((long long)x); }
TB_INLINE Vector v_add(Vector a, Vector b) { return _mm512_add_epi64(a, b); }
TB_INLINE Vector v_sub(Vector a, Vector b) { return _mm512_sub_epi64(a, b); }
TB_INLINE Vector v_and(Vector a, Vector b) { return _mm512_and_si512(a, b); }
TB_INLINE Vector v_or(Vector a, Vector b) { return _mm512_or_si512(a, b); }
template <int BITS> TB_INLINE Vector v_left(Vector a) { return _mm512_slli_epi64(a, BITS); }
template <int BITS> TB_INLINE Vector v_right(Vector a) { return _mm512_srli_epi64(a, BITS); }
template <int BITS> TB_INLINE Vector v_right_signed(Vector a) { return _mm512_srai_epi64(a, BITS); }
TB_INLINE Vector v_mul_low(Vector t, Vector a, Vector b) { return _mm512_madd52lo_epu64(t, a, b); }
TB_INLINE Vector v_mul_high(Vector t, Vector a, Vector b) { return _mm512_madd52hi_epu64(t, a, b); }
TB_INLINE Mask v_equal(Vector a, Vector b) { return _mm512_cmpeq_epi64_mask(a, b); }
TB_INLINE Mask v_negative(Vector a) { return _mm512_movepi64_mask(a); }
TB_INLINE Vector v_pick(Mask mask, Vector a, Vector b) { return _mm512_mask_mov_epi64(a, mask, b); }
TB_INLINE Vector v_look_up(Vector table, Vector at) { return _mm512_permutexvar_epi64(at, table); }
TB_INLINE Vector v_load(const u64 *in) { return _mm512_loadu_si512(in); }
TB_INLINE void v_store(u64 *out, Vector a) { _mm512_storeu_si512(out, a); }
TB_INLINE void v_transpose(Vector *r) {
    Vector pair[8], quad[8];
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        pair[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++)
        for (int h = 0; h < 8; h += 4) {
            quad[h + i] = _mm512_shuffle_i64x2(pair[h + i], pair[h + 2 + i], 0x88);
            quad[h + 2 + i] = _mm512_shuffle_i64x2(pair[h + i], pair[h + 2 + i], 0xdd);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i64x2(quad[i], quad[4 + i], 0x88);
        r[4 + i] = _mm512_shuffle_i64x2(quad[i], quad[4 + i], 0xdd);
    }
}
TB_INLINE void v_load_numbers(const u64 *in, Vector *words) {
    // Two numbers a register; words of four numbers are brought together, then of eight.
    const Vector a = v_load(in), b = v_load(in + 8), c = v_load(in + 16), d = v_load(in + 24);
    for (int w = 0; w < 4; w++) {
        const Vector pick = _mm512_set_epi64(0, 0, 0, 0, 12 + w, 8 + w, 4 + w, w);
        const Vector low = _mm512_permutex2var_epi64(a, pick, b), high = _mm512_permutex2var_epi64(c, pick, d);
        words[w] = _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1);
    }
}
TB_INLINE void v_store_numbers(u64 *out, const Vector *words) {
    const Vector even_low = _mm512_unpacklo_epi64(words[0], words[1]), odd_low = _mm512_unpackhi_epi64(words[0], words[1]);
    const Vector even_high = _mm512_unpacklo_epi64(words[2], words[3]), odd_high = _mm512_unpackhi_epi64(words[2], words[3]);
    for (int i = 0; i < 4; i++) {
        const Vector pick = _mm512_set_epi64(0, 0, 0, 0, 9 + 2 * i, 8 + 2 * i, 1 + 2 * i, 2 * i);
        const Vector even = _mm512_permutex2var_epi64(even_low, pick, even_high);
        const Vector odd = _mm512_permutex2var_epi64(odd_low, pick, odd_high);
        v_store(out + 8 * i, _mm512_inserti64x4(even, _mm512_castsi512_si256(odd), 1));
    }
}
#endif

template <class M> struct Eight {
    Vector l[5];

    static Eight of(const u64 *limbs) {
        return {{v_all(limbs[0]), v_all(limbs[1]), v_all(limbs[2]), v_all(limbs[3]), v_all(limbs[4])}};
    }
    static Eight from(const Element<M> &a) {
        const Vector w[4] = {v_all(a.l[0]), v_all(a.l[1]), v_all(a.l[2]), v_all(a.l[3])};
        return from_words(w);
    }
    static Eight zero() { return {{v_all(0), v_all(0), v_all(0), v_all(0), v_all(0)}}; }
    static Eight one() { return {{v_all(1), v_all(0), v_all(0), v_all(0), v_all(0)}}; }  // Not in Montgomery form.
    static Eight from_words(const Vector *w) {
        const Vector low = v_all(LOW52);
        return {{v_and(w[0], low), v_and(v_or(v_right<52>(w[0]), v_left<12>(w[1])), low),
                 v_and(v_or(v_right<40>(w[1]), v_left<24>(w[2])), low),
                 v_and(v_or(v_right<28>(w[2]), v_left<36>(w[3])), low), v_right<16>(w[3])}};
    }
    void to_words(Vector *w) const {
        w[0] = v_or(l[0], v_left<52>(l[1]));
        w[1] = v_or(v_right<12>(l[1]), v_left<40>(l[2]));
        w[2] = v_or(v_right<24>(l[2]), v_left<28>(l[3]));
        w[3] = v_or(v_right<36>(l[3]), v_left<16>(l[4]));
    }
    static Eight load(const Element<M> *in) {
        Vector w[4];
        v_load_numbers(in->l, w);
        return from_words(w);
    }
    void store(Element<M> *out) const {
        Vector w[4];
        to_words(w);
        v_store_numbers(out->l, w);
    }
};
using Fp8 = Eight<FpModulus>;
using Fr8 = Eight<FrModulus>;

template <class M> TB_INLINE Eight<M> operator+(const Eight<M> &a, const Eight<M> &b) {
    Eight<M> r;
    for (int i = 0; i < 5; i++) r.l[i] = v_add(a.l[i], b.l[i]);
    return r;
}
template <class M> TB_INLINE Eight<M> operator-(const Eight<M> &a, const Eight<M> &b) {
    Eight<M> r;
    for (int i = 0; i < 5; i++) r.l[i] = v_sub(a.l[i], b.l[i]);
    return r;
}
// The modulus so many times more, to keep a difference from being negative.
template <int TIMES, class M> TB_INLINE Eight<M> raise(const Eight<M> &a) {
    Eight<M> r;
    for (int i = 0; i < 5; i++) r.l[i] = v_add(a.l[i], v_all(TIMES * M::lanes[i]));
    return r;
}
template <int BITS, class M> TB_INLINE Eight<M> shift(const Eight<M> &a) {
    Eight<M> r;
    for (int i = 0; i < 5; i++) r.l[i] = v_left<BITS>(a.l[i]);
    return r;
}
template <class M> TB_INLINE Eight<M> pick(Mask mask, const Eight<M> &a, const Eight<M> &b) {
    Eight<M> r;
    for (int i = 0; i < 5; i++) r.l[i] = v_pick(mask, a.l[i], b.l[i]);
    return r;
}
template <class M> TB_INLINE Eight<M> carry(Eight<M> a) {
    for (int i = 0; i < 4; i++) {
        a.l[i + 1] = v_add(a.l[i + 1], v_right_signed<52>(a.l[i]));
        a.l[i] = v_and(a.l[i], v_all(LOW52));
    }
    return a;
}
template <class M, int STEP> struct Multiples {
    alignas(64) u64 of_limb[5][LANES] = {};
    constexpr Multiples() {
        for (int i = 0; i < 5; i++)
            for (size_t k = 0; k < LANES; k++) of_limb[i][k] = k * STEP * M::lanes[i];
    }
    static constexpr int EXTRA = 8;
    static constexpr u64 reciprocal = ((u64)1 << (52 + EXTRA)) / (STEP * (M::lanes[4] + 1));
};
template <class M, int STEP> inline constexpr Multiples<M, STEP> MULTIPLES{};
// From 0 to below 8·STEP times the modulus to hardly above STEP times it. What may be near zero has no negative limbs.
template <int STEP, class M> TB_INLINE Eight<M> tidy(const Eight<M> &a) {
    using All = Multiples<M, STEP>;
    const Vector top = v_add(a.l[4], v_right_signed<52>(a.l[3]));
    const Vector quotient = v_right<All::EXTRA>(v_mul_high(v_all(0), top, v_all(All::reciprocal)));
    Eight<M> r;
    for (int i = 0; i < 5; i++)
        r.l[i] = v_sub(a.l[i], v_look_up(v_load(MULTIPLES<M, STEP>.of_limb[i]), quotient));
    return carry(r);
}
// Below the modulus, from below twice that.
template <class M> TB_INLINE Eight<M> canonical(const Eight<M> &a) {
    const Eight<M> less = carry(raise<-1>(a));
    return pick(v_negative(less.l[4]), less, a);
}
template <class M> TB_INLINE Mask is_multiple(const Eight<M> &a, int times) {
    u64 limbs[5], over = 0;
    for (int i = 0; i < 5; i++) {
        const u64 limb = times * M::lanes[i] + over;
        limbs[i] = i < 4 ? limb & LOW52 : limb, over = limb >> 52;
    }
    Mask mask = 0xff;
    for (int i = 0; i < 5 && mask; i++) mask &= v_equal(a.l[i], v_all(limbs[i]));
    return mask;
}
// Whether numbers with carried limbs, below four times the modulus, are multiples of it.
template <class M> TB_INLINE Mask is_zero(const Eight<M> &a) {
    return is_multiple(a, 0) | is_multiple(a, 1) | is_multiple(a, 2) | is_multiple(a, 3);
}

// Products before they are reduced.
template <class M> struct Columns {
    Vector at[10];
    Columns() {
        for (Vector &column : at) column = v_all(0);
    }
    TB_INLINE void add(const Eight<M> &a, const Eight<M> &b) {
#pragma GCC unroll 5
        for (int i = 0; i < 5; i++) {
#pragma GCC unroll 5
            for (int j = 0; j < 5; j++) {
                at[i + j] = v_mul_low(at[i + j], a.l[j], b.l[i]);
                at[i + j + 1] = v_mul_high(at[i + j + 1], a.l[j], b.l[i]);
            }
        }
    }
    TB_INLINE Eight<M> reduce() {
        const Vector inverse = v_all(M::lanes_negative_inverse), low = v_all(LOW52);
#pragma GCC unroll 5
        for (int i = 0; i < 5; i++) {
            const Vector m = v_mul_low(v_all(0), at[i], inverse);
            // With m times the lowest limb of the modulus the column becomes the next multiple of 2^52, and goes.
            at[i + 1] = v_add(at[i + 1], v_right<52>(v_add(at[i], low)));
#pragma GCC unroll 5
            for (int j = 0; j < 5; j++) {
                if (j) at[i + j] = v_mul_low(at[i + j], m, v_all(M::lanes[j]));
                at[i + j + 1] = v_mul_high(at[i + j + 1], m, v_all(M::lanes[j]));
            }
        }
        return {{at[5], at[6], at[7], at[8], at[9]}};
    }
};
template <class M> TB_INLINE Eight<M> mul_raw(const Eight<M> &a, const Eight<M> &b) {
    Columns<M> columns;
    columns.add(a, b);
    return columns.reduce();
}
template <class M> TB_INLINE Eight<M> operator*(const Eight<M> &a, const Eight<M> &b) {
    return carry(mul_raw(a, b));
}

struct Fp2x8 {
    Fp8 a, b;
    static Fp2x8 one() { return {Fp8::one(), Fp8::zero()}; }
};
TB_INLINE Fp2x8 operator+(const Fp2x8 &x, const Fp2x8 &y) { return {x.a + y.a, x.b + y.b}; }
TB_INLINE Fp2x8 operator-(const Fp2x8 &x, const Fp2x8 &y) { return {x.a - y.a, x.b - y.b}; }
template <int TIMES> TB_INLINE Fp2x8 raise(const Fp2x8 &x) { return {raise<TIMES>(x.a), raise<TIMES>(x.b)}; }
template <int BITS> TB_INLINE Fp2x8 shift(const Fp2x8 &x) { return {shift<BITS>(x.a), shift<BITS>(x.b)}; }
TB_INLINE Fp2x8 pick(Mask mask, const Fp2x8 &x, const Fp2x8 &y) { return {pick(mask, x.a, y.a), pick(mask, x.b, y.b)}; }
TB_INLINE Fp2x8 carry(const Fp2x8 &x) { return {carry(x.a), carry(x.b)}; }
template <int STEP> TB_INLINE Fp2x8 tidy(const Fp2x8 &x) { return {tidy<STEP>(x.a), tidy<STEP>(x.b)}; }
TB_INLINE Mask is_zero(const Fp2x8 &x) { return is_zero(x.a) & is_zero(x.b); }
// Operands of at most six times the modulus.
TB_INLINE Fp2x8 mul_raw(const Fp2x8 &x, const Fp2x8 &y) {
    Columns<FpModulus> real, imaginary;
    real.add(x.a, y.a);
    real.add(x.b, carry(raise<6>(Fp8::zero()) - y.b));
    imaginary.add(x.a, y.b);
    imaginary.add(x.b, y.a);
    return {real.reduce(), imaginary.reduce()};
}
TB_INLINE Fp2x8 operator*(const Fp2x8 &x, const Fp2x8 &y) { return carry(mul_raw(x, y)); }
template <class M> TB_INLINE Eight<M> square_raw(const Eight<M> &a) { return mul_raw(a, a); }
TB_INLINE Fp2x8 square_raw(const Fp2x8 &x) {
    return {mul_raw(carry(x.a + x.b), carry(raise<6>(x.a - x.b))), mul_raw(carry(x.a + x.a), x.b)};
}

template <class F> struct LanesOf;
template <> struct LanesOf<Fp> {
    using Type = Fp8;
};
template <> struct LanesOf<Fp2> {
    using Type = Fp2x8;
};

// Eight points from wherever they lie, and the lanes of those that are infinite.
TB_INLINE Mask load_points(const Affine<Fp> *const *points, Fp8 &x, Fp8 &y) {
    Vector w[8];
    for (size_t i = 0; i < LANES; i++) w[i] = v_load(points[i]->x.l);
    v_transpose(w);
    x = Fp8::from_words(w), y = Fp8::from_words(w + 4);
    Vector any = w[0];
    for (int i = 1; i < 8; i++) any = v_or(any, w[i]);
    return v_equal(any, v_all(0));
}
TB_INLINE Mask load_points(const Affine<Fp2> *const *points, Fp2x8 &x, Fp2x8 &y) {
    Vector v[8], w[8];
    for (size_t i = 0; i < LANES; i++) v[i] = v_load(points[i]->x.a.l), w[i] = v_load(points[i]->y.a.l);
    v_transpose(v), v_transpose(w);
    x = {Fp8::from_words(v), Fp8::from_words(v + 4)}, y = {Fp8::from_words(w), Fp8::from_words(w + 4)};
    Vector any = v_or(v[0], w[0]);
    for (int i = 1; i < 8; i++) any = v_or(any, v_or(v[i], w[i]));
    return v_equal(any, v_all(0));
}
TB_INLINE void store_points(Affine<Fp> *const *points, const Fp8 &x, const Fp8 &y) {
    Vector w[8];
    x.to_words(w), y.to_words(w + 4);
    v_transpose(w);
    for (size_t i = 0; i < LANES; i++) v_store(points[i]->x.l, w[i]);
}
TB_INLINE void store_points(Affine<Fp2> *const *points, const Fp2x8 &x, const Fp2x8 &y) {
    Vector v[8], w[8];
    x.a.to_words(v), x.b.to_words(v + 4), y.a.to_words(w), y.b.to_words(w + 4);
    v_transpose(v), v_transpose(w);
    for (size_t i = 0; i < LANES; i++) v_store(points[i]->x.a.l, v[i]), v_store(points[i]->y.a.l, w[i]);
}
TB_INLINE void load_lanes(const Fp *in, Fp8 &out) { out = Fp8::load(in); }
TB_INLINE void load_lanes(const Fp2 *in, Fp2x8 &out) {
    Fp a[LANES], b[LANES];
    for (size_t i = 0; i < LANES; i++) a[i] = in[i].a, b[i] = in[i].b;
    out = {Fp8::load(a), Fp8::load(b)};
}
// The numbers are below twice the modulus.
TB_INLINE void store_lanes(const Fp8 &value, Fp *out) { canonical(value).store(out); }
TB_INLINE void store_lanes(const Fp2x8 &value, Fp2 *out) {
    Fp a[LANES], b[LANES];
    store_lanes(value.a, a), store_lanes(value.b, b);
    for (size_t i = 0; i < LANES; i++) out[i] = {a[i], b[i]};
}
#endif
