// Made by `make generate` from core/proofs: change it there.
#pragma once
#include <cstdint>

struct FpModulus {
    static constexpr uint64_t modulus[4] = {0x3c208c16d87cfd47, 0x97816a916871ca8d, 0xb85045b68181585d, 0x30644e72e131a029};
    static constexpr uint64_t modulus_minus_two[4] = {0x3c208c16d87cfd45, 0x97816a916871ca8d, 0xb85045b68181585d, 0x30644e72e131a029};
    static constexpr uint64_t one[4] = {0xd35d438dc58f0d9d, 0xa78eb28f5c70b3d, 0x666ea36f7879462c, 0xe0a77c19a07df2f};
    static constexpr uint64_t radix_square[4] = {0xf32cfc5b538afa89, 0xb5e71911d44501fb, 0x47ab1eff0a417ff6, 0x6d89f71cab8351f};
    static constexpr uint64_t half[4] = {0x87bee7d24f060572, 0xd0fd2add2f1c6ae5, 0x8f5f7492fcfd4f44, 0x1f37631a3d9cbfac};
    static constexpr uint64_t negative_inverse = 0x87d20782e4866389;
    static constexpr uint64_t lanes[5] = {0x8c16d87cfd47, 0x916871ca8d3c2, 0x181585d97816a, 0xa029b85045b68, 0x30644e72e131};
    static constexpr uint64_t lanes_negative_inverse = 0x20782e4866389;
};

struct FrModulus {
    static constexpr uint64_t modulus[4] = {0x43e1f593f0000001, 0x2833e84879b97091, 0xb85045b68181585d, 0x30644e72e131a029};
    static constexpr uint64_t modulus_minus_two[4] = {0x43e1f593efffffff, 0x2833e84879b97091, 0xb85045b68181585d, 0x30644e72e131a029};
    static constexpr uint64_t one[4] = {0xac96341c4ffffffb, 0x36fc76959f60cd29, 0x666ea36f7879462e, 0xe0a77c19a07df2f};
    static constexpr uint64_t radix_square[4] = {0x1bb8e645ae216da7, 0x53fe3ab1e35c59e3, 0x8c49833d53bb8085, 0x216d0b17f4e44a5};
    static constexpr uint64_t half[4] = {0x783c14d81ffffffe, 0xaf982f6f0c8d1edd, 0x8f5f7492fcfd4f45, 0x1f37631a3d9cbfac};
    static constexpr uint64_t negative_inverse = 0xc2e1f593efffffff;
    static constexpr uint64_t lanes[5] = {0x1f593f0000001, 0x4879b9709143e, 0x181585d2833e8, 0xa029b85045b68, 0x30644e72e131};
    static constexpr uint64_t lanes_negative_inverse = 0x1f593efffffff;
};

constexpr int TWO_ADICITY = 28;
constexpr uint64_t ROOT_OF_UNITY[4] = {0x636e735580d13d9c, 0xa22bf3742445ffd6, 0x56452ac01eb203d8, 0x1860ef942963f9e7};
constexpr uint64_t G1_B[4] = {0x7a17caa950ad28d7, 0x1f6ac17ae15521b9, 0x334bea4e696bd284, 0x2a1f6744ce179d8e};
constexpr uint64_t G2_B[2][4] = {{0x3bf938e377b802a8, 0x20b1b273633535d, 0x26b7edf049755260, 0x2514c6324384a86d}, {0x38e7ecccd1dcff67, 0x65f0b37d93ce0d3e, 0xd749d0dd22ac00aa, 0x141b9ce4a688d4d}};
constexpr uint64_t PSI_X[2][4] = {{0xb5773b104563ab30, 0x347f91c8a9aa6454, 0x7a007127242e0991, 0x1956bcd8118214ec}, {0x6e849f1ea0aa4757, 0xaa1c7b6d89f89141, 0xb6e713cdfae0ca3a, 0x26694fbb4e82ebc3}};
constexpr uint64_t PSI_Y[2][4] = {{0xe4bbdd0c2936b629, 0xbb30f162e133bacb, 0x31a9d1b6f9645366, 0x253570bea500f8dd}, {0xa1d77ce45ffe77c7, 0x7affd117826d1db, 0x6d16bd27bb7edc6b, 0x2c87200285defecc}};
constexpr uint64_t FROBENIUS[6][2][4] = {{{0xd35d438dc58f0d9d, 0xa78eb28f5c70b3d, 0x666ea36f7879462c, 0xe0a77c19a07df2f}, {0x0, 0x0, 0x0, 0x0}}, {{0xaf9ba69633144907, 0xca6b1d7387afb78a, 0x11bded5ef08a2087, 0x2f34d751a1f3a7c}, {0xa222ae234c492d72, 0xd00f02a4565de15b, 0xdc2ff3a253dfc926, 0x10a75716b3899551}}, {{0xb5773b104563ab30, 0x347f91c8a9aa6454, 0x7a007127242e0991, 0x1956bcd8118214ec}, {0x6e849f1ea0aa4757, 0xaa1c7b6d89f89141, 0xb6e713cdfae0ca3a, 0x26694fbb4e82ebc3}}, {{0xe4bbdd0c2936b629, 0xbb30f162e133bacb, 0x31a9d1b6f9645366, 0x253570bea500f8dd}, {0xa1d77ce45ffe77c7, 0x7affd117826d1db, 0x6d16bd27bb7edc6b, 0x2c87200285defecc}}, {{0x7361d77f843abe92, 0xa5bb2bd3273411fb, 0x9c941f314b3e2399, 0x15df9cddbb9fd3ec}, {0x5dddfd154bd8c949, 0x62cb29a5a4445b60, 0x37bc870a0c7dd2b9, 0x24830a9d3171f0fd}}, {{0xc970692f41690fe7, 0xe240342127694b0b, 0x32bee66b83c459e8, 0x12aabced0ab08841}, {0xd485d2340aebfa9, 0x5193418ab2fcc57, 0xd3b0a40b8a4910f5, 0x2f21ebb535d2925a}}};
constexpr uint64_t CURVE_PARAMETER = 0x44e992b44a6909f1;
constexpr int LOOP_COUNT = 65;
constexpr int8_t LOOP[LOOP_COUNT] = {0, -1, 0, 1, 0, 0, 0, -1, 0, -1, 0, 0, 0, -1, 0, 1, 0, -1, 0, 0, -1, 0, 0, 0, 0, 0, 1, 0, 0, -1, 0, 1, 0, 0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0, -1, 0, -1, 0, 0, 1, 0, 0, 0, -1, 0, 0, -1, 0, 1, 0, 1, 0, 0, 0};
