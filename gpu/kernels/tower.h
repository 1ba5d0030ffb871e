// Fp6 = Fp2[v]/(v³ - 9 - u) and Fp12 = Fp6[w]/(w² - v). The exact twin is core/proofs/tower.py.
#pragma once
#include "field.h"

struct Fp6 {
    Fp2 a, b, c;
    static Fp6 zero() { return {Fp2::zero(), Fp2::zero(), Fp2::zero()}; }
    static Fp6 one() { return {Fp2::one(), Fp2::zero(), Fp2::zero()}; }
    bool operator==(const Fp6 &o) const { return a == o.a && b == o.b && c == o.c; }
};
inline Fp6 operator+(const Fp6 &x, const Fp6 &y) { return {x.a + y.a, x.b + y.b, x.c + y.c}; }
inline Fp6 operator-(const Fp6 &x, const Fp6 &y) { return {x.a - y.a, x.b - y.b, x.c - y.c}; }
inline Fp6 operator-(const Fp6 &x) { return {-x.a, -x.b, -x.c}; }
inline Fp6 mul_v(const Fp6 &x) { return {mul_xi(x.c), x.a, x.b}; }
inline Fp6 operator*(const Fp6 &x, const Fp6 &y) {
    const Fp2 s = x.a * y.a, t = x.b * y.b, u = x.c * y.c;
    return {s + mul_xi((x.b + x.c) * (y.b + y.c) - t - u), (x.a + x.b) * (y.a + y.b) - s - t + mul_xi(u),
            (x.a + x.c) * (y.a + y.c) - s - u + t};
}
inline Fp6 inverse(const Fp6 &x) {
    const Fp2 a = square(x.a) - mul_xi(x.b * x.c), b = mul_xi(square(x.c)) - x.a * x.b, c = square(x.b) - x.a * x.c;
    const Fp2 norm = inverse(x.a * a + mul_xi(x.b * c + x.c * b));
    return {a * norm, b * norm, c * norm};
}
// x times (c + d·v).
inline Fp6 mul_01(const Fp6 &x, const Fp2 &c, const Fp2 &d) {
    const Fp2 s = x.a * c, t = x.b * d;
    return {s + mul_xi((x.b + x.c) * d - t), (x.a + x.b) * (c + d) - s - t, (x.a + x.c) * c - s + t};
}

struct Fp12 {
    Fp6 a, b;
    static Fp12 one() { return {Fp6::one(), Fp6::zero()}; }
    bool operator==(const Fp12 &o) const { return a == o.a && b == o.b; }
};
inline Fp12 operator*(const Fp12 &x, const Fp12 &y) {
    const Fp6 low = x.a * y.a, high = x.b * y.b;
    return {low + mul_v(high), (x.a + x.b) * (y.a + y.b) - low - high};
}
inline Fp12 square(const Fp12 &x) {
    const Fp6 half = x.a * x.b;
    return {(x.a + x.b) * (x.a + mul_v(x.b)) - half - mul_v(half), half + half};
}
inline Fp12 conjugate(const Fp12 &x) { return {x.a, -x.b}; }
inline Fp12 inverse(const Fp12 &x) {
    const Fp6 norm = inverse(x.a * x.a - mul_v(x.b * x.b));
    return {x.a * norm, -(x.b * norm)};
}
inline Fp12 frobenius(const Fp12 &x) {
    const auto k = [](int at) { return Fp2::of(FROBENIUS[at]); };
    return {{conjugate(x.a.a), conjugate(x.a.b) * k(2), conjugate(x.a.c) * k(4)},
            {conjugate(x.b.a) * k(1), conjugate(x.b.b) * k(3), conjugate(x.b.c) * k(5)}};
}
// x times (constant + w·w + vw·v·w), the shape of a line at a point.
inline Fp12 mul_line(const Fp12 &x, const Fp2 &constant, const Fp2 &w, const Fp2 &vw) {
    const Fp6 low = {x.a.a * constant, x.a.b * constant, x.a.c * constant}, high = mul_01(x.b, w, vw);
    return {low + mul_v(high), mul_01(x.a + x.b, constant + w, vw) - low - high};
}
// The square of a + b·s with s² = 9 + u.
inline void square_fp4(Fp2 &low, Fp2 &high, const Fp2 &a, const Fp2 &b) {
    const Fp2 aa = square(a), bb = square(b);
    high = square(a + b) - aa - bb;
    low = aa + mul_xi(bb);
}
// The square where x to the power P⁴ - P² + 1 is one (Granger and Scott).
inline Fp12 square_cyclotomic(const Fp12 &x) {
    Fp2 s0, s1, t0, t1, u0, u1;
    square_fp4(s0, s1, x.a.a, x.b.b);
    square_fp4(t0, t1, x.b.a, x.a.c);
    square_fp4(u0, u1, x.a.b, x.b.c);
    const auto minus = [](const Fp2 &thrice, const Fp2 &old) { return twice(thrice - old) + thrice; };
    const auto plus = [](const Fp2 &thrice, const Fp2 &old) { return twice(thrice + old) + thrice; };
    return {{minus(s0, x.a.a), minus(t0, x.a.b), minus(u0, x.a.c)},
            {plus(mul_xi(u1), x.b.a), plus(s1, x.b.b), plus(t1, x.b.c)}};
}
inline Fp12 power_of_parameter(const Fp12 &x) {
    Fp12 result = x;
    for (int at = 61; at >= 0; at--) {
        result = square_cyclotomic(result);
        if (CURVE_PARAMETER >> at & 1) result = result * x;
    }
    return result;
}
