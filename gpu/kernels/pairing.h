// The optimal ate pairing. The exact twin is core/proofs/pairing.py: the same lines, so the same values throughout.
#pragma once
#include "curve.h"
#include "tower.h"

struct Line {
    Fp2 y_factor, x_factor, constant;
};
constexpr int count_lines() {
    int count = LOOP_COUNT + 2;
    for (int i = 0; i < LOOP_COUNT; i++) count += LOOP[i] != 0;
    return count;
}
constexpr int LINE_COUNT = count_lines();

struct Projective {
    Fp2 x, y, z;
};

inline Line tangent(Projective &p) {
    const Fp half = Fp::of(FpModulus::half);
    const Fp2 a = p.x * p.y * half, b = square(p.y), c = square(p.z), e = (twice(c) + c) * Fp2::of(G2_B);
    const Fp2 f = twice(e) + e, g = (b + f) * half, h = square(p.y + p.z) - (b + c), xx = square(p.x), ee = square(e);
    const Line line = {-h, twice(xx) + xx, e - b};
    p = {a * (b - f), square(g) - (twice(ee) + ee), b * h};
    return line;
}
inline Line chord(Projective &p, const G2 &q) {
    const Fp2 o = p.y - q.y * p.z, slope = p.x - q.x * p.z, c = square(o), d = square(slope), e = slope * d;
    const Fp2 f = p.z * c, g = p.x * d, k = e + f - twice(g);
    const Line line = {slope, -o, q.x * o - q.y * slope};
    p = {slope * k, (g - k) * o - p.y * e, e * p.z};
    return line;
}
// The lines of a point that is not infinity, in the order in which the loop takes them.
inline void line_function(const G2 &point, Line *out) {
    Projective running = {point.x, point.y, Fp2::one()};
    const G2 minus = -point;
    for (int i = 0; i < LOOP_COUNT; i++) {
        *out++ = tangent(running);
        if (LOOP[i]) *out++ = chord(running, LOOP[i] > 0 ? point : minus);
    }
    const G2 first = endomorphism(point), second = endomorphism(first);
    *out++ = chord(running, first);
    *out++ = chord(running, -second);
}

struct Pair {
    G1 point;
    const Line *lines;
};
// The product of the pairs before the final exponentiation; none of them holds infinity.
inline Fp12 miller_loop(const Pair *pairs, size_t count) {
    Fp12 result = Fp12::one();
    int at = 0;
    const auto take = [&] {
        for (size_t i = 0; i < count; i++) {
            const Line &line = pairs[i].lines[at];
            result = mul_line(result, line.y_factor * pairs[i].point.y, line.x_factor * pairs[i].point.x, line.constant);
        }
        at++;
    };
    for (int i = 0; i < LOOP_COUNT; i++) {
        result = square(result);
        take();
        if (LOOP[i]) take();
    }
    take();
    take();
    return result;
}

inline Fp12 final_exponentiation(const Fp12 &value) {
    const Fp12 easy = conjugate(value) * inverse(value);
    const Fp12 f = frobenius(frobenius(easy)) * easy;
    const Fp12 fx = power_of_parameter(f), fxx = power_of_parameter(fx), fxxx = power_of_parameter(fxx);
    const Fp12 fp = frobenius(f), fpp = frobenius(fp), fxx_p = frobenius(fxx);
    const Fp12 y0 = fp * fpp * frobenius(fpp), y1 = conjugate(f), y2 = frobenius(fxx_p), y3 = conjugate(frobenius(fx));
    const Fp12 y4 = conjugate(fx * fxx_p), y5 = conjugate(fxx), y6 = conjugate(fxxx * frobenius(fxxx));
    Fp12 t0 = square_cyclotomic(y6) * y4 * y5;
    Fp12 t1 = y3 * y5 * t0;
    t0 = t0 * y2;
    t1 = square_cyclotomic(square_cyclotomic(t1) * t0);
    t0 = square_cyclotomic(t1 * y1);
    return t0 * (t1 * y0);
}
