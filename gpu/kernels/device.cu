// A whole proof on a device: witness in, the sums of the windows out. What calls these is theblock_gpu/cuda_proof.py.
//
// One source, two compilers: NVRTC makes the device's kernels of it, a host's compiler a library that shows what they
// compute. So threads of a block agree only at a BARRIER, and what lies between two of them is a loop over LANES: a
// host does one lane after the other, forwards or (TB_BACKWARDS) the other way, which must not change a result.
#include "curve.h"

#ifdef __CUDACC__
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define EACH(at, count) for (u32 at = blockIdx.x * blockDim.x + threadIdx.x; at < (count); at += gridDim.x * blockDim.x)
#define BLOCKS(at, count) for (u32 at = blockIdx.x; at < (count); at += gridDim.x)
#define LANES(lane, count) for (u32 lane = threadIdx.x; lane < (count); lane += blockDim.x)
#define BARRIER() __syncthreads()
#define SHARED __shared__
#define UNROLLED _Pragma("unroll")
#define NOT_UNROLLED _Pragma("unroll 1")
inline u32 add_to(u32 *sum, u32 by) { return atomicAdd(sum, by); }
#else
#define KERNEL(threads) extern "C" __attribute__((visibility("default"))) void
#ifdef TB_BACKWARDS
#define EACH(at, count) for (u32 at = (count); at-- > 0;)
#else
#define EACH(at, count) for (u32 at = 0; at < (count); at++)
#endif
#define BLOCKS EACH
#define LANES EACH
#define BARRIER()
#define SHARED
#define UNROLLED
#define NOT_UNROLLED
inline u32 add_to(u32 *sum, u32 by) {
    const u32 before = *sum;
    *sum += by;
    return before;
}
#endif
constexpr u32 SIGN = (u32)1 << 31;

// Arrays of the device begin at multiples of 16 bytes, so their elements move in words of that size.
template <class T> inline T load(const T *from) {
#ifdef __CUDACC__
    static_assert(sizeof(T) % sizeof(uint4) == 0);
    T value;
    UNROLLED for (u32 i = 0; i < sizeof(T) / sizeof(uint4); i++) ((uint4 *)&value)[i] = ((const uint4 *)from)[i];
    return value;
#else
    return *from;
#endif
}
template <class T> inline void store(T *to, const T &value) {
#ifdef __CUDACC__
    UNROLLED for (u32 i = 0; i < sizeof(T) / sizeof(uint4); i++) ((uint4 *)to)[i] = ((const uint4 *)&value)[i];
#else
    *to = value;
#endif
}

// Running sums in place, of chunks at a time: first each chunk's sum, then, once those are running sums themselves, all.
KERNEL(256) sum_chunks(u32 count, u32 length, const u32 *counts, u32 *sums) {
    EACH(i, (count + length - 1) / length) {
        u32 sum = 0;
        for (u32 at = i * length; at < count && at < (i + 1) * length; at++) sum += counts[at];
        sums[i] = sum;
    }
}
KERNEL(256) spread_sums(u32 count, u32 length, const u32 *sums, u32 *counts) {
    EACH(i, (count + length - 1) / length) {
        u32 sum = i ? sums[i - 1] : 0;
        for (u32 at = i * length; at < count && at < (i + 1) * length; at++) counts[at] = sum += counts[at];
    }
}

// Elements.

template <class F> inline void find_strangers(u32 count, const F *values, u32 *strangers) {
    EACH(i, count) {
        if (!load(values + i).is_canonical()) add_to(strangers, 1);
    }
}
KERNEL(256) find_strangers_fp(u32 count, const Fp *values, u32 *strangers) { find_strangers(count, values, strangers); }
KERNEL(256) find_strangers_fr(u32 count, const Fr *values, u32 *strangers) { find_strangers(count, values, strangers); }

// 0: sums, 1: differences, 2: products, 3: to Montgomery form, 4: from it.
template <class F> inline void compute(u32 count, u32 operation, const F *left, const F *right, F *out) {
    EACH(i, count) {
        const F x = load(left + i), y = load(right + i);
        F result = operation == 0 ? x + y : x - y;
        if (operation == 2) result = x * y;
        if (operation == 3) result = to_montgomery(x);
        if (operation == 4) result = from_montgomery(x);
        store(out + i, result);
    }
}
KERNEL(256) compute_fp(u32 count, u32 operation, const Fp *left, const Fp *right, Fp *out) {
    compute(count, operation, left, right, out);
}
KERNEL(256) compute_fr(u32 count, u32 operation, const Fr *left, const Fr *right, Fr *out) {
    compute(count, operation, left, right, out);
}
// For timing: so many products, each of the one before.
KERNEL(256) repeat_products(u32 count, u32 times, Fp *values) {
    EACH(i, count) {
        const Fp y = load(values + i);
        Fp x = y;
        NOT_UNROLLED for (u32 k = 0; k < times; k++) x = x * y;
        store(values + i, x);
    }
}

// Rows of the matrices times the witness. Long rows are cut into parts, so that no thread has more than a few.

KERNEL(256) sum_entries(u32 count, const u32 *starts, const u32 *wires, const Fr *factors, const Fr *witness, Fr *sums) {
    EACH(part, count) {
        Fr sum = Fr::zero();
        NOT_UNROLLED for (u32 at = starts[part]; at < starts[part + 1]; at++)
            sum = sum + load(factors + at) * load(witness + wires[at]);
        store(sums + part, sum);
    }
}
inline Fr sum_parts(const u32 *starts, const Fr *sums) {
    Fr sum = Fr::zero();
    NOT_UNROLLED for (u32 at = starts[0]; at < starts[1]; at++) sum = sum + load(sums + at);
    return sum;
}
// A's rows, then B's, then their products.
KERNEL(256) make_rows(u32 size, const u32 *starts, const Fr *sums, Fr *rows) {
    EACH(i, size) {
        const Fr a = sum_parts(starts + i, sums), b = sum_parts(starts + size + i, sums);
        store(rows + i, a);
        store(rows + size + i, b);
        store(rows + 2 * (size_t)size + i, a * b);
    }
}
// The values of A·B - C, as plain scalars; they may take the place of A.
KERNEL(256) make_quotient(u32 size, const Fr *rows, Fr *out) {
    EACH(i, size) {
        const Fr product = load(rows + i) * load(rows + size + i);
        store(out + i, from_montgomery(product - load(rows + 2 * (size_t)size + i)));
    }
}

// Transforms, of any number of vectors that lie one after the other. A block takes a tile into its memory: all
// elements whose places differ in some bits, `stages` of them from bit `low` on, and `columns` bits at the bottom so
// that what it reads lies together. Order and roots are those of ntt.h; one table of powers of the 2N-th root serves
// both ways, since its N-th power is -1: the inverse of power e is minus power N - e, and the minus turns a difference.

constexpr u32 TILE_BITS = 10;

// Words of one element lie apart, so that neighbouring threads use neighbouring banks.
struct Tile {
    u32 words[8][1 << TILE_BITS];

    Fr get(u32 at) const {
        Fr value;
        UNROLLED for (int i = 0; i < 4; i++) value.l[i] = words[2 * i][at] | (u64)words[2 * i + 1][at] << 32;
        return value;
    }
    void put(u32 at, const Fr &value) {
        UNROLLED for (int i = 0; i < 4; i++) {
            words[2 * i][at] = (u32)value.l[i];
            words[2 * i + 1][at] = (u32)(value.l[i] >> 32);
        }
    }
};

struct Shape {
    u32 power, low, stages, columns;

    u32 size() const { return 1u << (stages + columns); }
    u32 place(u32 tile, u32 at) const {
        const u32 between = low - columns, row = at >> columns;
        return (tile >> between) << (low + stages) | row << low | (tile & ((1u << between) - 1)) << columns |
               (at & ((1u << columns) - 1));
    }
    // The lower element of a butterfly; the other one is `reach(stage)` further.
    u32 lower(u32 pair, u32 stage) const {
        const u32 at = stage + columns;
        return pair >> at << (at + 1) | (pair & ((1u << at) - 1));
    }
    u32 reach(u32 stage) const { return 1u << (stage + columns); }
    // Which power of the root a butterfly takes.
    u32 exponent(u32 place, u32 stage) const {
        const u32 half = low + stage;
        return (place & ((1u << half) - 1)) << (power - half);
    }
};

inline void take_down(Tile &tile, const Shape &shape, u32 number, const Fr *roots) {
    NOT_UNROLLED for (u32 stage = shape.stages; stage-- > 0;) {
        LANES(pair, shape.size() / 2) {
            const u32 at = shape.lower(pair, stage), other = at + shape.reach(stage);
            const u32 exponent = shape.exponent(shape.place(number, at), stage);
            const Fr x = tile.get(at), y = tile.get(other);
            tile.put(at, x + y);
            tile.put(other, exponent ? (y - x) * load(roots + ((1u << shape.power) - exponent)) : x - y);
        }
        BARRIER();
    }
}
inline void take_up(Tile &tile, const Shape &shape, u32 number, const Fr *roots) {
    NOT_UNROLLED for (u32 stage = 0; stage < shape.stages; stage++) {
        LANES(pair, shape.size() / 2) {
            const u32 at = shape.lower(pair, stage), other = at + shape.reach(stage);
            const Fr x = tile.get(at), y = tile.get(other) * load(roots + shape.exponent(shape.place(number, at), stage));
            tile.put(at, x + y);
            tile.put(other, x - y);
        }
        BARRIER();
    }
}
inline void read_tile(Tile &tile, const Shape &shape, u32 number, const Fr *values) {
    LANES(at, shape.size()) tile.put(at, load(values + shape.place(number, at)));
    BARRIER();
}
inline void write_tile(const Tile &tile, const Shape &shape, u32 number, Fr *values) {
    LANES(at, shape.size()) store(values + shape.place(number, at), tile.get(at));
    BARRIER();
}
inline u32 reversed(u32 at, u32 bits) {
    u32 result = 0;
    for (u32 i = 0; i < bits; i++) result |= (at >> i & 1) << (bits - 1 - i);
    return result;
}

// From values towards coefficients in reversed order.
KERNEL(256) transform_down(u32 tiles, u32 power, u32 low, u32 stages, u32 columns, const Fr *roots, Fr *values) {
    SHARED Tile tile;
    const Shape shape = {power, low, stages, columns};
    BLOCKS(number, tiles) {
        read_tile(tile, shape, number, values);
        take_down(tile, shape, number, roots);
        write_tile(tile, shape, number, values);
    }
}
// The last stages down, from the N-th roots to the odd powers of the 2N-th, and the first ones up.
KERNEL(256) transform_turn(u32 tiles, u32 power, u32 stages, const Fr *one_over_size, const Fr *roots, Fr *values) {
    SHARED Tile tile;
    const Shape shape = {power, 0, stages, 0};
    BLOCKS(number, tiles) {
        read_tile(tile, shape, number, values);
        take_down(tile, shape, number, roots);
        LANES(at, shape.size()) {
            const u32 place = shape.place(number, at) & ((1u << power) - 1);
            tile.put(at, tile.get(at) * (load(roots + reversed(place, power)) * load(one_over_size)));
        }
        BARRIER();
        take_up(tile, shape, number, roots);
        write_tile(tile, shape, number, values);
    }
}
// From coefficients in reversed order towards values.
KERNEL(256) transform_up(u32 tiles, u32 power, u32 low, u32 stages, u32 columns, const Fr *roots, Fr *values) {
    SHARED Tile tile;
    const Shape shape = {power, low, stages, columns};
    BLOCKS(number, tiles) {
        read_tile(tile, shape, number, values);
        take_up(tile, shape, number, roots);
        write_tile(tile, shape, number, values);
    }
}
// The powers of the 2N-th root, below N, from those of it whose exponents are powers of two.
KERNEL(256) make_roots(u32 size, u32 power, const Fr *squares, Fr *roots) {
    EACH(i, size) {
        Fr root = Fr::one();
        NOT_UNROLLED for (u32 bit = 0; bit < power; bit++)
            if (i >> bit & 1) root = root * load(squares + bit);
        store(roots + i, root);
    }
}

// Sums of scalars times points: Pippenger's buckets over signed digits (msm.h), sorted by counting. Window w of a
// scalar goes to the buckets of window w % groups, with the base times 2^(bits · groups · (w / groups)), which lies so
// many times `stride` further in the array of bases. A bucket's additions are cut into pieces of bounded length, each
// one thread's; what they come to is merged in further rounds, so that a bucket that holds most points is no queue.

// Calls `act` with each window and its digit, from -2^(bits - 1) to 2^(bits - 1) - 1; zeros are left out.
template <class Act> inline void recode(const Fr &scalar, u32 bits, u32 windows, Act act) {
    u64 a = scalar.l[0], b = scalar.l[1], c = scalar.l[2], d = scalar.l[3];
    const u32 half = 1u << (bits - 1);
    u32 carry = 0;
    NOT_UNROLLED for (u32 window = 0; window < windows; window++) {
        const u32 digit = ((u32)a & (2 * half - 1)) + carry;
        a = a >> bits | b << (64 - bits);
        b = b >> bits | c << (64 - bits);
        c = c >> bits | d << (64 - bits);
        d >>= bits;
        carry = digit >= half;
        if (digit != 0 && digit != 2 * half) act(window, carry ? (int)digit - (int)(2 * half) : (int)digit);
    }
}
inline u32 bucket_of(u32 window, int digit, u32 bits, u32 groups) {
    return (window % groups << (bits - 1)) + (u32)(digit < 0 ? -digit : digit) - 1;
}
// A sum over these gives starts: so each count stands one place further than its bucket.
KERNEL(256) count_digits(u32 count, const Fr *scalars, u32 bits, u32 windows, u32 groups, u32 *counts) {
    EACH(i, count) {
        recode(load(scalars + i), bits, windows,
               [&](u32 window, int digit) { add_to(counts + bucket_of(window, digit, bits, groups) + 1, 1); });
    }
}
// Indices of bases by bucket, the sign in the top bit; `first` is the place of the first scalar among the bases.
KERNEL(256) place_digits(u32 count, const Fr *scalars, u32 bits, u32 windows, u32 groups, u32 first, u32 stride, u32 *ends,
                         u32 *order) {
    EACH(i, count) {
        recode(load(scalars + i), bits, windows, [&](u32 window, int digit) {
            const u32 at = add_to(ends + bucket_of(window, digit, bits, groups), 1);
            order[at] = (window / groups * stride + first + i) | (digit < 0 ? SIGN : 0);
        });
    }
}

// Into how many pieces of at most `length` each run is cut; again one place further.
KERNEL(256) count_pieces(u32 runs, u32 length, const u32 *starts, u32 *counts) {
    EACH(i, runs) { counts[i + 1] = (starts[i + 1] - starts[i] + length - 1) / length; }
}
struct Piece {
    u32 from, to;
};
// The run of a piece is the last that begins no later, since empty runs have none.
inline Piece piece_at(u32 piece, u32 runs, u32 length, const u32 *starts, const u32 *piece_starts) {
    u32 low = 0, high = runs;
    while (high - low > 1) {
        const u32 middle = (low + high) / 2;
        if (piece_starts[middle] <= piece) low = middle;
        else high = middle;
    }
    const u32 from = starts[low] + (piece - piece_starts[low]) * length, end = starts[low + 1];
    return {from, end - from < length ? end : from + length};
}
// Pieces by length, the longest first, so that neighbouring threads have as much to do: counts stand at the place
// after that of their length, counted down.
KERNEL(256) count_lengths(u32 limit, u32 runs, u32 length, const u32 *starts, const u32 *piece_starts, u32 *counts) {
    EACH(i, limit) {
        if (i >= piece_starts[runs]) continue;
        const Piece piece = piece_at(i, runs, length, starts, piece_starts);
        add_to(counts + (length - (piece.to - piece.from)) + 1, 1);
    }
}
KERNEL(256) place_pieces(u32 limit, u32 runs, u32 length, const u32 *starts, const u32 *piece_starts, u32 *ends, u32 *order) {
    EACH(i, limit) {
        if (i >= piece_starts[runs]) continue;
        const Piece piece = piece_at(i, runs, length, starts, piece_starts);
        order[add_to(ends + (length - (piece.to - piece.from)), 1)] = i;
    }
}

template <class F> inline Affine<F> base_at(const Affine<F> *bases, u32 place) {
    const Affine<F> base = load(bases + (place & ~SIGN));
    return place & SIGN ? -base : base;
}
// Several sets of bases may take the same order: each has its own part of the bases and of the sums, one after the other.
template <class F>
inline void sum_pieces(u32 limit, u32 sets, u32 set_size, u32 runs, u32 length, const u32 *starts, const u32 *piece_starts,
                       const u32 *pieces, const u32 *order, const Affine<F> *all_bases, Xyzz<F> *sums) {
    EACH(item, limit * sets) {
        const u32 i = item % limit, set = item / limit;
        if (i >= piece_starts[runs]) continue;
        const Affine<F> *bases = all_bases + (size_t)set * set_size;
        const Piece piece = piece_at(pieces[i], runs, length, starts, piece_starts);
        Affine<F> next = base_at(bases, order[piece.from]);
        Xyzz<F> sum = Xyzz<F>::infinity();
        NOT_UNROLLED for (u32 at = piece.from + 1; at <= piece.to; at++) {
            const Affine<F> base = next;
            if (at < piece.to) next = base_at(bases, order[at]);
            sum = sum + base;
        }
        store(sums + (size_t)set * limit + pieces[i], sum);
    }
}
template <class F>
inline void merge_pieces(u32 limit, u32 sets, u32 set_size, u32 runs, u32 length, const u32 *starts,
                         const u32 *piece_starts, const Xyzz<F> *all, Xyzz<F> *out) {
    EACH(item, limit * sets) {
        const u32 i = item % limit;
        if (i >= piece_starts[runs]) continue;
        const Xyzz<F> *in = all + (size_t)(item / limit) * set_size;
        const Piece piece = piece_at(i, runs, length, starts, piece_starts);
        Xyzz<F> sum = load(in + piece.from);
        NOT_UNROLLED for (u32 at = piece.from + 1; at < piece.to; at++) sum = sum + load(in + at);
        store(out + item, sum);
    }
}
// Bucket b of a window counts b + 1 times: each thread takes `length` of them, and adds what lies below them once.
template <class F>
inline void sum_buckets(u32 groups, u32 sets, u32 set_size, u32 buckets, u32 length, const u32 *starts, const Xyzz<F> *all,
                        Xyzz<F> *out) {
    const u32 parts = (buckets + length - 1) / length;
    EACH(item, groups * parts * sets) {
        const u32 i = item % (groups * parts), first = i % parts * length, window = i / parts * buckets;
        const Xyzz<F> *in = all + (size_t)(item / (groups * parts)) * set_size;
        u32 at = first + length < buckets ? first + length : buckets;
        Xyzz<F> running = Xyzz<F>::infinity(), total = running;
        NOT_UNROLLED while (at-- > first) {
            const u32 start = starts[window + at];
            if (start < starts[window + at + 1]) running = running + load(in + start);
            total = total + running;
        }
        Xyzz<F> below = Xyzz<F>::infinity();
        NOT_UNROLLED for (u32 bit = 32; bit-- > 0;) {
            if (!(first >> bit)) continue;
            below = twice_point(below);
            if (first >> bit & 1) below = below + running;
        }
        store(out + item, total + below);
    }
}
// Each of `groups` runs of `count` points becomes one of a `length`-th as many.
template <class F> inline void fold(u32 groups, u32 count, u32 length, const Xyzz<F> *in, Xyzz<F> *out) {
    const u32 parts = (count + length - 1) / length;
    EACH(i, groups * parts) {
        const u32 from = i % parts * length, end = from + length < count ? from + length : count;
        const Xyzz<F> *run = in + (size_t)(i / parts) * count;
        Xyzz<F> sum = load(run + from);
        NOT_UNROLLED for (u32 at = from + 1; at < end; at++) sum = sum + load(run + at);
        store(out + i, sum);
    }
}
template <class F> inline void make_affine(u32 count, const Xyzz<F> *in, Affine<F> *out) {
    EACH(i, count) { store(out + i, to_affine(load(in + i))); }
}
template <class F> inline void make_multiples(u32 count, u32 doublings, const Affine<F> *in, Affine<F> *out) {
    EACH(i, count) {
        Xyzz<F> point = Xyzz<F>::of(load(in + i));
        NOT_UNROLLED for (u32 k = 0; k < doublings; k++) point = twice_point(point);
        store(out + i, to_affine(point));
    }
}

#define KERNELS_OF(GROUP, F)                                                                                           \
    KERNEL(128) sum_pieces_##GROUP(u32 limit, u32 sets, u32 set_size, u32 runs, u32 length, const u32 *starts,         \
                                   const u32 *piece_starts, const u32 *pieces, const u32 *order,                       \
                                   const Affine<F> *bases, Xyzz<F> *sums) {                                            \
        sum_pieces(limit, sets, set_size, runs, length, starts, piece_starts, pieces, order, bases, sums);             \
    }                                                                                                                  \
    KERNEL(128) merge_pieces_##GROUP(u32 limit, u32 sets, u32 set_size, u32 runs, u32 length, const u32 *starts,       \
                                     const u32 *piece_starts, const Xyzz<F> *in, Xyzz<F> *out) {                       \
        merge_pieces(limit, sets, set_size, runs, length, starts, piece_starts, in, out);                              \
    }                                                                                                                  \
    KERNEL(128) sum_buckets_##GROUP(u32 groups, u32 sets, u32 set_size, u32 buckets, u32 length, const u32 *starts,    \
                                    const Xyzz<F> *in, Xyzz<F> *out) {                                                 \
        sum_buckets(groups, sets, set_size, buckets, length, starts, in, out);                                         \
    }                                                                                                                  \
    KERNEL(128) fold_##GROUP(u32 groups, u32 count, u32 length, const Xyzz<F> *in, Xyzz<F> *out) {                     \
        fold(groups, count, length, in, out);                                                                          \
    }                                                                                                                  \
    KERNEL(128) make_affine_##GROUP(u32 count, const Xyzz<F> *in, Affine<F> *out) { make_affine(count, in, out); }     \
    KERNEL(128) make_multiples_##GROUP(u32 count, u32 doublings, const Affine<F> *in, Affine<F> *out) {                \
        make_multiples(count, doublings, in, out);                                                                     \
    }
KERNELS_OF(g1, Fp)
KERNELS_OF(g2, Fp2)
