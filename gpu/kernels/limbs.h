// Numbers of 256 bits and Montgomery's product: the only place that knows the processor.
//
// Everything above is the same source for every back end. A back end is one compilation of it:
//   adx       x86-64 with BMI2 and ADX: two carry chains, written as assembly
//   portable  any processor: `unsigned __int128`
//   cuda      a device: two chains of 32-bit words, written as PTX
// and lanes.h holds one more body, eight numbers at a time.
// An element is below its modulus, in Montgomery form (times 2^256), lowest limb first: the layout of `.zkey` files.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

using u8 = uint8_t;
using u32 = uint32_t;
using u64 = uint64_t;
// A device has registers enough to multiply in line, but no room for the code of many sums of points: what is APART
// is called there, and what it takes IN comes in registers. A host calls the product itself.
#ifdef __CUDACC__
#define TB_OUT_OF_LINE __forceinline__
#define TB_APART __noinline__
#define TB_IN(T) T
#else
#define TB_OUT_OF_LINE __attribute__((noinline))
#define TB_APART
#define TB_IN(T) const T &
using u128 = unsigned __int128;
#endif

#if defined(__x86_64__) && defined(__ADX__) && defined(__BMI2__)
#define TB_ADX 1
#else
#define TB_ADX 0
#endif

#ifdef __CUDACC__
// Operands: %0 to %7 the result, %8 to %15 x, %16 to %23 y, %24 to %31 the modulus, %32 its negative inverse. Products
// of words at even places go to one sum, those at odd places to the other, which stands one word higher: so each row
// is two chains of carries without gaps. A flag lives no longer than its block, so one block holds a whole product.
#define TB_X(OPCODE, TO, X, Y, PLUS) OPCODE ".u32 " TO ", " X ", " Y PLUS "; "
#define TB_FRESH(S, X0, X1, X2, X3, Y)                                                                                 \
    TB_X("mul.lo", #S "0", X0, Y, "") TB_X("mul.hi", #S "1", X0, Y, "") TB_X("mul.lo", #S "2", X1, Y, "")              \
    TB_X("mul.hi", #S "3", X1, Y, "") TB_X("mul.lo", #S "4", X2, Y, "") TB_X("mul.hi", #S "5", X2, Y, "")              \
    TB_X("mul.lo", #S "6", X3, Y, "") TB_X("mul.hi", #S "7", X3, Y, "")
#define TB_ADD(S, X0, X1, X2, X3, Y)                                                                                   \
    TB_X("mad.lo.cc", #S "0", X0, Y, ", " #S "0") TB_X("madc.hi.cc", #S "1", X0, Y, ", " #S "1")                       \
    TB_X("madc.lo.cc", #S "2", X1, Y, ", " #S "2") TB_X("madc.hi.cc", #S "3", X1, Y, ", " #S "3")                      \
    TB_X("madc.lo.cc", #S "4", X2, Y, ", " #S "4") TB_X("madc.hi.cc", #S "5", X2, Y, ", " #S "5")                      \
    TB_X("madc.lo.cc", #S "6", X3, Y, ", " #S "6") TB_X("madc.hi.cc", #S "7", X3, Y, ", " #S "7")
// As the two before, after the sum was taken down by two words.
#define TB_SHIFT(S, X0, X1, X2, X3, Y)                                                                                 \
    TB_X("madc.lo.cc", #S "0", X0, Y, ", " #S "2") TB_X("madc.hi.cc", #S "1", X0, Y, ", " #S "3")                      \
    TB_X("madc.lo.cc", #S "2", X1, Y, ", " #S "4") TB_X("madc.hi.cc", #S "3", X1, Y, ", " #S "5")                      \
    TB_X("madc.lo.cc", #S "4", X2, Y, ", " #S "6") TB_X("madc.hi.cc", #S "5", X2, Y, ", " #S "7")                      \
    TB_X("madc.lo.cc", #S "6", X3, Y, ", 0") TB_X("madc.hi", #S "7", X3, Y, ", 0")
// A multiple of the modulus makes the lowest word zero.
#define TB_REDUCE(E, O)                                                                                                \
    "mul.lo.u32 m, " #E "0, %32; " TB_ADD(O, "%25", "%27", "%29", "%31", "m")                                          \
    TB_ADD(E, "%24", "%26", "%28", "%30", "m") "addc.u32 " #O "7, " #O "7, 0; "
#define TB_FIRST_ROW(E, O, Y)                                                                                          \
    TB_FRESH(O, "%9", "%11", "%13", "%15", Y) TB_FRESH(E, "%8", "%10", "%12", "%14", Y) TB_REDUCE(E, O)
#define TB_ROW(E, O, Y)                                                                                                \
    "add.cc.u32 " #E "0, " #E "0, " #O "1; " TB_SHIFT(O, "%9", "%11", "%13", "%15", Y)                                 \
    TB_ADD(E, "%8", "%10", "%12", "%14", Y) "addc.u32 " #O "7, " #O "7, 0; " TB_REDUCE(E, O)
// e minus the modulus, where that is not negative, is the result.
#define TB_CORRECT(Q0, Q1, Q2, Q3, Q4, Q5, Q6, Q7)                                                                     \
    "sub.cc.u32 o0, e0, " Q0 "; subc.cc.u32 o1, e1, " Q1 "; subc.cc.u32 o2, e2, " Q2 "; subc.cc.u32 o3, e3, " Q3       \
    "; subc.cc.u32 o4, e4, " Q4 "; subc.cc.u32 o5, e5, " Q5 "; subc.cc.u32 o6, e6, " Q6 "; subc.cc.u32 o7, e7, " Q7    \
    "; subc.u32 m, 0, 0; setp.ne.u32 p, m, 0; selp.b32 %0, e0, o0, p; selp.b32 %1, e1, o1, p; "                        \
    "selp.b32 %2, e2, o2, p; selp.b32 %3, e3, o3, p; selp.b32 %4, e4, o4, p; selp.b32 %5, e5, o5, p; "                 \
    "selp.b32 %6, e6, o6, p; selp.b32 %7, e7, o7, p; "
#define TB_BEGIN "{ .reg .u32 e<8>; .reg .u32 o<8>; .reg .u32 m; .reg .pred p; "
#define TB_LOW(X) (u32)(X)
#define TB_HIGH(X) (u32)((X) >> 32)
#define TB_WORDS(KIND, X)                                                                                              \
    KIND(TB_LOW(X[0])), KIND(TB_HIGH(X[0])), KIND(TB_LOW(X[1])), KIND(TB_HIGH(X[1])), KIND(TB_LOW(X[2])),              \
        KIND(TB_HIGH(X[2])), KIND(TB_LOW(X[3])), KIND(TB_HIGH(X[3]))
#define TB_OUT "=r"(w0), "=r"(w1), "=r"(w2), "=r"(w3), "=r"(w4), "=r"(w5), "=r"(w6), "=r"(w7)
#define TB_STORE                                                                                                       \
    r[0] = w0 | (u64)w1 << 32, r[1] = w2 | (u64)w3 << 32, r[2] = w4 | (u64)w5 << 32, r[3] = w6 | (u64)w7 << 32

template <class M> __forceinline__ void limbs_mul(u64 *r, const u64 *x, const u64 *y) {
    u32 w0, w1, w2, w3, w4, w5, w6, w7;
    asm(TB_BEGIN TB_FIRST_ROW(e, o, "%16") TB_ROW(o, e, "%17") TB_ROW(e, o, "%18") TB_ROW(o, e, "%19")
            TB_ROW(e, o, "%20") TB_ROW(o, e, "%21") TB_ROW(e, o, "%22") TB_ROW(o, e, "%23")
        "add.cc.u32 e0, e0, o1; addc.cc.u32 e1, e1, o2; addc.cc.u32 e2, e2, o3; addc.cc.u32 e3, e3, o4; "
        "addc.cc.u32 e4, e4, o5; addc.cc.u32 e5, e5, o6; addc.cc.u32 e6, e6, o7; addc.u32 e7, e7, 0; "
        TB_CORRECT("%24", "%25", "%26", "%27", "%28", "%29", "%30", "%31") "}"
        : TB_OUT : TB_WORDS("r", x), TB_WORDS("r", y), TB_WORDS("n", M::modulus), "n"(TB_LOW(M::negative_inverse)));
    TB_STORE;
}

template <class M> __forceinline__ void limbs_add(u64 *r, const u64 *x, const u64 *y) {
    u32 w0, w1, w2, w3, w4, w5, w6, w7;
    asm(TB_BEGIN "add.cc.u32 e0, %8, %16; addc.cc.u32 e1, %9, %17; addc.cc.u32 e2, %10, %18; addc.cc.u32 e3, %11, %19; "
        "addc.cc.u32 e4, %12, %20; addc.cc.u32 e5, %13, %21; addc.cc.u32 e6, %14, %22; addc.u32 e7, %15, %23; "
        TB_CORRECT("%24", "%25", "%26", "%27", "%28", "%29", "%30", "%31") "}"
        : TB_OUT : TB_WORDS("r", x), TB_WORDS("r", y), TB_WORDS("n", M::modulus));
    TB_STORE;
}

template <class M> __forceinline__ void limbs_sub(u64 *r, const u64 *x, const u64 *y) {
    u32 w0, w1, w2, w3, w4, w5, w6, w7;
    asm(TB_BEGIN "sub.cc.u32 e0, %8, %16; subc.cc.u32 e1, %9, %17; subc.cc.u32 e2, %10, %18; subc.cc.u32 e3, %11, %19; "
        "subc.cc.u32 e4, %12, %20; subc.cc.u32 e5, %13, %21; subc.cc.u32 e6, %14, %22; subc.cc.u32 e7, %15, %23; "
        "subc.u32 m, 0, 0; and.b32 o0, m, %24; and.b32 o1, m, %25; and.b32 o2, m, %26; and.b32 o3, m, %27; "
        "and.b32 o4, m, %28; and.b32 o5, m, %29; and.b32 o6, m, %30; and.b32 o7, m, %31; "
        "add.cc.u32 %0, e0, o0; addc.cc.u32 %1, e1, o1; addc.cc.u32 %2, e2, o2; addc.cc.u32 %3, e3, o3; "
        "addc.cc.u32 %4, e4, o4; addc.cc.u32 %5, e5, o5; addc.cc.u32 %6, e6, o6; addc.u32 %7, e7, o7; }"
        : TB_OUT : TB_WORDS("r", x), TB_WORDS("r", y), TB_WORDS("n", M::modulus));
    TB_STORE;
}
#elif TB_ADX
// One row of the product: x times word AT of y joins the sum t0..t3; what leaves it at the top is c.
#define TB_ROW(AT)                                                                                                     \
    "xorl %%eax, %%eax\n\t movq 8*" #AT "(%[y]), %%rdx\n\t"                                                            \
    "mulxq 0(%[x]), %%rax, %[c]\n\t adoxq %%rax, %[t0]\n\t"                                                            \
    "adcxq %[c], %[t1]\n\t mulxq 8(%[x]), %%rax, %[c]\n\t adoxq %%rax, %[t1]\n\t"                                      \
    "adcxq %[c], %[t2]\n\t mulxq 16(%[x]), %%rax, %[c]\n\t adoxq %%rax, %[t2]\n\t"                                     \
    "adcxq %[c], %[t3]\n\t mulxq 24(%[x]), %%rax, %[c]\n\t adoxq %%rax, %[t3]\n\t"                                     \
    "movl $0, %%eax\n\t adcxq %%rax, %[c]\n\t adoxq %%rax, %[c]\n\t"
// The lowest word is made zero by a multiple of the modulus, and dropped.
#define TB_REDUCE                                                                                                      \
    "movq %[n0], %%rdx\n\t imulq %[t0], %%rdx\n\t xorl %%eax, %%eax\n\t"                                               \
    "mulxq %[q0], %%rax, %[h]\n\t adcxq %[t0], %%rax\n\t movq %[h], %[t0]\n\t"                                         \
    "adcxq %[t1], %[t0]\n\t mulxq %[q1], %%rax, %[t1]\n\t adoxq %%rax, %[t0]\n\t"                                      \
    "adcxq %[t2], %[t1]\n\t mulxq %[q2], %%rax, %[t2]\n\t adoxq %%rax, %[t1]\n\t"                                      \
    "adcxq %[t3], %[t2]\n\t mulxq %[q3], %%rax, %[t3]\n\t adoxq %%rax, %[t2]\n\t"                                      \
    "movl $0, %%eax\n\t adcxq %%rax, %[t3]\n\t adoxq %[c], %[t3]\n\t"

template <class M> inline __attribute__((always_inline)) void limbs_mul(u64 *r, const u64 *x, const u64 *y) {
    u64 t0, t1, t2, t3, c, h;
    asm("movq 0(%[y]), %%rdx\n\t xorl %%eax, %%eax\n\t"
        "mulxq 0(%[x]), %[t0], %[t1]\n\t"
        "mulxq 8(%[x]), %%rax, %[t2]\n\t adoxq %%rax, %[t1]\n\t"
        "mulxq 16(%[x]), %%rax, %[t3]\n\t adoxq %%rax, %[t2]\n\t"
        "mulxq 24(%[x]), %%rax, %[c]\n\t adoxq %%rax, %[t3]\n\t"
        "movl $0, %%eax\n\t adoxq %%rax, %[c]\n\t" TB_REDUCE TB_ROW(1) TB_REDUCE TB_ROW(2) TB_REDUCE TB_ROW(3) TB_REDUCE
        "movq %[t0], %[h]\n\t movq %[t1], %[c]\n\t movq %[t2], %%rax\n\t movq %[t3], %%rdx\n\t"
        "subq %[q0], %[h]\n\t sbbq %[q1], %[c]\n\t sbbq %[q2], %%rax\n\t sbbq %[q3], %%rdx\n\t"
        "cmovncq %[h], %[t0]\n\t cmovncq %[c], %[t1]\n\t cmovncq %%rax, %[t2]\n\t cmovncq %%rdx, %[t3]\n\t"
        : [t0] "=&r"(t0), [t1] "=&r"(t1), [t2] "=&r"(t2), [t3] "=&r"(t3), [c] "=&r"(c), [h] "=&r"(h)
        : [x] "r"(x), [y] "r"(y), [n0] "m"(M::negative_inverse), [q0] "m"(M::modulus[0]), [q1] "m"(M::modulus[1]),
          [q2] "m"(M::modulus[2]), [q3] "m"(M::modulus[3]), "m"(*(const u64(*)[4])x), "m"(*(const u64(*)[4])y)
        : "rax", "rdx", "cc");
    r[0] = t0, r[1] = t1, r[2] = t2, r[3] = t3;
}

template <class M> inline __attribute__((always_inline)) void limbs_add(u64 *r, const u64 *x, const u64 *y) {
    u64 t0 = x[0], t1 = x[1], t2 = x[2], t3 = x[3], a, b, c, d;
    asm("addq 0(%[y]), %[t0]\n\t adcq 8(%[y]), %[t1]\n\t adcq 16(%[y]), %[t2]\n\t adcq 24(%[y]), %[t3]\n\t"
        "movq %[t0], %[a]\n\t movq %[t1], %[b]\n\t movq %[t2], %[c]\n\t movq %[t3], %[d]\n\t"
        "subq %[q0], %[a]\n\t sbbq %[q1], %[b]\n\t sbbq %[q2], %[c]\n\t sbbq %[q3], %[d]\n\t"
        "cmovncq %[a], %[t0]\n\t cmovncq %[b], %[t1]\n\t cmovncq %[c], %[t2]\n\t cmovncq %[d], %[t3]\n\t"
        : [t0] "+&r"(t0), [t1] "+&r"(t1), [t2] "+&r"(t2), [t3] "+&r"(t3), [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c),
          [d] "=&r"(d)
        : [y] "r"(y), [q0] "m"(M::modulus[0]), [q1] "m"(M::modulus[1]), [q2] "m"(M::modulus[2]),
          [q3] "m"(M::modulus[3]), "m"(*(const u64(*)[4])y)
        : "cc");
    r[0] = t0, r[1] = t1, r[2] = t2, r[3] = t3;
}

template <class M> inline __attribute__((always_inline)) void limbs_sub(u64 *r, const u64 *x, const u64 *y) {
    u64 t0 = x[0], t1 = x[1], t2 = x[2], t3 = x[3], a = 0, b = 0, c = 0, d = 0;
    asm("subq 0(%[y]), %[t0]\n\t sbbq 8(%[y]), %[t1]\n\t sbbq 16(%[y]), %[t2]\n\t sbbq 24(%[y]), %[t3]\n\t"
        "cmovcq %[q0], %[a]\n\t cmovcq %[q1], %[b]\n\t cmovcq %[q2], %[c]\n\t cmovcq %[q3], %[d]\n\t"
        "addq %[a], %[t0]\n\t adcq %[b], %[t1]\n\t adcq %[c], %[t2]\n\t adcq %[d], %[t3]\n\t"
        : [t0] "+&r"(t0), [t1] "+&r"(t1), [t2] "+&r"(t2), [t3] "+&r"(t3), [a] "+&r"(a), [b] "+&r"(b), [c] "+&r"(c),
          [d] "+&r"(d)
        : [y] "r"(y), [q0] "m"(M::modulus[0]), [q1] "m"(M::modulus[1]), [q2] "m"(M::modulus[2]),
          [q3] "m"(M::modulus[3]), "m"(*(const u64(*)[4])y)
        : "cc");
    r[0] = t0, r[1] = t1, r[2] = t2, r[3] = t3;
}
#else
// t minus the modulus where that is not negative.
template <class M> inline void limbs_correct(u64 *r, const u64 *t) {
    u64 reduced[4], borrow = 0;
    for (int i = 0; i < 4; i++) {
        const u128 d = (u128)t[i] - M::modulus[i] - borrow;
        reduced[i] = (u64)d;
        borrow = (u64)(d >> 64) & 1;
    }
    for (int i = 0; i < 4; i++) r[i] = borrow ? t[i] : reduced[i];
}

template <class M> inline void limbs_mul(u64 *r, const u64 *x, const u64 *y) {
    u64 t[4] = {0, 0, 0, 0};
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        // Both moduli leave two bits free at the top, so one word holds the carries of both sums.
        u128 a = (u128)x[0] * y[i] + t[0];
        const u64 m = (u64)a * M::negative_inverse;
        u128 b = (u128)m * M::modulus[0] + (u64)a;
#pragma GCC unroll 3
        for (int j = 1; j < 4; j++) {
            a = (u128)x[j] * y[i] + t[j] + (u64)(a >> 64);
            b = (u128)m * M::modulus[j] + (u64)a + (u64)(b >> 64);
            t[j - 1] = (u64)b;
        }
        t[3] = (u64)(a >> 64) + (u64)(b >> 64);
    }
    limbs_correct<M>(r, t);
}

template <class M> inline void limbs_add(u64 *r, const u64 *x, const u64 *y) {
    u64 t[4];
    u128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (u128)x[i] + y[i];
        t[i] = (u64)carry;
        carry >>= 64;
    }
    limbs_correct<M>(r, t);
}

template <class M> inline void limbs_sub(u64 *r, const u64 *x, const u64 *y) {
    u64 t[4], borrow = 0;
    for (int i = 0; i < 4; i++) {
        const u128 d = (u128)x[i] - y[i] - borrow;
        t[i] = (u64)d;
        borrow = (u64)(d >> 64) & 1;
    }
    u128 carry = 0;
    for (int i = 0; i < 4; i++) {
        carry += (u128)t[i] + (M::modulus[i] & (0 - borrow));
        r[i] = (u64)carry;
        carry >>= 64;
    }
}
#endif
