// Proofs of Groth16, made and checked. The exact twins are core/proofs/prover.py and core/proofs/groth16.py.
#pragma once
#include "msm.h"
#include "ntt.h"
#include "pairing.h"

// The entry of a `.zkey` file's fourth section: its value carries the radix twice, so that one product with a plain
// wire gives Montgomery form.
struct __attribute__((packed)) Coefficient {
    u32 matrix, row, wire;
    u64 value[4];
};

struct ProvingKey {
    size_t wire_count, public_count;
    G1 alpha1, beta1, delta1;
    G2 beta2, delta2;
    std::vector<Coefficient> coefficients;
    // C begins with infinities, one for each public wire, so that all but H have the same scalars.
    Bases<Fp> a, b1, c, h;
    Bases<Fp2> b2;
    Domain domain;
};

struct Proof {
    G1 a;
    G2 b;
    G1 c;
};

// One matrix times the witness.
inline void compute_rows(const ProvingKey &key, u32 matrix, const u64 *witness, Fr *rows) {
    std::fill(rows, rows + key.domain.size, Fr::zero());
    for (const Coefficient &entry : key.coefficients) {
        if (entry.matrix != matrix) continue;
        u64 value[4];
        memcpy(value, entry.value, sizeof value);
        rows[entry.row] = rows[entry.row] + Fr::of(value) * Fr::of(witness + 4 * (size_t)entry.wire);
    }
}

// The values of A·B - C at the odd powers, as plain scalars, in tasks; the gate opens when they are there.
class Quotient {
  public:
    Quotient(const ProvingKey &key, const u64 *witness)
        : key(key), rows{std::vector<Fr>(key.domain.size), std::vector<Fr>(key.domain.size), std::vector<Fr>(key.domain.size)} {
        run_all({[&] { compute_rows(key, 0, witness, rows[0].data()); }, [&] { compute_rows(key, 1, witness, rows[1].data()); }});
        key.domain.multiply(rows[0].data(), rows[1].data(), rows[2].data());
    }
    // `then` runs before the gate opens.
    void add_tasks(std::vector<Task> &tasks, const Task &then = [] {}) {
        for (auto &row : rows)
            tasks.push_back([this, &row, then] {
                key.domain.to_odd_points(row.data());
                if (--left > 0) return;
                finish();
                then();
                gate.open();
            });
    }
    const u64 *scalars() const { return rows[0].data()->l; }

    Gate gate;

  private:
    void finish() {
        key.domain.finish(rows[0].data(), rows[1].data(), rows[2].data());
    }
    const ProvingKey &key;
    std::vector<Fr> rows[3];
    std::atomic<int> left{3};
};

// The witness and the blinders are plain numbers below the order.
inline Proof prove(const ProvingKey &key, const u64 *witness, const u64 *r, const u64 *s) {
    Quotient quotient(key, witness);
    Digits wires(witness, key.wire_count, choose_window_bits(key.wire_count));
    Digits digits(quotient.scalars(), key.domain.size, choose_window_bits(key.domain.size));
    const auto sum = [](const auto &bases, const Digits &of) { return Msm(bases.points.data(), &bases.infinite, of.bits); };
    auto a = sum(key.a, wires), b1 = sum(key.b1, wires), c = sum(key.c, wires), h = sum(key.h, digits);
    auto b2 = sum(key.b2, wires);
    const Fr rs = from_montgomery(to_montgomery(Fr::of(r)) * to_montgomery(Fr::of(s)));
    Xyzz<Fp> r_delta, s_delta, rs_delta;
    Xyzz<Fp2> s_delta2;

    Pool<Workspace> pool;
    std::vector<Task> first, tasks, last;
    wires.add_tasks(first);
    run_all(first);
    quotient.add_tasks(tasks, [&] { digits.compute(0, digits.count); });
    add_window_tasks(tasks, pool, wires, nullptr, b2, a, b1, c);
    add_window_tasks(tasks, pool, digits, &quotient.gate, h);
    tasks.push_back([&] { s_delta2 = multiply(key.delta2, s); });
    tasks.push_back([&] { r_delta = multiply(key.delta1, r); });
    tasks.push_back([&] { s_delta = multiply(key.delta1, s); });
    tasks.push_back([&] { rs_delta = multiply(key.delta1, rs.l); });
    run_all(tasks);
    b2.add_tasks(last, pool);
    for (auto *each : {&a, &b1, &c, &h}) each->add_tasks(last, pool);
    run_all(last);

    const G1 proof_a = to_affine(a.result() + key.alpha1 + r_delta);
    const G1 proof_b1 = to_affine(b1.result() + key.beta1 + s_delta);
    const G2 proof_b2 = to_affine(b2.result() + key.beta2 + s_delta2);
    const G1 minus = -to_affine(rs_delta);
    return {proof_a, proof_b2, to_affine(c.result() + h.result() + multiply(proof_a, s) + multiply(proof_b1, r) + minus)};
}

struct VerifyingKey {
    Fp12 alpha_beta;
    std::vector<Line> gamma, delta;
    std::vector<G1> ic;
};

inline std::vector<Line> lines_of(const G2 &point) {
    std::vector<Line> lines(LINE_COUNT);
    line_function(point, lines.data());
    return lines;
}

// Whether the equation holds for one proof, or the sum of the equations of several, each times its weight. The input
// sums are plain scalars: the weights' total, then the weighted inputs. The points are in their groups.
inline bool holds(const VerifyingKey &key, const Proof *proofs, const u64 *weights, size_t count, const u64 *inputs) {
    const size_t parts = std::max<size_t>(1, std::min<size_t>(thread_count, count));
    std::vector<Fp12> loops(parts);
    std::vector<G1> thirds(count);
    for (size_t i = 0; i < count; i++) thirds[i] = proofs[i].c;

    std::vector<Task> tasks;
    for (size_t part = 0; part < parts; part++)
        tasks.push_back([&, part] {
            std::vector<std::vector<Line>> lines;
            std::vector<Pair> pairs;
            for (size_t i = count * part / parts; i < count * (part + 1) / parts; i++) {
                const G1 left = -to_affine(multiply(proofs[i].a, weights + 4 * i));
                if (left.is_infinity()) continue;
                lines.push_back(lines_of(proofs[i].b));
                pairs.push_back({left, lines.back().data()});
            }
            loops[part] = miller_loop(pairs.data(), pairs.size());
        });
    run_all(tasks);
    const G1 sum_x = to_affine(msm(key.ic.data(), inputs, key.ic.size()));
    const G1 sum_c = to_affine(msm(thirds.data(), weights, count));

    std::vector<Pair> last;
    if (!sum_x.is_infinity()) last.push_back({sum_x, key.gamma.data()});
    if (!sum_c.is_infinity()) last.push_back({sum_c, key.delta.data()});
    Fp12 product = miller_loop(last.data(), last.size()) * power(key.alpha_beta, inputs);
    for (const Fp12 &loop : loops) product = product * loop;
    return final_exponentiation(product) == Fp12::one();
}
