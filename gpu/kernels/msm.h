// Sums of scalars times points: Pippenger's buckets over signed digits. The exact twin is `Group.msm` in
// core/proofs/curve.py: the sum is one point, so any order of additions gives the same affine bytes.
//
// The points of a bucket are added in pairs, round after round, in affine form: all pairs of a round are independent,
// so they share one inversion (six products an addition, where XYZZ takes ten) and no bucket can be too full. Sets of
// bases that have the same scalars share their digits, sorted once.
#pragma once
#include "batch.h"
#include "threads.h"

constexpr int SCALAR_BITS = 255;  // One more than scalars have: the last borrow needs room.
constexpr int WINDOW_BITS_MIN = 2, WINDOW_BITS_MAX = 16;
constexpr size_t FEW = 16;  // Points for which buckets cost more than they bring.
constexpr size_t CHUNK = (size_t)1 << 17;  // Points that are sorted at a time, which bounds the memory of a thread.

inline int count_windows(int bits) { return (SCALAR_BITS + bits - 1) / bits; }

// Least by additions: one for each point, two for each bucket.
inline int choose_window_bits(size_t count) {
    int best = WINDOW_BITS_MIN;
    size_t least = SIZE_MAX;
    for (int bits = WINDOW_BITS_MIN; bits <= WINDOW_BITS_MAX; bits++) {
        const size_t cost = count_windows(bits) * (count + ((size_t)2 << (bits - 1)) + 64);
        if (cost < least) least = cost, best = bits;
    }
    return best;
}

// The digits of all scalars, from minus half the base to below half: half of the base is added to each of them once,
// for all at once.
class Digits {
  public:
    Digits(const u64 *scalars, size_t count, int bits)
        : bits(bits), windows(count_windows(bits)), count(count), scalars(scalars), values(new int16_t[windows * count]) {
        for (int window = 0; window < windows; window++) {
            const int at = window * bits + bits - 1;
            offset[at / 64] |= (u64)1 << at % 64;
        }
    }
    ~Digits() {
        // Of a secret witness: nothing stays in freed memory.
        memset(values.get(), 0, windows * count * sizeof(int16_t));
        asm volatile("" : : "r"(values.get()) : "memory");
    }
    void add_tasks(std::vector<Task> &tasks) {
        for (size_t first = 0; first < count; first += PART)
            tasks.push_back([this, first] { compute(first, std::min(count, first + PART)); });
    }
    void compute(size_t first, size_t last) {
        for (size_t i = first; i < last; i++) {
            u64 sum[6];
            u128 over = 0;
            for (int k = 0; k < 5; k++) {
                over += (u128)(k < 4 ? scalars[4 * i + k] : 0) + offset[k];
                sum[k] = (u64)over;
                over >>= 64;
            }
            sum[5] = 0;
            for (int window = 0, at = 0; window < windows; window++, at += bits) {
                const u64 word = sum[at / 64] >> at % 64 | (at % 64 ? sum[at / 64 + 1] << (64 - at % 64) : 0);
                values[window * count + i] = (int16_t)((int)(word & (((u64)1 << bits) - 1)) - (1 << (bits - 1)));
            }
        }
    }
    const int16_t *of_window(int window) const { return values.get() + window * count; }

    const int bits, windows;
    const size_t count;

  private:
    static constexpr size_t PART = 1 << 12;
    const u64 *scalars;
    std::unique_ptr<int16_t[]> values;
    u64 offset[5] = {0, 0, 0, 0, 0};
};

constexpr u32 SIGN = (u32)1 << 31;

// Indices of a chunk's points by bucket, the sign in the top bit; those of no bucket are left out.
struct Order {
    std::vector<u32> entries, starts, next;

    void sort(const int16_t *digits, size_t count, size_t bucket_count) {
        starts.assign(bucket_count + 2, 0);
        for (size_t i = 0; i < count; i++) starts[std::abs((int)digits[i]) + 1]++;
        // Digits of zero come before all others.
        for (size_t b = 0; b <= bucket_count; b++) starts[b + 1] += starts[b];
        next = starts;
        entries.resize(count);
        for (size_t i = 0; i < count; i++)
            entries[next[std::abs((int)digits[i])]++] = (u32)i | (digits[i] < 0 ? SIGN : 0);
        starts.erase(starts.begin());
    }
    // The same without the infinite ones.
    void filter(const Order &all, const std::vector<u64> &infinite, size_t first) {
        entries.resize(all.entries.size() + 1);
        starts.resize(all.starts.size());
        u32 out = 0;
        for (size_t b = 0; b + 1 < all.starts.size(); b++) {
            starts[b] = out;
            for (u32 at = all.starts[b]; at < all.starts[b + 1]; at++) {
                const size_t index = first + (all.entries[at] & ~SIGN);
                entries[out] = all.entries[at];
                out += !(infinite[index / 64] >> index % 64 & 1);
            }
        }
        starts.back() = out;
    }
};

// Points, and a bit for each that is infinite, unless hardly any is.
template <class F> struct Bases {
    std::vector<Affine<F>> points;
    std::vector<u64> infinite;

    Bases(std::vector<Affine<F>> all) : points(std::move(all)) {
        infinite.resize(points.size() / 64 + 1);
        size_t count = 0;
        for (size_t i = 0; i < points.size(); i++)
            if (points[i].is_infinity()) infinite[i / 64] |= (u64)1 << i % 64, count++;
        if (count < points.size() / 16) infinite.clear();
    }
};

// What one thread adds with.
template <class F> struct Adder {
    std::unique_ptr<Batch<F>> batch{new Batch<F>};
    std::vector<u32> lengths;
    std::vector<size_t> starts;
    std::unique_ptr<Affine<F>[]> points[2];
    size_t room = 0;

    // Adds a chunk of bases to the buckets.
    void add(const Order &order, const Affine<F> *bases, Affine<F> *buckets, size_t bucket_count) {
        lengths.resize(bucket_count), starts.resize(bucket_count);
        const size_t wanted = order.starts[bucket_count] / 2 + 2 * bucket_count;
        if (wanted > room) {
            room = wanted;
            for (auto &half : points) half.reset(new Affine<F>[room]);
        }
        size_t out = 0;
        Affine<F> *to = points[0].get();
        for (size_t b = 0; b < bucket_count; b++) {
            starts[b] = out;
            const u32 *in = &order.entries[order.starts[b]], *const end = &order.entries[order.starts[b + 1]];
            for (; end - in >= 2; in += 2) {
                const Affine<F> *p = bases + (in[0] & ~SIGN), *q = bases + (in[1] & ~SIGN);
                fetch(p), fetch(q);
                batch->add(p, q, to + out++, in[0] >> 31 | in[1] >> 31 << 1);
            }
            const bool is_empty = buckets[b].is_infinity();
            if (in < end) {
                const Affine<F> *p = bases + (*in & ~SIGN);
                if (!is_empty) batch->add(p, buckets + b, to + out++, *in >> 31);
                else to[out++] = *in >> 31 ? -*p : *p;
            } else if (!is_empty) {
                to[out++] = buckets[b];
            }
            lengths[b] = (u32)(out - starts[b]);
        }
        batch->flush();
        for (int turn = 0; halve(points[turn].get(), points[1 - turn].get(), buckets, bucket_count);) turn = 1 - turn;
    }

  private:
    static void fetch(const Affine<F> *point) {
        for (size_t at = 0; at < sizeof *point; at += 64) __builtin_prefetch((const char *)point + at, 0, 2);
    }
    // The next round: what is left of a bucket, when it is one point, goes to its place.
    bool halve(Affine<F> *from, Affine<F> *to, Affine<F> *buckets, size_t bucket_count) {
        size_t out = 0;
        bool is_over = true;
        for (size_t b = 0; b < bucket_count; b++) {
            const Affine<F> *in = from + starts[b];
            size_t left = lengths[b];
            if (left == 0) continue;
            if (left <= 2) {
                if (left == 1) buckets[b] = *in;
                else batch->add(in, in + 1, buckets + b);
                lengths[b] = 0;
                continue;
            }
            is_over = false;
            starts[b] = out;
            lengths[b] = (u32)(left + 1) / 2;
            for (; left >= 2; left -= 2, in += 2) batch->add(in, in + 1, to + out++);
            if (left) to[out++] = *in;
        }
        batch->flush();
        return !is_over;
    }
};

// Adders that threads take and give back.
template <class T> class Pool {
  public:
    template <class Body> void with(Body body) {
        std::unique_ptr<T> item;
        {
            std::lock_guard<std::mutex> lock(mutex);
            if (!items.empty()) item = std::move(items.back()), items.pop_back();
        }
        if (!item) item = std::make_unique<T>();
        body(*item);
        std::lock_guard<std::mutex> lock(mutex);
        items.push_back(std::move(item));
    }

  private:
    std::mutex mutex;
    std::vector<std::unique_ptr<T>> items;
};
struct Workspace {
    Order order, filtered;
    Adder<Fp> g1;
    Adder<Fp2> g2;
    template <class F> Adder<F> &adder() {
        if constexpr (sizeof(F) == sizeof(Fp)) return g1;
        else return g2;
    }
};

// The buckets of all windows of one sum.
template <class F> class Msm {
  public:
    Msm(const Affine<F> *bases, const std::vector<u64> *infinite, int bits)
        : bases(bases), infinite(infinite), bits(bits), windows(count_windows(bits)), bucket_count((size_t)1 << (bits - 1)),
          buckets(windows * bucket_count, Affine<F>::infinity()) {}

    void add(Workspace &space, const Order &order, size_t first, int window) {
        const bool is_filtered = infinite && !infinite->empty();
        if (is_filtered) space.filtered.filter(order, *infinite, first);
        space.adder<F>().add(is_filtered ? space.filtered : order, bases + first, buckets.data() + window * bucket_count, bucket_count);
    }

    // Bucket b is to be taken b + 1 times. The sums of all those whose b has a certain bit come to lie where b is that
    // bit alone, the sum of all at zero.
    void add_tasks(std::vector<Task> &tasks, Pool<Workspace> &pool) {
        constexpr int PART = 5;
        for (int first = 0; first < windows; first += PART)
            tasks.push_back([this, first, &pool] {
                pool.with([&](Workspace &space) {
                    auto &batch = *space.adder<F>().batch;
                    for (size_t step = 1; step < bucket_count; step *= 2) {
                        for (int window = first; window < std::min(windows, first + PART); window++) {
                            Affine<F> *of_window = buckets.data() + window * bucket_count;
                            for (size_t start = 0; start < bucket_count; start += 2 * step)
                                for (size_t at = 0; at < step; at = at ? 2 * at : 1)
                                    batch.add(of_window + start + at, of_window + start + at + step, of_window + start + at);
                        }
                        batch.flush();
                    }
                });
            });
    }
    Xyzz<F> result() const {
        Xyzz<F> total = Xyzz<F>::infinity();
        for (int window = windows; window-- > 0;)
            for (int at = bits; at-- > 0;) {
                const Affine<F> *of_window = buckets.data() + window * bucket_count;
                total = twice_point(total);
                if (at < bits - 1) total = total + at_rest(of_window[(size_t)1 << at]);
                if (at == 0) total = total + at_rest(of_window[0]);
            }
        return total;
    }

  private:
    static Affine<F> at_rest(const Affine<F> &p) { return {settled(p.x), settled(p.y)}; }

    const Affine<F> *bases;
    const std::vector<u64> *infinite;
    const int bits, windows;
    const size_t bucket_count;
    std::vector<Affine<F>> buckets;
};

// Tasks that take the points of each window to their buckets, in every one of the sums; the digits are there by then.
template <class... Sums> void add_window_tasks(std::vector<Task> &tasks, Pool<Workspace> &pool, const Digits &digits, Gate *gate, Sums &...sums) {
    for (int window = 0; window < digits.windows; window++)
        tasks.push_back([&pool, &digits, gate, window, &sums...] {
            if (gate) gate->wait();
            pool.with([&](Workspace &space) {
                for (size_t first = 0; first < digits.count; first += CHUNK) {
                    const size_t count = std::min(CHUNK, digits.count - first);
                    space.order.sort(digits.of_window(window) + first, count, (size_t)1 << (digits.bits - 1));
                    (sums.add(space, space.order, first, window), ...);
                }
            });
        });
}

// For few points: doublings that all of them share.
template <class F> Xyzz<F> sum_few(const Affine<F> *bases, const u64 *scalars, size_t count) {
    Xyzz<F> total = Xyzz<F>::infinity();
    for (int at = 255; at >= 0; at--) {
        total = twice_point(total);
        for (size_t i = 0; i < count; i++)
            if (scalars[4 * i + at / 64] >> at % 64 & 1) total = total + bases[i];
    }
    return total;
}

template <class F> Xyzz<F> msm(const Affine<F> *bases, const u64 *scalars, size_t count, int window_bits = 0) {
    if (count <= FEW && !window_bits) return sum_few(bases, scalars, count);
    const int bits = window_bits ? window_bits : choose_window_bits(count);
    Digits digits(scalars, count, bits);
    Msm<F> sum(bases, nullptr, bits);
    Pool<Workspace> pool;
    std::vector<Task> tasks[3];
    digits.add_tasks(tasks[0]);
    add_window_tasks(tasks[1], pool, digits, nullptr, sum);
    sum.add_tasks(tasks[2], pool);
    for (const auto &phase : tasks) run_all(phase);
    return sum.result();
}
